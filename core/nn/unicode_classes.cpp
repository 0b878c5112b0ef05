// SPDX-License-Identifier: Apache-2.0
#include "core/nn/unicode_classes.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <new>

namespace dt2it::nn {
namespace {

struct Range {
  char32_t first, last;
};

#include "core/nn/unicode_classes.inc"

struct Step {
  int bytes;
  bool valid;
};

// The length of the sequence at `at`, or of the part of it that could have begun one.
Step utf8_step(const unsigned char* at, const unsigned char* end) {
  const unsigned char first = at[0];
  if (first < 0x80) return {1, true};
  if (first < 0xc2 || first > 0xf4) return {1, false};
  const int following = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
  unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  for (int i = 1; i <= following; ++i) {
    if (at + i == end || at[i] < low || at[i] > high) return {i, false};
    low = 0x80;
    high = 0xbf;
  }
  return {following + 1, true};
}

}  // namespace

const std::uint8_t* unicode_classes() {
  // Pages that no text touches stay unmapped.
  static const std::uint8_t* const table = [] {
    auto* classes = static_cast<std::uint8_t*>(std::calloc(0x110000, 1));
    if (!classes) throw std::bad_alloc();
    const auto mark = [&](const auto& ranges, std::uint8_t flag) {
      for (const Range& range : ranges)
        for (char32_t code = range.first; code <= range.last; ++code) classes[code] |= flag;
    };
    mark(kLetter, kLetterClass);
    mark(kNumber, kNumberClass);
    mark(kSpace, kSpaceClass);
    mark(kComposes, kComposesClass);
    return classes;
  }();
  return table;
}

char32_t newer_lower_case(char32_t code) {
  const auto* const pair = std::find_if(std::begin(kLower), std::end(kLower),
                                        [&](const Range& pair) { return pair.first == code; });
  return pair == std::end(kLower) ? code : pair->last;
}

void append_code(std::string& out, char32_t code) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      put(0xe0 | code >> 12);
    } else {
      put(0xf0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3f));
    }
    put(0x80 | (code >> 6 & 0x3f));
  }
  put(0x80 | (code & 0x3f));
}

const char* skip_ascii(const char* at, const char* end) {
  for (; end - at >= 8; at += 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (at < end && static_cast<unsigned char>(*at) < 0x80) ++at;
  return at;
}

bool is_utf8(std::string_view text) {
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); (at = skip_ascii(at, end)) < end;) {
    const Step step = utf8_step(reinterpret_cast<const unsigned char*>(at),
                                reinterpret_cast<const unsigned char*>(end));
    if (!step.valid) return false;
    at += step.bytes;
  }
  return true;
}

std::string repaired_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = at + text.size();
  while (at < end) {
    const Step step = utf8_step(at, end);
    if (step.valid)
      out.append(reinterpret_cast<const char*>(at), static_cast<std::size_t>(step.bytes));
    else
      out += "\xef\xbf\xbd";
    at += step.bytes;
  }
  return out;
}

}  // namespace dt2it::nn
