// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a code point is to a tokenizer, as Hugging Face sees it (unicode_classes.inc; the Unicode of
// PCRE2 and utf8proc differs by version), and stepping through UTF-8.

#include <cstdint>
#include <string>
#include <string_view>

namespace dt2it::nn {

constexpr std::uint8_t kLetterClass = 1;  // \p{L}
constexpr std::uint8_t kNumberClass = 2;  // \p{N}
constexpr std::uint8_t kSpaceClass = 4;   // \s
constexpr std::uint8_t kComposesClass =
    8;  // may change under NFC, alone or with what stands before it

// One byte of classes for each code point.
const std::uint8_t* unicode_classes();

// The code point at `at`, which moves on; only for valid UTF-8.
inline char32_t next_code(const char*& at) {
  const auto byte = [&](int i) { return static_cast<char32_t>(static_cast<unsigned char>(at[i])); };
  const char32_t first = byte(0);
  if (first < 0x80) return at += 1, first;
  if (first < 0xe0) {
    const char32_t code = (first & 0x1f) << 6 | (byte(1) & 0x3f);
    return at += 2, code;
  }
  if (first < 0xf0) {
    const char32_t code = (first & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    return at += 3, code;
  }
  const char32_t code =
      (first & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  return at += 4, code;
}

// The lower case of letters that came with late versions of Unicode; any other code point as it is.
char32_t newer_lower_case(char32_t code);

void append_code(std::string& out, char32_t code);

// Where the first byte above 0x7f stands, or the end.
const char* skip_ascii(const char* at, const char* end);

bool is_utf8(std::string_view text);
// Every maximal part of a broken sequence becomes one U+FFFD, as the Unicode standard and Rust's
// lossy conversion do.
std::string repaired_utf8(std::string_view text);

}  // namespace dt2it::nn
