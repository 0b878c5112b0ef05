// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the manner of two answers tells of which is chosen, without a look at what they say (paper sections 1 and 3.1: preference
// data whose sides come from different models can be told apart by style, and a reward model learns that instead).

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>
#include <xtensor/xtensor.hpp>

namespace dt2it {

// Columns of the matrix of differences (chosen - rejected).
struct StyleFamily {
  const char* name;
  std::size_t first, count;
};
inline constexpr std::size_t kLengthColumns = 3, kMarkdownColumns = 7, kOpeningColumns = 64,
                             kMannerColumns = 44, kWriterColumns = 16;
inline constexpr StyleFamily kStyleFamilies[] = {
    {"length", 0, kLengthColumns},  // characters, words, sentences (logarithms)
    {"markdown", kLengthColumns,
     kMarkdownColumns},  // lists, headings, bold, code, tables, formulas
    {"first_words", kLengthColumns + kMarkdownColumns,
     kOpeningColumns},  // the first word, the first two
    // Signs and word lengths, the last two words: with the three above the whole of style.
    {"style", 0, kLengthColumns + kMarkdownColumns + kOpeningColumns + kMannerColumns},
    {"writer", kLengthColumns + kMarkdownColumns + kOpeningColumns + kMannerColumns,
     kWriterColumns}};  // names of models
inline constexpr std::size_t kStyleColumns =
    kLengthColumns + kMarkdownColumns + kOpeningColumns + kMannerColumns + kWriterColumns;

// Adds sign * (features of an answer) to a row of kStyleColumns.
void add_style(std::string_view text, std::string_view writer, float sign, float* row);
// How many signs of Markdown a text has.
double markdown_marks(std::string_view text);

struct StyleAccuracy {
  double value = 0.5;        // share of pairs whose chosen side was told, a tie being half
  double low = 0, high = 1;  // 95 % interval (Wilson)
};

// How well a logistic regression on these columns tells chosen from rejected on pairs it was not trained on: five folds, by
// `fold_of` (0 ... 4; pairs of one prompt share one). 0.5 is chance. No randomness. Fewer than 20 pairs: chance, with the widest interval.
StyleAccuracy style_accuracy(const xt::xtensor<float, 2>& differences,
                             const std::vector<std::uint8_t>& fold_of, const StyleFamily& family);

}  // namespace dt2it
