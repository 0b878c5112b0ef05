// SPDX-License-Identifier: Apache-2.0
#include "core/util/shell_word.hpp"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace dt2it {

std::string shell_word(const std::string& word) {
  constexpr std::string_view kPlain = "_-./=:,+@%";
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [&](unsigned char c) {
    return std::isalnum(c) != 0 || kPlain.find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace dt2it
