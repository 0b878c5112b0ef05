// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/nn/tokenizer.hpp"
#include "dt2it/backbone.hpp"
#include "dt2it/rng.hpp"
#include "plugins/common/mini_world/language.hpp"

namespace dt2it::warm_start {

// What a target teaches; the probes report accuracy for each.
enum class Skill : std::uint8_t {
  caption,
  answer,
  rest,
  critique,
  pair_caption,
  pair_match,
  pair_other,
  pair_critique,
  ground,
  place
};
inline constexpr int kSkillCount = 10;
inline constexpr std::string_view kSkillNames[] = {
    "caption",    "answer",     "rest",          "critique",  "pair caption",
    "pair match", "pair other", "pair critique", "grounding", "place"};

struct Target {
  std::size_t at = 0;   // token whose hidden state predicts
  std::int64_t id = 0;  // this one
  Skill skill = Skill::rest;
};

// Pictures, words about them, and what is to be learnt from it.
struct Lesson {
  TokenTree tree;
  std::vector<Target> targets;
};

// Makes lessons in the very words and template that prompts and responses have later. Thread-safe.
class Teacher {
 public:
  Teacher(const nn::Tokenizer& tokenizer, std::int64_t image_token);

  // Dense captions: every noun, plural and colour is a query that is answered at once ("ring red top left", "rings 2").
  Lesson dense_one(Rng& rng) const;
  // The same about two pictures ("red ring image1", "ring both", "image2 ring red").
  Lesson dense_two(Rng& rng) const;
  // Questions about one picture, each a branch of its own. With probability `critique` the response is given, right or
  // wrong, and the word after its end says which.
  // `ground`: the nouns of a question predict what the picture says of them.
  Lesson questions_one(Rng& rng, double critique, bool ground) const;
  // Questions about two pictures. `ground`: the nouns predict which picture shows them.
  Lesson questions_two(Rng& rng, double critique, bool ground) const;

  // Probes: one question, answered in the shortest way; the only target is the answer's first word, or the critique.
  Lesson probe_one(Rng& rng, mini_world::Kind kind) const;
  Lesson probe_two(Rng& rng, mini_world::Kind kind) const;
  Lesson probe_critique(Rng& rng, bool two) const;

  // Throws ModelError when the tokenizer has no such word.
  std::int64_t id(std::string_view word) const;

 private:
  Lesson opened(const std::vector<mini_world::Scene>& scenes, const std::vector<double>& qualities,
                Rng& rng, std::int64_t& next) const;
  void append(Lesson& lesson, const std::vector<std::int64_t>& ids, std::int64_t& next) const;
  // False when it would make the tree longer than a lesson may be.
  bool add_branch(Lesson& lesson, std::int64_t after_prompt, const std::string& given,
                  const std::string& taught, Skill first, Skill others,
                  const std::vector<std::pair<std::size_t, std::int64_t>>& grounded = {}) const;
  void teach_places(Lesson& lesson, Rng& rng) const;
  void caption_items(Lesson& lesson, std::vector<std::pair<std::string, std::string>> items,
                     std::size_t room, Skill skill, std::int64_t next, Rng& rng) const;
  std::vector<std::pair<std::size_t, std::int64_t>> grounding(
      const mini_world::Question& question, const std::vector<std::int64_t>& ids,
      const std::vector<mini_world::Scene>& scenes) const;
  mini_world::Question question_one(const mini_world::Scene& scene, Rng& rng) const;

  const nn::Tokenizer& tokenizer_;
  std::int64_t image_token_;
};

}  // namespace dt2it::warm_start
