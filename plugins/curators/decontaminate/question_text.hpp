// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dt2it {

// Words of a question: compatibility forms and case folded, only letters and digits, a Han, kana or
// other sign of scripts without spaces each a word of its own. Text that is no UTF-8 is taken byte
// by byte.
std::vector<std::string> question_words(std::string_view text);

// A question as it is compared: hashes of the whole and of all `n` words in a row, sorted.
struct QuestionKey {
  std::uint64_t whole = 0;  // 0: no words
  std::vector<std::uint64_t> grams;
};
QuestionKey question_key(std::string_view text, std::size_t n);

// Share of `benchmark`'s grams that `other` has; 1 for equal questions. Questions of fewer than n
// words have one gram, the whole, and so count only when they are equal.
double containment(const QuestionKey& benchmark, const QuestionKey& other);

}  // namespace dt2it
