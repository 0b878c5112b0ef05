// SPDX-License-Identifier: Apache-2.0
#include "core/nn/pre_tokenizer.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

constexpr std::uint32_t kStepLimit =
    10'000'000;  // of one match; well-behaved patterns need about the length of the text
constexpr std::uint32_t kHeapLimit = 64 << 10;  // KiB
constexpr std::size_t kStackLimit = 4 << 20;    // of the compiled matcher

// What PCRE2 needs besides the pattern: one a thread.
struct Matcher {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 << 10, kStackLimit, nullptr);

  Matcher() {
    pcre2_set_match_limit(context, kStepLimit);
    pcre2_set_heap_limit(context, kHeapLimit);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Matcher() {
    pcre2_jit_stack_free(stack);
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }
};

// PCRE2's \s has U+180E, which is no White_Space.
std::string translated(std::string_view pattern) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) {
      const char what = pattern[++i];
      if (what == 's')
        out += "\\p{White_Space}";
      else if (what == 'S')
        out += "\\P{White_Space}";
      else
        (out += '\\') += what;
    } else {
      out += pattern[i];
    }
  }
  return out;
}

}  // namespace

Pattern::Pattern(std::string_view text) : text_(text) {
  const std::string pattern = translated(text);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (!code) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof message);
    throw ModelError(fmt::format("the pattern '{}' is wrong: {}", text.substr(0, 200),
                                 reinterpret_cast<char*>(message)));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where that fails the interpreter does it
  code_ = std::shared_ptr<const pcre2_code>(
      code, [](const pcre2_code* p) { pcre2_code_free(const_cast<pcre2_code*>(p)); });
}

bool Pattern::find(std::string_view text, std::size_t from, std::size_t& begin,
                   std::size_t& end) const {
  thread_local const Matcher matcher;
  const auto match = [&](std::uint32_t options) {
    return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       PCRE2_NO_UTF_CHECK | options, matcher.data, matcher.context);
  };
  int count = match(0);
  if (count == PCRE2_ERROR_JIT_STACKLIMIT) count = match(PCRE2_NO_JIT);
  if (count == PCRE2_ERROR_NOMATCH) return false;
  if (count < 0) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(count, message, sizeof message);
    throw ModelError(fmt::format("the tokenizer's pattern '{}' gives up on a text of {} bytes: {}",
                                 std::string_view(text_).substr(0, 200), text.size(),
                                 reinterpret_cast<char*>(message)));
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(matcher.data);
  begin = bounds[0];
  end = bounds[1];
  return true;
}

const std::string_view kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

// The end of a contraction that begins with the apostrophe at `at`, or null.
const char* contraction_end(const char* at, const char* end) {
  const auto lower = [&](int i) { return at + i < end ? static_cast<char>(at[i] | 0x20) : '\0'; };
  switch (lower(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd': return at + 2;
    case 'r':
    case 'v': return lower(2) == 'e' ? at + 3 : nullptr;
    case 'l': return lower(2) == 'l' ? at + 3 : nullptr;
    default: break;
  }
  // U+017F, the long s, is an s without regard to case.
  return end - at >= 3 && at[1] == '\xc5' && at[2] == '\xbf' ? at + 3 : nullptr;
}

}  // namespace

const char* qwen_word_end(const char* const begin, const char* const end,
                          const std::uint8_t* const classes) {
  constexpr std::uint8_t kLetterNumber = kLetterClass | kNumberClass,
                         kNotOther = kLetterNumber | kSpaceClass;
  // The class of the code point at `at`, and where the next one begins.
  const auto look = [&](const char* at, const char*& next) {
    const auto byte = static_cast<unsigned char>(*at);
    if (byte < 0x80) return next = at + 1, classes[byte];
    next = at;
    const char32_t code = next_code(next);
    return classes[code];
  };
  const auto letters = [&](const char* at) {
    for (const char* next; at < end && look(at, next) & kLetterClass;) at = next;
    return at;
  };
  const char* after;
  const std::uint8_t first = look(begin, after);
  if (first & kLetterClass) return letters(after);
  if (first & kNumberClass) return after;
  if (*begin == '\'')
    if (const char* stop = contraction_end(begin, end)) return stop;

  const char* second = after;
  const std::uint8_t following = after < end ? look(after, second) : kSpaceClass;
  const bool line_end = *begin == '\r' || *begin == '\n';
  if (following & kLetterClass && !line_end) return letters(second);

  const char* at = nullptr;
  if (!(first & kNotOther))
    at = after;
  else if (*begin == ' ' && !(following & kNotOther))
    at = second;
  if (at) {
    for (const char* next; at < end && !(look(at, next) & kNotOther);) at = next;
    while (at < end && (*at == '\r' || *at == '\n')) ++at;
    return at;
  }

  // White space: up to its last line end; else all of it but what the next word takes, which is one
  // code point.
  const char *last = begin, *line = line_end ? after : nullptr, *next = nullptr;
  for (at = after; at < end && look(at, next) & kSpaceClass; at = next) {
    last = at;
    if (*at == '\r' || *at == '\n') line = next;
  }
  if (line) return line;
  return at == end || last == begin ? at : last;
}

}  // namespace dt2it::nn
