// SPDX-License-Identifier: Apache-2.0
#pragma once

// Cutting text into words: any regular expression by PCRE2, and the one of the Qwen family by hand.

#include <memory>
#include <string>
#include <string_view>

#include "core/nn/unicode_classes.hpp"

struct pcre2_real_code_8;

namespace dt2it::nn {

// A regular expression of a tokenizer.json. \s and \S mean Unicode's White_Space, as they do there.
class Pattern {
 public:
  // Throws ModelError.
  explicit Pattern(std::string_view text);

  // The first match in text.substr(from), as [begin, end); false when there is none. `from` is
  // between code points. Throws ModelError where matching takes too many steps, so that no pattern
  // runs for ever.
  bool find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const;

 private:
  std::string text_;
  std::shared_ptr<const pcre2_real_code_8> code_;
};

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|
// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
extern const std::string_view kQwenPattern;

// What kQwenPattern matches at the beginning of a text, found in one pass: the text is not empty
// and valid UTF-8. The matches cover every text without gaps.
const char* qwen_word_end(const char* begin, const char* end, const std::uint8_t* classes);

class Splitter {
 public:
  // Keeps what lies between matches as words too (Hugging Face's Isolated), or drops it.
  Splitter(std::string_view pattern, bool keep_between)
      : qwen_(keep_between && pattern == kQwenPattern), keep_between_(keep_between) {
    if (!qwen_) pattern_ = std::make_unique<Pattern>(pattern);
  }

  template <class Visit>
  void split(std::string_view text, Visit&& visit) const {
    if (qwen_) {
      const std::uint8_t* const classes = unicode_classes();
      const char* const end = text.data() + text.size();
      for (const char* at = text.data(); at < end;) {
        const char* const stop = qwen_word_end(at, end, classes);
        visit(std::string_view(at, static_cast<std::size_t>(stop - at)));
        at = stop;
      }
      return;
    }
    std::size_t done = 0, begin = 0, end = 0;
    for (std::size_t from = 0; from < text.size() && pattern_->find(text, from, begin, end);) {
      if (begin < done ||
          end <= begin) {  // an empty match is no word: look again one code point further
        const char* next = text.data() + from;
        next_code(next);
        from = static_cast<std::size_t>(next - text.data());
        continue;
      }
      if (keep_between_ && begin > done) visit(text.substr(done, begin - done));
      visit(text.substr(begin, end - begin));
      from = done = end;
    }
    if (keep_between_ && done < text.size()) visit(text.substr(done));
  }

 private:
  bool qwen_, keep_between_;
  std::unique_ptr<Pattern> pattern_;
};

}  // namespace dt2it::nn
