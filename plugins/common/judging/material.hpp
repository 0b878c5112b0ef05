// SPDX-License-Identifier: Apache-2.0
#pragma once

// The user message's text, which simulated judges read too:
//
//   <task>listwise</task>
//   <question>
//   <turn role="user">           earlier turns only
//   ...
//   </turn>
//   the last question
//   </question>
//   <reference_answer>
//   ...
//   </reference_answer>
//   <response id="1">
//   ...
//   </response>
//
// Anything in the material that looks like one of these tags has its "<" written as "&lt;", so no
// response can close its block or open another.

#include <span>
#include <string>
#include <string_view>

#include "dt2it/types.hpp"

namespace dt2it::judging {

// Disarms whatever looks like one of our own tags, whatever its case and spacing; leaves other
// text, HTML included, as it is.
std::string escape_blocks(std::string_view text);

// Appends to a user message: the prompt's media in order of appearance, then a text of the blocks with `closing` behind them.
// `task` is the word of the first line. Where there are several media, "[image 2]" in the question marks the place that the
// second had.
void add_material(Message& user, std::string_view task, const Prompt& prompt,
                  std::span<const Response> responses, bool use_reference,
                  const std::string& closing);

}  // namespace dt2it::judging
