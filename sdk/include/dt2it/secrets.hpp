// SPDX-License-Identifier: Apache-2.0
#pragma once

// For plugins that send keys: what a server says may hold them, and ends up in records, messages and reports. Keys of MLLMs are
// blotted out by the host.

#include <cctype>
#include <charconv>
#include <string>
#include <string_view>
#include <system_error>

namespace dt2it {

namespace secrets {

inline constexpr std::string_view kBlot = "[key]";
inline constexpr std::size_t kShortestSecret = 8;
inline constexpr std::size_t kNone = std::string_view::npos;

// The character of a "uXXXX" at `at`; 0 when there is none.
inline unsigned unicode_at(std::string_view text, std::size_t at) {
  if (at + 5 > text.size() || text[at] != 'u') return 0;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data() + at + 1, text.data() + at + 5, value, 16);
  return error == std::errc{} && end == text.data() + at + 5 ? value : 0;
}

// Letters and digits behind a backslash mean something else, or are written \uXXXX.
inline bool escaped_by_itself(char c) { return !std::isalnum(static_cast<unsigned char>(c)); }

// Where `c`, which stands at `at` plain or escaped, ends; none: it does not stand there.
inline std::size_t behind(std::string_view text, std::size_t at, char c) {
  const std::size_t begin = at;
  while (at < text.size() && text[at] == '\\') ++at;
  if (c == '\\' && at > begin) return at;
  if (at == text.size()) return kNone;
  if (text[at] == c && (at == begin || escaped_by_itself(c))) return at + 1;
  return at > begin && unicode_at(text, at) == static_cast<unsigned char>(c) ? at + 5 : kNone;
}

// Mostly not: the escapes of answers are line ends, quotes and letters of other languages.
inline bool may_be_escaped(std::string_view text, std::string_view secret) {
  for (std::size_t at = 0; (at = text.find('\\', at)) != kNone;) {
    at = text.find_first_not_of('\\', at);
    if (at == kNone) return false;
    if (const unsigned value = unicode_at(text, at); value > 0x20 && value < 0x7f) return true;
    if (escaped_by_itself(text[at]) && secret.find(text[at]) != kNone) return true;
  }
  return false;
}

}  // namespace secrets

// Replaces a key as it is, and as JSON may write it ("\/", "\u002f"), also in a string within a string, by "[key]". Keys of fewer
// than eight characters stay: they are no secrets.
inline void blot_out(std::string& text, std::string_view secret) {
  using namespace secrets;
  // "EMPTY" and "none" are keys for servers that check none, and words of answers.
  if (secret.size() < kShortestSecret) return;
  for (std::size_t at = 0; (at = text.find(secret, at)) != kNone; at += kBlot.size())
    text.replace(at, secret.size(), kBlot);
  if (!may_be_escaped(text, secret)) return;
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::size_t end = at;
    for (const char c : secret)
      if ((end = behind(text, end, c)) == kNone) break;
    if (end == kNone) continue;
    text.replace(at, end - at, kBlot);
    at += kBlot.size() - 1;
  }
}

}  // namespace dt2it
