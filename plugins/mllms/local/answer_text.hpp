// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dt2it/backbone.hpp"

namespace dt2it::local {

// Text of an answer that grows token by token: without special tokens, ending before the first stop string, which may
// begin in one token and end in another, and never within a character.
class AnswerText {
 public:
  // `stops` are not empty texts and outlive it, as does the backbone.
  AnswerText(const Backbone& backbone, const std::vector<std::string>& stops)
      : backbone_(&backbone), stops_(&stops) {}

  // True when the answer is over: it contains a stop string. No more tokens then.
  bool add(std::int64_t token);
  const std::string& text() const { return text_; }

 private:
  const Backbone* backbone_;
  const std::vector<std::string>* stops_;
  // Tokens whose text is still needed. Those before `fresh_` stand in the text for good and say how the next ones join
  // (a word-level tokenizer puts a space between); the others end within a character, or did until now.
  std::vector<std::int64_t> window_;
  std::size_t fresh_ = 0;
  std::string text_;
  std::size_t settled_ = 0;  // bytes of the text that later tokens cannot change
};

}  // namespace dt2it::local
