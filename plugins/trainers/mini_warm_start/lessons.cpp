// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/mini_warm_start/lessons.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "core/nn/mrope.hpp"
#include "dt2it/error.hpp"
#include "plugins/common/mini_world/drawing.hpp"
#include "plugins/common/mini_world/writer.hpp"

namespace dt2it::warm_start {
namespace {

using namespace mini_world;

constexpr std::size_t kLessonLength = 128;  // tokens of a lesson of questions
constexpr std::size_t kCaptionLength = 78;  // of dense captions of one picture
constexpr std::size_t kPairCaptionLength = 104;
constexpr double kKindWeights[] = {1,   1,  2,  2, 1.2,
                                   1.2, .6, .3, .3};  // of questions about one picture
constexpr int kPlacesTaught = 4;                      // visual tokens of each of two pictures
constexpr double kTerse = .7;  // share of terse answers; the others are of all styles
constexpr double kClaimWeights[] = {.5, .3, .2};
constexpr std::string_view kTurn = "<|im_end|>\n<|im_start|>assistant\n";
constexpr std::string_view kEnd = "<|im_end|>\n";

std::string noun_text(int noun) { return std::string(kNouns[static_cast<std::size_t>(noun)]); }
std::string colour_text(int colour) {
  return std::string(kColours[static_cast<std::size_t>(colour)]);
}
std::string place_text(int cell) {
  return fmt::format("{} {}", cell / kGrid < kGrid / 2 ? "top" : "bottom",
                     cell % kGrid < kGrid / 2 ? "left" : "right");
}

// Which of two pictures shows it, as one word.
std::string whose(const std::vector<Scene>& scenes, const Phrase& phrase) {
  const bool first = shows(scenes[0], phrase), second = shows(scenes[1], phrase);
  return first ? (second ? "both" : "image1") : second ? "image2" : "no";
}

// 2-7 objects of 2-6 nouns in any colours: fuller than the scenes of questions.
Scene caption_scene(Rng& rng) {
  Scene scene;
  const int count = rng.integer(2, 7);
  const auto nouns = rng.permutation(kNounCount);
  const auto kinds = static_cast<std::size_t>(rng.integer(2, 6));
  const auto cells = rng.permutation(kCells);
  for (int i = 0; i < count; ++i)
    scene.objects.push_back({static_cast<int>(cells[static_cast<std::size_t>(i)]),
                             static_cast<int>(nouns[rng.below(kinds)]),
                             rng.integer(0, kColourCount - 1), rng.integer(0, 1)});
  return scene;
}

double random_quality(Rng& rng) { return rng.uniform(.35, 1); }

}  // namespace

Teacher::Teacher(const nn::Tokenizer& tokenizer, std::int64_t image_token)
    : tokenizer_(tokenizer), image_token_(image_token) {}

std::int64_t Teacher::id(std::string_view word) const {
  const auto found = tokenizer_.id(word);
  if (!found) throw ModelError(fmt::format("the mini tokenizer has no word '{}'", word));
  return *found;
}

void Teacher::append(Lesson& lesson, const std::vector<std::int64_t>& ids,
                     std::int64_t& next) const {
  lesson.tree.tokens.insert(lesson.tree.tokens.end(), ids.begin(), ids.end());
  nn::MropePositions positions(lesson.tree.positions);
  positions.go_on_at(next);
  positions.text(ids.size());
  next = positions.next();
}

// The prompt as far as the last picture.
Lesson Teacher::opened(const std::vector<Scene>& scenes, const std::vector<double>& qualities,
                       Rng& rng, std::int64_t& next) const {
  Lesson lesson;
  for (std::size_t i = 0; i < scenes.size(); ++i) {
    std::string before = i == 0 ? "<|im_start|>user\n" : "<|vision_end|>";
    if (scenes.size() > 1) before += fmt::format("Image {}:", i + 1);
    append(lesson, tokenizer_.encode(before + "<|vision_start|>"), next);
    Image image = draw(scenes[i], rng, {.quality = qualities[i]});
    auto prepared = std::make_shared<PreparedVisual>();
    prepared->width = image.width;
    prepared->height = image.height;
    prepared->tokens = kCells;
    prepared->rgb = std::move(image.rgb);
    lesson.tree.visual_runs.push_back(
        {lesson.tree.tokens.size(), lesson.tree.visuals.size(), 0, kCells});
    lesson.tree.visuals.push_back(std::move(prepared));
    lesson.tree.tokens.insert(lesson.tree.tokens.end(), kCells, image_token_);
    nn::MropePositions positions(lesson.tree.positions);
    positions.go_on_at(next);
    positions.visual(kGrid, kGrid);
    next = positions.next();
  }
  append(lesson, tokenizer_.encode("<|vision_end|>"), next);
  lesson.tree.prefix = lesson.tree.tokens.size();
  return lesson;
}

bool Teacher::add_branch(Lesson& lesson, std::int64_t after_prompt, const std::string& given,
                         const std::string& taught, Skill first, Skill others,
                         const std::vector<std::pair<std::size_t, std::int64_t>>& grounded) const {
  const auto given_ids = tokenizer_.encode(given), taught_ids = tokenizer_.encode(taught);
  TokenTree& tree = lesson.tree;
  if (tree.tokens.size() + given_ids.size() + taught_ids.size() > kLessonLength) return false;
  const std::size_t begin = tree.tokens.size();
  std::int64_t next = after_prompt;
  append(lesson, given_ids, next);
  for (std::size_t i = 0; i < taught_ids.size(); ++i)
    lesson.targets.push_back({tree.tokens.size() + i - 1, taught_ids[i], i == 0 ? first : others});
  append(lesson, taught_ids, next);
  for (const auto& [at, id] : grounded) lesson.targets.push_back({begin + at, id, Skill::ground});
  tree.branch_ends.push_back(tree.tokens.size());
  return true;
}

// Some visual tokens of each picture learn which picture they belong to: the words before the pictures are the only
// sign of it, and nothing about two pictures can be answered before it is read.
void Teacher::teach_places(Lesson& lesson, Rng& rng) const {
  for (std::size_t k = 0; k < lesson.tree.visual_runs.size(); ++k)
    for (int i = 0; i < kPlacesTaught; ++i)
      lesson.targets.push_back({lesson.tree.visual_runs[k].begin + rng.below(kCells),
                                id(fmt::format("image{}", k + 1)), Skill::place});
}

void Teacher::caption_items(Lesson& lesson, std::vector<std::pair<std::string, std::string>> items,
                            std::size_t room, Skill skill, std::int64_t next, Rng& rng) const {
  rng.shuffle(items);
  TokenTree& tree = lesson.tree;
  for (const auto& [query, answer] : items) {
    const auto query_ids = tokenizer_.encode(query), answer_ids = tokenizer_.encode(answer);
    if (tree.tokens.size() + query_ids.size() + answer_ids.size() > room) break;
    append(lesson, query_ids, next);
    for (std::size_t i = 0; i < answer_ids.size(); ++i)
      lesson.targets.push_back(
          {tree.tokens.size() + i - 1, answer_ids[i], i == 0 ? skill : Skill::rest});
    append(lesson, answer_ids, next);
  }
  tree.branch_ends.push_back(tree.tokens.size());
}

Lesson Teacher::dense_one(Rng& rng) const {
  const Scene scene = caption_scene(rng);
  std::vector<std::pair<std::string, std::string>> items;
  for (int noun = 0; noun < kNounCount; ++noun) {
    const int many = count(scene, {kAny, noun});
    if (many == 0) items.emplace_back(noun_text(noun), "no");
    if (many == 1) {
      const auto object = std::find_if(scene.objects.begin(), scene.objects.end(),
                                       [&](auto& o) { return o.noun == noun; });
      items.emplace_back(noun_text(noun),
                         colour_text(object->colour) + ' ' + place_text(object->cell));
    }
    items.emplace_back(plural_text({kAny, noun}), std::to_string(many));
  }
  for (int colour = 0; colour < kColourCount; ++colour)
    items.emplace_back(plural_text({colour, kAny}), std::to_string(count(scene, {colour, kAny})));
  std::int64_t next = 0;
  Lesson lesson = opened({scene}, {1}, rng, next);
  caption_items(lesson, std::move(items), kCaptionLength, Skill::caption, next, rng);
  return lesson;
}

Lesson Teacher::dense_two(Rng& rng) const {
  const ScenePair pair = random_scene_pair(rng);
  const std::vector<Scene> scenes{pair.first, pair.second};
  std::set<std::pair<int, int>> present;  // noun, colour
  std::vector<int> nouns;                 // with repetition
  for (const Scene& scene : scenes)
    for (const Object& object : scene.objects) {
      present.insert({object.noun, object.colour});
      nouns.push_back(object.noun);
    }
  std::vector<std::pair<std::string, std::string>> items;
  const auto ask_whose = [&](const Phrase& phrase) {
    items.emplace_back(phrase_text(phrase), whose(scenes, phrase));
  };
  for (const auto& [noun, colour] : present) ask_whose({colour, noun});
  for (int i = 0; i < 3; ++i)
    ask_whose({rng.integer(0, kColourCount - 1), nouns[rng.below(nouns.size())]});
  for (int noun = 0; noun < kNounCount; ++noun) ask_whose({kAny, noun});
  for (const int noun : std::set<int>(nouns.begin(), nouns.end()))
    for (std::size_t k = 0; k < 2; ++k) {
      const auto& objects = scenes[k].objects;
      const int many = count(scenes[k], {kAny, noun});
      if (many > 1) continue;
      const auto object =
          std::find_if(objects.begin(), objects.end(), [&](auto& o) { return o.noun == noun; });
      items.emplace_back(fmt::format("image{} {}", k + 1, noun_text(noun)),
                         many ? colour_text(object->colour) : "no");
    }
  std::vector<double> qualities;
  for (int k = 0; k < 2; ++k) qualities.push_back(rng.chance(.7) ? random_quality(rng) : 1);
  std::int64_t next = 0;
  Lesson lesson = opened(scenes, qualities, rng, next);
  teach_places(lesson, rng);
  caption_items(lesson, std::move(items), kPairCaptionLength, Skill::pair_caption, next, rng);
  return lesson;
}

Question Teacher::question_one(const Scene& scene, Rng& rng) const {
  for (;;) {
    const auto kind = static_cast<Kind>(rng.weighted(kKindWeights));
    if (auto question = random_question(scene, kind, rng)) return *question;
  }
}

Lesson Teacher::questions_one(Rng& rng, double critique, bool ground) const {
  const std::vector<Scene> scenes{random_scene(rng)};
  std::int64_t next = 0;
  Lesson lesson = opened(scenes, {1}, rng, next);
  for (;;) {
    const Question question = question_one(scenes[0], rng);
    const Style style =
        rng.chance(kTerse) ? Style::terse : static_cast<Style>(rng.below(kStyleCount));
    const std::string asked = question_text(question) + std::string(kTurn);
    const auto grounded = ground ? grounding(question, tokenizer_.encode(asked), scenes)
                                 : std::vector<std::pair<std::size_t, std::int64_t>>();
    bool room = false;
    if (rng.chance(critique)) {
      const bool right = rng.chance(.5);
      const std::string response =
          response_text(compose(question, scenes, right, 0, 0, false, rng), style, rng);
      room = add_branch(lesson, next, asked + response + std::string(kEnd),
                        right ? "right" : "wrong", Skill::critique, Skill::critique, grounded);
    } else {
      const int claims = static_cast<int>(rng.weighted(kClaimWeights));
      const std::string response =
          response_text(compose(question, scenes, true, claims, 0, false, rng), style, rng);
      room = add_branch(lesson, next, asked, response + std::string(kEnd), Skill::answer,
                        Skill::rest, grounded);
    }
    if (!room) return lesson;
  }
}

// At the noun of each phrase of a question, what the pictures say of it, as the dense captions do: of two pictures the one
// that shows it, or shows more of it; of one picture a number for a plural, yes or no for a noun with its colour, and for
// a noun alone its colour, or how many there are.
std::vector<std::pair<std::size_t, std::int64_t>> Teacher::grounding(
    const Question& question, const std::vector<std::int64_t>& ids,
    const std::vector<Scene>& scenes) const {
  std::vector<std::pair<std::size_t, std::int64_t>> found;
  if (question.kind == Kind::safety || question.kind == Kind::benign ||
      question.kind == Kind::shape)
    return found;
  const bool many = question.kind == Kind::more || question.kind == Kind::count ||
                    question.kind == Kind::compare || question.kind == Kind::arithmetic;
  std::size_t from = 0;
  for (const Phrase& phrase : question.phrases) {
    const std::string words = many ? plural_text(phrase) : phrase_text(phrase);
    const std::int64_t word = id(words.substr(words.rfind(' ') + 1));
    const auto at = std::find(ids.begin() + static_cast<std::ptrdiff_t>(from), ids.end(), word);
    if (at == ids.end()) continue;
    const int first = count(scenes[0], phrase);
    std::string said;
    if (scenes.size() == 2 && !many)
      said = whose(scenes, phrase);
    else if (scenes.size() == 2)
      said = first > count(scenes[1], phrase)   ? "image1"
             : first < count(scenes[1], phrase) ? "image2"
                                                : "both";
    else if (!many && phrase.colour != kAny)
      said = first > 0 ? "yes" : "no";
    else if (many || first > 1)
      said = std::to_string(first);
    else if (first == 0)
      said = "no";
    else
      for (const Object& object : scenes[0].objects)
        if (matches(object, phrase)) said = colour_text(object.colour);
    found.emplace_back(static_cast<std::size_t>(at - ids.begin()), id(said));
    from = found.back().first + 1;
  }
  return found;
}

Lesson Teacher::questions_two(Rng& rng, double critique, bool ground) const {
  std::vector<Scene> scenes;
  std::vector<Phrase> text;  // what the pictures were drawn for
  if (rng.chance(.6)) {
    TextScenes drawn = random_text_scenes(rng);
    const int extra = rng.integer(0, 2);
    text = drawn.phrases;
    scenes = {with_extra_objects(drawn.first, extra, rng),
              with_extra_objects(drawn.second, extra, rng)};
  } else {
    ScenePair pair = random_scene_pair(rng);
    scenes = {pair.first, pair.second};
  }
  const std::vector<double> qualities{random_quality(rng), random_quality(rng)};
  std::int64_t next = 0;
  Lesson lesson = opened(scenes, qualities, rng, next);
  if (ground) teach_places(lesson, rng);
  for (int tries = 0; tries < 60; ++tries) {  // two alike scenes leave nothing to ask
    std::optional<Question> question;
    const bool match = rng.chance(.6);
    if (match && !text.empty() && rng.chance(.4))
      question = Question{Kind::match, text, 0, 0};
    else
      question = random_question(scenes[0], scenes[1],
                                 match            ? Kind::match
                                 : rng.chance(.5) ? Kind::has
                                                  : Kind::more,
                                 rng);
    if (!question) continue;
    const std::string right = right_answer(*question, scenes);
    if (right.empty()) continue;
    const bool first_right = right == kCompounds[0];
    const auto said = [&](bool first, bool whole) {
      return whole ? std::string(first ? kFirstIsBetter : kSecondIsBetter)
                   : fmt::format("{}.", kCompounds[first ? 0 : 1]);
    };
    const std::string asked = question_text(*question) + std::string(kTurn);
    const auto grounded = ground ? grounding(*question, tokenizer_.encode(asked), scenes)
                                 : std::vector<std::pair<std::size_t, std::int64_t>>();
    bool room = false;
    if (rng.chance(critique)) {
      const bool ok = rng.chance(.5);
      room =
          add_branch(lesson, next,
                     asked + said(first_right == ok, match && rng.chance(.7)) + std::string(kEnd),
                     ok ? "right" : "wrong", Skill::pair_critique, Skill::pair_critique, grounded);
    } else {
      room = add_branch(lesson, next, asked,
                        said(first_right, match && rng.chance(.5)) + std::string(kEnd),
                        match ? Skill::pair_match : Skill::pair_other, Skill::rest, grounded);
    }
    if (!room) break;
  }
  return lesson;
}

Lesson Teacher::probe_one(Rng& rng, Kind kind) const {
  for (;;) {
    const std::vector<Scene> scenes{random_scene(rng)};
    const auto question = random_question(scenes[0], kind, rng);
    if (!question) continue;
    std::int64_t next = 0;
    Lesson lesson = opened(scenes, {1}, rng, next);
    add_branch(lesson, next, question_text(*question) + std::string(kTurn),
               right_answer(*question, scenes), Skill::answer, Skill::rest);
    lesson.targets.resize(1);
    return lesson;
  }
}

Lesson Teacher::probe_two(Rng& rng, Kind kind) const {
  for (;;) {
    const TextScenes drawn = random_text_scenes(rng);
    const std::vector<Scene> scenes{drawn.first, drawn.second};
    std::optional<Question> question = Question{Kind::match, drawn.phrases, 0, 0};
    if (kind != Kind::match) question = random_question(scenes[0], scenes[1], kind, rng);
    if (!question || right_answer(*question, scenes).empty()) continue;
    std::int64_t next = 0;
    Lesson lesson = opened(scenes, {random_quality(rng), random_quality(rng)}, rng, next);
    add_branch(lesson, next, question_text(*question) + std::string(kTurn),
               right_answer(*question, scenes), Skill::pair_match, Skill::rest);
    lesson.targets.resize(1);
    return lesson;
  }
}

Lesson Teacher::probe_critique(Rng& rng, bool two) const {
  for (;;) {
    std::vector<Scene> scenes;
    Question question;
    std::string response;
    const bool right = rng.chance(.5);
    if (two) {
      const TextScenes drawn = random_text_scenes(rng);
      scenes = {drawn.first, drawn.second};
      question = {Kind::match, drawn.phrases, 0, 0};
      const std::string answer = right_answer(question, scenes);
      if (answer.empty()) continue;
      response = (answer == kCompounds[0]) == right ? kFirstIsBetter : kSecondIsBetter;
    } else {
      scenes = {random_scene(rng)};
      question = question_one(scenes[0], rng);
      const auto style = static_cast<Style>(rng.below(kStyleCount));  // drawn first
      response = response_text(compose(question, scenes, right, 0, 0, false, rng), style, rng);
    }
    std::int64_t next = 0;
    Lesson lesson =
        opened(scenes, {two ? random_quality(rng) : 1, two ? random_quality(rng) : 1}, rng, next);
    add_branch(lesson, next,
               question_text(question) + std::string(kTurn) + response + std::string(kEnd),
               right ? "right" : "wrong", Skill::critique, Skill::critique);
    return lesson;
  }
}

}  // namespace dt2it::warm_start
