// SPDX-License-Identifier: Apache-2.0
#include "core/stages/style.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <xtensor/xmath.hpp>
#include <xtensor/xview.hpp>

#include "core/util/characters.hpp"
#include "dt2it/rng.hpp"

namespace dt2it {
namespace {

struct Marks {
  double bullets = 0, numbered = 0, headings = 0, bold = 0, code = 0, tables = 0, formulas = 0;
  double lines = 0;
};

std::size_t count_of(std::string_view text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + what.size()))
    ++count;
  return count;
}

Marks marks_of(std::string_view text) {
  Marks marks;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    ++marks.lines;
    if (line.starts_with("- ") || line.starts_with("* ") || line.starts_with("\xE2\x80\xA2"))
      ++marks.bullets;
    if (line.starts_with("#")) ++marks.headings;
    if (line.starts_with("|")) ++marks.tables;
    std::size_t digits = 0;
    while (digits < line.size() && std::isdigit(static_cast<unsigned char>(line[digits]))) ++digits;
    if (digits > 0 && digits < 3 && digits + 1 < line.size() &&
        (line[digits] == '.' || line[digits] == ')') && line[digits + 1] == ' ')
      ++marks.numbered;
    begin = end + 1;
  }
  marks.bold = static_cast<double>(count_of(text, "**") / 2);
  marks.code = static_cast<double>(count_of(text, "`"));
  marks.formulas = static_cast<double>(count_of(text, "$") + count_of(text, "\\("));
  return marks;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool within = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = byte >= 0x80 || std::isalpha(byte) || c == '\'';
    if (letter && !within) words.emplace_back();
    if (letter) words.back() += byte < 0x80 ? static_cast<char>(std::tolower(byte)) : c;
    within = letter;
  }
  return words;
}

float logarithm(double count) { return static_cast<float>(std::log1p(count)); }

// Logistic regression without an intercept on differences whose label is always 1, which equals the symmetric problem. Plain
// gradient descent with momentum on columns of unit scale; a penalty keeps rare columns small.
std::vector<double> train(const std::vector<float>& rows, std::size_t columns) {
  constexpr int kSteps = 150;
  constexpr double kPenalty = 1e-3, kRate = 1.0, kMomentum = 0.9;
  const std::size_t count = rows.size() / columns;
  std::vector<double> weights(columns), velocity(columns), gradient(columns);
  for (int step = 0; step < kSteps; ++step) {
    std::fill(gradient.begin(), gradient.end(), 0.0);
    for (std::size_t i = 0; i < count; ++i) {
      const float* row = rows.data() + i * columns;
      double sum = 0;
      for (std::size_t c = 0; c < columns; ++c) sum += weights[c] * row[c];
      const double miss = 1 / (1 + std::exp(sum));
      for (std::size_t c = 0; c < columns; ++c) gradient[c] += miss * row[c];
    }
    // The step is short enough for rows of many columns.
    const double rate = kRate / std::sqrt(static_cast<double>(columns));
    for (std::size_t c = 0; c < columns; ++c) {
      velocity[c] = kMomentum * velocity[c] + gradient[c] / static_cast<double>(count) -
                    kPenalty * weights[c];
      weights[c] += rate * (1 - kMomentum) * 4 * velocity[c];
    }
  }
  return weights;
}

}  // namespace

double markdown_marks(std::string_view text) {
  const Marks marks = marks_of(text);
  return marks.bullets + marks.numbered + marks.headings + marks.bold + marks.code + marks.tables +
         marks.formulas;
}

void add_style(std::string_view text, std::string_view writer, float sign, float* row) {
  const Marks marks = marks_of(text);
  const std::vector<std::string> words = words_of(text);
  const double sentences =
      static_cast<double>(count_of(text, ".") + count_of(text, "!") + count_of(text, "?"));
  const std::array<double, kLengthColumns + kMarkdownColumns> counts{
      static_cast<double>(characters(text)),
      static_cast<double>(words.size()),
      sentences,
      marks.bullets,
      marks.numbered,
      marks.headings,
      marks.bold,
      marks.code,
      marks.tables,
      marks.formulas};
  for (std::size_t i = 0; i < counts.size(); ++i) row[i] += sign * logarithm(counts[i]);

  float* at = row + counts.size();
  const auto mark = [&](float* from, std::size_t columns, const std::string& what) {
    from[stable_hash(what) % columns] += sign;
  };
  if (!words.empty()) mark(at, kOpeningColumns, words[0]);
  if (words.size() > 1) mark(at, kOpeningColumns, words[0] + ' ' + words[1]);
  at += kOpeningColumns;

  static constexpr std::string_view kSigns[] = {"!",  "?", ";",  ":",    "(",
                                                "\"", ",", "--", "\n\n", "..."};
  std::size_t i = 0;
  for (const std::string_view one : kSigns)
    at[i++] += sign * logarithm(static_cast<double>(count_of(text, one)));
  double letters = 0;
  for (const std::string& word : words) letters += static_cast<double>(word.size());
  at[i++] += sign * static_cast<float>(
                        words.empty() ? 0 : letters / static_cast<double>(words.size()) / 5);
  at[i++] += sign * logarithm(sentences > 0 ? static_cast<double>(words.size()) / sentences : 0);
  if (words.size() > 1)
    mark(at + i, kMannerColumns - i, words[words.size() - 2] + ' ' + words.back());
  at += kMannerColumns;
  if (!writer.empty()) mark(at, kWriterColumns, std::string(writer));
}

StyleAccuracy style_accuracy(const xt::xtensor<float, 2>& differences,
                             const std::vector<std::uint8_t>& fold_of, const StyleFamily& family) {
  constexpr std::uint8_t kFolds = 5;
  StyleAccuracy accuracy;
  const std::size_t count = differences.shape(0), columns = family.count;
  if (count < 20) return accuracy;
  // Columns of unit mean square: the sign of a difference is its label, so no mean is taken off.
  const auto part =
      xt::view(differences, xt::all(), xt::range(family.first, family.first + columns));
  const xt::xtensor<double, 1> scale = xt::sqrt(xt::mean(xt::square(xt::cast<double>(part)), {0}));
  double right = 0;
  std::size_t tested = 0;
  for (std::uint8_t fold = 0; fold < kFolds; ++fold) {
    std::vector<float> rows;
    std::vector<std::size_t> test;
    std::vector<float> row(columns);
    const auto scaled = [&](std::size_t i) {
      for (std::size_t c = 0; c < columns; ++c)
        row[c] = scale(c) > 1e-9 ? static_cast<float>(differences(i, family.first + c) / scale(c))
                                 : 0.0f;
    };
    for (std::size_t i = 0; i < count; ++i) {
      if (fold_of[i] == fold) {
        test.push_back(i);
      } else {
        scaled(i);
        rows.insert(rows.end(), row.begin(), row.end());
      }
    }
    if (rows.empty() || test.empty()) continue;
    const std::vector<double> weights = train(rows, columns);
    for (const std::size_t i : test) {
      scaled(i);
      double sum = 0;
      for (std::size_t c = 0; c < columns; ++c) sum += weights[c] * row[c];
      right += sum > 1e-9 ? 1 : sum < -1e-9 ? 0 : 0.5;
      ++tested;
    }
  }
  if (tested == 0) return accuracy;
  const double n = static_cast<double>(tested), p = right / n, z = 1.96;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  accuracy = {p, centre - half, centre + half};
  return accuracy;
}

}  // namespace dt2it
