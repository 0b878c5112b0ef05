// SPDX-License-Identifier: Apache-2.0
#include "core/config/suggest.hpp"

#include <algorithm>

namespace dt2it {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table are enough: the one before last is for swaps.
  std::vector<std::size_t> older(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    older.swap(last);
    last.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], older[j - 2] + 1);
    }
  }
  return row[b.size()];
}

std::string allowed_text(const std::vector<std::string>& allowed) {
  if (allowed.empty()) return " (there are none)";
  std::string text = " (allowed: ";
  for (std::size_t i = 0; i < allowed.size(); ++i) text += (i ? ", " : "") + allowed[i];
  return text + ")";
}

std::string allowed_text(std::string_view wrong, const std::vector<std::string>& allowed) {
  // A mistyped key may be very long (mutated input): then nothing is near and the table is not computed.
  const std::string* nearest = nullptr;
  std::size_t best = std::max<std::size_t>(1, wrong.size() / 3) + 1;
  for (const std::string& candidate : allowed) {
    if (candidate.size() > wrong.size() + best || wrong.size() > candidate.size() + best) continue;
    const std::size_t distance = edit_distance(wrong, candidate);
    if (distance < best) {
      best = distance;
      nearest = &candidate;
    }
  }
  std::string text = allowed_text(allowed);
  if (nearest) text.insert(2, "did you mean '" + *nearest + "'? ");
  return text;
}

}  // namespace dt2it
