// SPDX-License-Identifier: Apache-2.0
#include "plugins/benchmarks/pairwise/python_literal.hpp"

#include <simdjson.h>

#include <cstdint>

namespace dt2it::records {
namespace {

void append_utf8(std::uint32_t code, std::string& out) {
  if (code >= 0xD800 && code <= 0xDFFF)
    code = 0xFFFD;  // half a character, for which UTF-8 has no form
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 63));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18 & 7));
    out += static_cast<char>(0x80 | (code >> 12 & 63));
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  }
}

class Literal {
 public:
  explicit Literal(std::string_view text) : text_(text) {}

  std::optional<std::vector<std::string>> list() {
    std::vector<std::string> items;
    if (!take('[')) return std::nullopt;
    while (!take(']')) {
      if (!items.empty() && !take(',')) return std::nullopt;
      if (!items.empty() && take(']')) break;  // a comma may stand before the end
      std::string item;
      if (!string(item)) return std::nullopt;
      items.push_back(std::move(item));
    }
    space();
    return at_ == text_.size() ? std::optional(std::move(items)) : std::nullopt;
  }

 private:
  void space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
      ++at_;
  }
  bool take(char c) {
    space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool string(std::string& out) {
    space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return false;
    const char quote = text_[at_++];
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == quote) return ++at_, true;
      if (text_[at_] != '\\')
        out += text_[at_];
      else if (++at_ >= text_.size() || !escape(out))
        return false;
    }
    return false;
  }
  // What stands behind a backslash; ends on its last character.
  bool escape(std::string& out) {
    static constexpr std::string_view kNames = "abfnrtv\\'\"", kMeanings = "\a\b\f\n\r\t\v\\'\"";
    const char c = text_[at_];
    if (const std::size_t found = kNames.find(c); found != kNames.npos)
      return out += kMeanings[found], true;
    if (c == '\n') return true;
    if (c == 'x' || c == 'u' || c == 'U') return number(c == 'x' ? 2 : c == 'u' ? 4 : 8, 16, out);
    if (c >= '0' && c <= '7') return --at_, number(3, 8, out);
    out += '\\';  // Python keeps what it does not know
    out += c;
    return true;
  }
  bool number(int most, std::uint32_t base, std::string& out) {
    std::uint32_t value = 0;
    int digits = 0;
    for (; digits < most && at_ + 1 < text_.size(); ++digits, ++at_) {
      const char c = text_[at_ + 1];
      const int digit = c >= '0' && c <= '9'                 ? c - '0'
                        : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                             : 99;
      if (digit >= static_cast<int>(base)) break;
      value = value * base + static_cast<std::uint32_t>(digit);
    }
    if (digits == 0 || (base == 16 && digits < most) || value > 0x10FFFF) return false;
    append_utf8(value, out);
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::optional<std::vector<std::string>> string_list_in(std::string_view text) {
  simdjson::dom::parser parser;
  simdjson::dom::array list;
  if (!parser.parse(simdjson::padded_string(text)).get(list)) {
    std::vector<std::string> items;
    for (const auto& item : list) {
      std::string_view one;
      if (item.get(one)) return std::nullopt;
      items.emplace_back(one);
    }
    return items;
  }
  return Literal(text).list();
}

}  // namespace dt2it::records
