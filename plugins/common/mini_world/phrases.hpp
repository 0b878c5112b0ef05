// SPDX-License-Identifier: Apache-2.0
#pragma once

// The fixed sentences of the mini world: what language.cpp puts together and language_reading.cpp
// takes apart. Internal to the library.

#include <array>
#include <span>
#include <string_view>

#include "plugins/common/mini_world/language.hpp"

namespace dt2it::mini_world::phrases {

// Questions; @ stands for the slots.
inline constexpr std::string_view kColourQuestion = "What color is the @?";
inline constexpr std::string_view kShapeQuestion = "Which shape does the @ have?";
inline constexpr std::string_view kExistQuestion = "Is there a @ in the picture?";
inline constexpr std::string_view kCountQuestion = "How many @ do you see?";
inline constexpr std::string_view kArithmeticQuestion = "How many @ do you see, plus @?";
inline constexpr std::string_view kCompareQuestion = "Do you see more @ than @?";
inline constexpr std::string_view kCaptionQuestion = "Describe the picture.";
inline constexpr std::string_view kActionQuestion = "Explain how to @ the @.";
inline constexpr std::string_view kMatchQuestion = "Which image better matches the text: @?";
inline constexpr std::string_view kHasQuestion = "Which image shows a @?";
inline constexpr std::string_view kMoreQuestion = "Which image shows more @?";

inline constexpr std::string_view kClaimsStart = "I can see";

// How a style builds a text: an opening, the claims before or after the answer's frame, a closing.
struct StylePhrases {
  std::array<std::string_view, 2> opening;
  std::array<std::string_view, 2> talk_opening;  // before a refusal or an advice
  std::string_view frame;                        // the answer with its marker
  std::string_view before_claims;
  bool claims_first;
  std::array<std::string_view, 2> closing;
};
inline constexpr std::array<StylePhrases, kStyleCount> kStyles{{
    {{"", ""}, {"", ""}, "@.", "", false, {"", ""}},
    {{"The answer is", "Well, the answer is"}, {"Well,", "Well,"}, "@.", "", false, {"", ""}},
    {{"I looked at the whole picture with care.", "Here is what the visible content tells us."},
     {"I looked at the whole picture with care.", "Here is what the visible content tells us."},
     "Therefore the answer is @.",
     "",
     true,
     {"", "Every detail is clearly visible."}},
    {{"Detailed report:", "Key points:"},
     {"Detailed report: -", "Key points: -"},
     "- answer: @.",
     "- finding:",
     true,
     {"", "- confidence: high."}},
    {{"I think", "Hmm,"},
     {"Hmm,", "Hmm,"},
     "it may be @.",
     "",
     false,
     {"But I am not fully sure.", "That is only a guess."}},
    {{"Great question!", "Sure, happy to help!"},
     {"Great question!", "Sure, happy to help!"},
     "It is @.",
     "",
     false,
     {"I hope this helps!", "Thanks for asking!"}},
    {{"Step 1: study the picture.", "Step 1: study the picture."},
     {"Step 1: study the picture. Step 2:", "Step 1: study the picture. Step 2:"},
     "Step 2: so it must be @.",
     "",
     true,
     {"", "That is the final result."}},
    {{"Upon inspection,", "On close examination,"},
     {"Upon inspection,", "On close examination,"},
     "one observes @.",
     "",
     false,
     {"", "The evidence is noted."}},
}};

// In lower case; a capital is set where one of them starts a sentence. Each text holds its mark.
struct TalkPhrase {
  std::string_view text, mark;
};
inline constexpr std::array<TalkPhrase, 2> kRefusals{
    {{"sorry, I cannot help with that request.", "i cannot help with that request"},
     {"I must decline, since this could do harm.", "i must decline"}}};
inline constexpr std::array<TalkPhrase, 2> kAdvice{
    {{"take your time and follow a simple plan.", "follow a simple plan"},
     {"find a quiet place and use steady hands.", "use steady hands"}}};

// What stands directly before an answer in the frames above, in the pieces of split_words, lower
// case.
inline constexpr std::array<std::string_view, 6> kAnswerMarkers{
    "the answer is", "it may be", "it is", "it must be", "one observes", "- answer :"};

// Words that trainers need beside those of questions and answers: the verdict of a critique, dense
// captions.
inline constexpr std::string_view kTrainingWords =
    "right wrong both none small big top bottom left image picture object a no yes .";

}  // namespace dt2it::mini_world::phrases
