// SPDX-License-Identifier: Apache-2.0
#include "core/util/json_scan.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace dt2it {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_number_char(char c) {
  return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

void skip_space(std::string_view text, std::size_t& at) {
  while (at < text.size() && is_space(text[at])) ++at;
}

// `at` is at the opening quote; afterwards behind the closing one.
void skip_string(std::string_view text, std::size_t& at) {
  for (++at; at < text.size() && text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  at = std::min(at + 1, text.size());
}

// A value of any depth, without recursion: outside of strings only brackets count.
void skip_value(std::string_view text, std::size_t& at) {
  std::size_t depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      skip_string(text, at);
    } else if (c == '{' || c == '[') {
      ++depth;
      ++at;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return;  // of the value that this one stands in
      --depth;
      ++at;
    } else if (depth == 0 && (c == ',' || c == ':' || is_space(c))) {
      return;
    } else {
      ++at;
      continue;  // a literal or number goes on
    }
    if (depth == 0) return;
  }
}

std::string_view take_value(std::string_view text, std::size_t& at) {
  skip_space(text, at);
  const std::size_t begin = at;
  skip_value(text, at);
  return text.substr(begin, at - begin);
}

// Behind the bracket that opens, or at the end of the text when there is none.
std::size_t open_bracket(std::string_view text) {
  std::size_t at = 0;
  skip_space(text, at);
  return std::min(at + 1, text.size());
}

// At the next element's first character; false at the closing bracket.
bool next_element(std::string_view text, std::size_t& at) {
  skip_space(text, at);
  if (at < text.size() && text[at] == ',') ++at;
  skip_space(text, at);
  return at < text.size() && text[at] != '}' && text[at] != ']';
}

// Four hexadecimal digits, or -1.
int hex4(std::string_view text, std::size_t at) {
  if (at + 4 > text.size()) return -1;
  unsigned value = 0;
  const auto result = std::from_chars(text.data() + at, text.data() + at + 4, value, 16);
  return result.ptr == text.data() + at + 4 ? static_cast<int>(value) : -1;
}

bool is_high(int unit) { return unit >= 0xD800 && unit <= 0xDBFF; }
bool is_low(int unit) { return unit >= 0xDC00 && unit <= 0xDFFF; }

// The low half that follows an escape ending before `at`, or -1.
int low_half(std::string_view text, std::size_t at) {
  if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return -1;
  const int unit = hex4(text, at + 2);
  return is_low(unit) ? unit : -1;
}

void append_code_point(std::string& out, std::uint32_t c) {
  auto byte = [&](std::uint32_t value) { out += static_cast<char>(value); };
  if (c < 0x80) {
    byte(c);
  } else if (c < 0x800) {
    byte(0xC0 | c >> 6);
    byte(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    byte(0xE0 | c >> 12);
    byte(0x80 | (c >> 6 & 0x3F));
    byte(0x80 | (c & 0x3F));
  } else {
    byte(0xF0 | c >> 18);
    byte(0x80 | (c >> 12 & 0x3F));
    byte(0x80 | (c >> 6 & 0x3F));
    byte(0x80 | (c & 0x3F));
  }
}

void simplify_string(std::string& out, std::string_view quoted) {
  for (std::size_t at = 0; at < quoted.size();) {
    if (quoted[at] != '\\' || at + 1 >= quoted.size()) {
      out += quoted[at++];
      continue;
    }
    const int unit = quoted[at + 1] == 'u' ? hex4(quoted, at + 2) : -1;
    if (is_high(unit) && low_half(quoted, at + 6) >= 0) {
      out += quoted.substr(at, 12);
      at += 12;
    } else if (is_high(unit) || is_low(unit)) {
      out += "\\ufffd";
      at += 6;
    } else {
      out += quoted.substr(at, 2);
      at += 2;
    }
  }
}

void simplify_number(std::string& out, std::string_view number) {
  // strtod and not from_chars: only it tells too large from too small.
  const std::string text(number);
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  // strtod takes forms that JSON has not; those stay as they are, for the parser to refuse.
  const std::size_t first = text[0] == '-' ? 1 : 0;
  const std::size_t dot = text.find('.');
  auto digit = [&](std::size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  const bool complete = end == text.c_str() + text.size() && digit(first) &&
                        !(text[first] == '0' && digit(first + 1)) &&
                        (dot == std::string::npos || digit(dot + 1));
  if (complete && std::isinf(value)) {
    out += "null";
    return;
  }
  out += text;
  if (complete && number.size() > 18 && number.find_first_of(".eE") == std::string_view::npos)
    out += "e0";
}

}  // namespace

std::vector<RawMember> raw_members(std::string_view object) {
  std::vector<RawMember> members;
  for (std::size_t at = open_bracket(object); next_element(object, at);) {
    const std::size_t begin = at;
    const std::string_view key = take_value(object, at);
    skip_space(object, at);
    if (at < object.size() && object[at] == ':') ++at;
    members.push_back({key, take_value(object, at)});
    if (at == begin) break;  // not JSON
  }
  return members;
}

std::vector<std::string_view> raw_items(std::string_view array) {
  std::vector<std::string_view> items;
  for (std::size_t at = open_bracket(array); next_element(array, at);) {
    const std::size_t begin = at;
    items.push_back(take_value(array, at));
    if (at == begin) break;  // not JSON
  }
  return items;
}

std::string unescape_json_string(std::string_view quoted) {
  std::string out;
  if (quoted.size() < 2) return out;
  const std::string_view text = quoted.substr(1, quoted.size() - 2);
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] != '\\' || at + 1 >= text.size()) {
      out += text[at++];
      continue;
    }
    const char c = text[at + 1];
    at += 2;
    switch (c) {
      case 'n': out += '\n'; break;
      case 't': out += '\t'; break;
      case 'r': out += '\r'; break;
      case 'b': out += '\b'; break;
      case 'f': out += '\f'; break;
      case 'u': {
        const int unit = hex4(text, at);
        if (unit < 0) return out;  // not JSON
        at += 4;
        const int low = is_high(unit) ? low_half(text, at) : -1;
        if (low >= 0) at += 6;
        const auto code = static_cast<std::uint32_t>(unit);
        append_code_point(out, low < 0 ? code
                                       : 0x10000 + ((code - 0xD800) << 10) +
                                             (static_cast<std::uint32_t>(low) - 0xDC00));
        break;
      }
      default: out += c;  // quote, backslash, slash
    }
  }
  return out;
}

std::string simplify_json(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (text[at] == '"') {
      skip_string(text, at);
      simplify_string(out, text.substr(begin, at - begin));
    } else if (text[at] == '-' || (text[at] >= '0' && text[at] <= '9')) {
      while (at < text.size() && is_number_char(text[at])) ++at;
      simplify_number(out, text.substr(begin, at - begin));
    } else {
      out += text[at++];
    }
  }
  return out;
}

}  // namespace dt2it
