// SPDX-License-Identifier: Apache-2.0
#include "core/nn/normalizer.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "core/nn/unicode_classes.hpp"

namespace dt2it::nn {
namespace {

// Decomposes, orders and composes; utf8proc's own function orders in quadratic time.
void append_composed(std::string_view text, std::string& out) {
  std::vector<utf8proc_int32_t> codes;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    const auto code = static_cast<utf8proc_int32_t>(next_code(at));
    utf8proc_int32_t parts[32];  // canonical decompositions have at most four
    int boundary = 0;
    const auto count = utf8proc_decompose_char(code, parts, 32, UTF8PROC_DECOMPOSE, &boundary);
    if (count > 0 && count <= 32)
      codes.insert(codes.end(), parts, parts + count);
    else
      codes.push_back(code);
  }
  // Marks that came after the Unicode of Hugging Face's NFC count as letters there.
  const auto order = [classes = unicode_classes()](utf8proc_int32_t code) {
    return classes[code] & kComposesClass ? utf8proc_get_property(code)->combining_class : 0;
  };
  for (auto begin = codes.begin(); begin != codes.end();) {
    if (order(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto stop = std::find_if(begin, codes.end(), [&](auto code) { return order(code) == 0; });
    std::stable_sort(begin, stop, [&](auto a, auto b) { return order(a) < order(b); });
    begin = stop;
  }
  const auto count =
      utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  for (utf8proc_ssize_t i = 0; i < count; ++i)
    append_code(out, static_cast<char32_t>(codes[static_cast<std::size_t>(i)]));
}

// NFC. Only where a code point composes, that one and what belongs to it is looked at.
std::string_view compose(std::string_view text, std::string& buffer) {
  const std::uint8_t* const classes = unicode_classes();
  const char* const end = text.data() + text.size();
  const char* copied = text.data();  // what stands before is in the buffer
  const char* starter = text.data();
  bool changed = false;
  for (const char* at = text.data(); at < end;) {
    if (static_cast<unsigned char>(*at) < 0x80) {
      at = skip_ascii(at, end);
      starter = at - 1;
      continue;
    }
    const char* const here = at;
    if (!(classes[next_code(at)] & kComposesClass)) {
      starter = here;
      continue;
    }
    while (at < end) {  // to the next code point that is a border
      const char* next = at;
      if (!(classes[next_code(next)] & kComposesClass)) break;
      at = next;
    }
    if (!changed) buffer.clear();
    changed = true;
    buffer.append(copied, starter);
    append_composed({starter, static_cast<std::size_t>(at - starter)}, buffer);
    copied = starter = at;
  }
  if (!changed) return text;
  buffer.append(copied, end);
  return buffer;
}

std::string_view lower(std::string_view text, std::string& buffer) {
  buffer.clear();
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    const char32_t code = next_code(at);
    if (code < 0x80)
      buffer += static_cast<char>(code >= 'A' && code <= 'Z' ? code - 'A' + 'a' : code);
    else if (code == 0x130)
      buffer += "i\xcc\x87";  // the only one whose lower case has two code points
    else
      append_code(buffer, static_cast<char32_t>(utf8proc_tolower(
                              static_cast<utf8proc_int32_t>(newer_lower_case(code)))));
  }
  return buffer;
}

}  // namespace

std::string_view Normalizer::apply(std::string_view text, std::string& buffer) const {
  if (type == Type::compose) return compose(text, buffer);
  if (type == Type::lower) return lower(text, buffer);
  std::size_t hit = text.find(from), at = 0;
  if (hit == std::string_view::npos) return text;
  buffer.clear();
  for (; hit != std::string_view::npos; hit = text.find(from, at)) {
    (buffer += text.substr(at, hit - at)) += to;
    at = hit + from.size();
  }
  return buffer += text.substr(at);
}

}  // namespace dt2it::nn
