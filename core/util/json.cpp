// SPDX-License-Identifier: Apache-2.0
#include "core/util/json.hpp"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace dt2it {

namespace {

// Length of the valid UTF-8 character at `at`; 0 when the bytes there are none.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  auto byte = [&](std::size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  auto goes_on = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return goes_on(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!goes_on(1) || !goes_on(2) || (first == 0xE0 && byte(1) < 0xA0)) return 0;
    return first == 0xED && byte(1) >= 0xA0 ? 0 : 3;  // surrogates are no characters
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!goes_on(1) || !goes_on(2) || !goes_on(3)) return 0;
    if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) >= 0x90)) return 0;
    return 4;
  }
  return 0;
}

// The number of a lone surrogate written as three bytes (WTF-8); 0 when there is none.
unsigned surrogate(std::string_view text, std::size_t at) {
  if (at + 3 > text.size()) return 0;
  const auto a = static_cast<unsigned char>(text[at]), b = static_cast<unsigned char>(text[at + 1]),
             c = static_cast<unsigned char>(text[at + 2]);
  if (a != 0xED || b < 0xA0 || b > 0xBF || (c & 0xC0) != 0x80) return 0;
  return 0xD000u | (b & 0x3Fu) << 6 | (c & 0x3Fu);
}

}  // namespace

namespace {

// How many bytes from `at` on are ASCII that is written as it is.
std::size_t plain_length(std::string_view text, std::size_t at) {
  const std::size_t begin = at;
  constexpr std::uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, text.data() + at, 8);
    const std::uint64_t quote = bytes ^ (kOnes * '"'), backslash = bytes ^ (kOnes * '\\');
    if ((bytes | (bytes - kOnes * 0x20) | (quote - kOnes) | (backslash - kOnes)) & kHigh) break;
  }
  for (; at < text.size(); ++at) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
  }
  return at - begin;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    if (const std::size_t length = plain_length(text, at)) {
      out.append(text, at, length);
      at += length;
      continue;
    }
    const char c = text[at];
    if (static_cast<unsigned char>(c) >= 0x80) {
      if (const std::size_t length = utf8_length(text, at)) {
        out += text.substr(at, length);
        at += length;
      } else if (const unsigned unit = surrogate(text, at)) {
        fmt::format_to(std::back_inserter(out), "\\u{:04x}", unit);
        at += 3;
      } else {
        out += "\xEF\xBF\xBD";  // U+FFFD
        ++at;
      }
      continue;
    }
    ++at;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default: fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    }
  }
  out += '"';
}

void JsonWriter::separate() {
  if (after_key_) {
    after_key_ = false;
  } else if (!first_.empty()) {
    if (!first_.back()) text_ += ',';
    first_.back() = false;
  }
}

JsonWriter& JsonWriter::begin_object() {
  separate();
  text_ += '{';
  first_.push_back(true);
  return *this;
}

JsonWriter& JsonWriter::end_object() {
  text_ += '}';
  first_.pop_back();
  return *this;
}

JsonWriter& JsonWriter::begin_array() {
  separate();
  text_ += '[';
  first_.push_back(true);
  return *this;
}

JsonWriter& JsonWriter::end_array() {
  text_ += ']';
  first_.pop_back();
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  append_json_string(text_, name);
  text_ += ':';
  after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  append_json_string(text_, text);
  return *this;
}

JsonWriter& JsonWriter::value(bool flag) { return raw(flag ? "true" : "false"); }

void append_json_number(std::string& out, double number) {
  if (number == 0 && std::signbit(number)) {
    out += "-0.0";  // "-0" would be read as an integer, which has no such zero
  } else if (!std::isfinite(number)) {
    out += "null";
  } else {
    char digits[32];  // of the shortest form that reads back the same: 24 at most
    out.append(digits, fmt::format_to(digits, FMT_COMPILE("{}"), number));
  }
}

JsonWriter& JsonWriter::value(double number) {
  separate();
  append_json_number(text_, number);
  return *this;
}

JsonWriter& JsonWriter::value(std::int64_t number) {
  const fmt::format_int digits(number);
  return raw({digits.data(), digits.size()});
}

JsonWriter& JsonWriter::null() { return raw("null"); }

JsonWriter& JsonWriter::raw(std::string_view json) {
  separate();
  text_ += json;
  return *this;
}

}  // namespace dt2it
