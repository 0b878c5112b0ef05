// SPDX-License-Identifier: Apache-2.0
#pragma once

// The words of the mini world: questions and answers as natural text from a closed vocabulary, and
// the way back. Pure functions, thread-safe.
//
// Words that carry an answer (colours, nouns, numbers, yes, no) are lower case wherever they stand,
// so that a word-level tokenizer gives each one token; words around them take a capital at the
// start of a sentence.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/common/mini_world/questions.hpp"

namespace dt2it::mini_world {

enum class Style : std::uint8_t { terse, plain, verbose, bullet, hedge, friendly, step, formal };
inline constexpr int kStyleCount = 8;
inline constexpr std::array<std::string_view, kStyleCount> kStyleNames{
    "terse", "plain", "verbose", "bullet", "hedge", "friendly", "step", "formal"};
std::optional<Style> style_named(std::string_view name);

// "ring", "red ring", "red object", "object"; plural: "rings", "red objects", "objects".
std::string phrase_text(const Phrase& phrase);
std::string plural_text(const Phrase& phrase);
// "a red ring and a bar and a blue post"
std::string caption_text(const std::vector<Phrase>& phrases);

std::string question_text(const Question& question);
// Finds a question of ours anywhere in the text; none for foreign text.
std::optional<Question> parse_question(std::string_view text);

// An answer before it is put into words.
struct Statement {
  std::string
      answer;  // a value as questions.hpp has it, or "a red ring" for a caption; "" says nothing
  std::vector<Phrase> claims;  // "I can see ..."
  bool garbled = false;        // a word is stuttered
};

// The right thing to say: for a caption a true phrase drawn with `rng`.
Statement right_statement(const Question& question, std::span<const Scene> scenes, Rng& rng);

std::string response_text(const Statement& statement, Style style, Rng& rng);

// The canonical answers to "Which image better matches the text: ...?" (the pair format of
// section 3.2).
inline constexpr std::string_view kFirstIsBetter = "Image 1 is better than Image 2.";
inline constexpr std::string_view kSecondIsBetter = "Image 2 is better than Image 1.";

// What a text says, as far as it is one of ours. A foreign text has no answer, no claims and is not
// refused.
struct Reading {
  std::optional<std::string> answer;  // "refuse" and "comply" included; lower case except "Image 1"
  std::optional<Phrase> phrase;       // when the answer is a phrase ("a red ring")
  std::vector<Phrase> claims;
  bool garbled = false;
  int words = 0;  // words and numbers, without punctuation
};
Reading parse_response(std::string_view text);

// Style whose marks the text bears, terse when there are none; none for a text without an answer.
std::optional<Style> style_of(std::string_view text);

// Every word and punctuation mark that questions and answers can hold, in a fixed order: words in
// the exact spelling of the texts (so "The" and "the" are two), then marks. "Image" and the digits
// are in it; a tokenizer may add kCompounds as single tokens.
const std::vector<std::string>& vocabulary();
inline constexpr std::array<std::string_view, 2> kCompounds{"Image 1", "Image 2"};

// Text into the pieces that vocabulary() lists: words, numbers, single punctuation marks; spaces
// vanish.
std::vector<std::string> split_words(std::string_view text);

}  // namespace dt2it::mini_world
