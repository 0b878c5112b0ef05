// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "dt2it/types.hpp"

namespace dt2it {

// The words of a prompt's last message, which is the user's; its parts of text follow each other with nothing between.
// Empty: it has none. reward_models/replay finds kept verdicts by a hash over this, made of the same parts.
inline std::string question_of(const Prompt& prompt) {
  std::string text;
  if (prompt.messages.empty()) return text;
  for (const Part& part : prompt.messages.back().content)
    if (part.kind == Part::Kind::text) text += part.text;
  return text;
}

}  // namespace dt2it
