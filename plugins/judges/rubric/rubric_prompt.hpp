// SPDX-License-Identifier: Apache-2.0
#pragma once

// Puts the question to the judge (paper section 3.1 and Table 10). What stays the same from call to
// call comes first, so that a provider's prefix cache is of use: the rubric (a system message),
// then the prompt's images and videos, then question and reference answer, and the responses last.
//
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

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/mllm.hpp"
#include "dt2it/types.hpp"

namespace dt2it::rubric {

enum class Task : std::uint8_t { listwise, pointwise, pairwise };
std::string_view task_name(Task task);

// A criterion as asked: `name` is its key in the reply.
struct CriterionSpec {
  std::string name;
  std::string title;
  std::string what;
};

// "accuracy" (one of the six of the paper), or a criterion of one's own as "name" or "name: what to
// look at". Throws ConfigError on an empty name, a name of other characters than a-z, 0-9, _, or a
// repeated one.
std::vector<CriterionSpec> make_criteria(std::span<const std::string> entries);

struct PromptOptions {
  std::vector<CriterionSpec> criteria;
  bool use_reference = true;
  bool system_message = true;  // false: the rubric opens the user message instead
};

// The rubric, the same for all prompts of a task.
std::string rubric_text(Task task, const PromptOptions& options);

// JSON Schema of the wanted reply.
std::string reply_schema(Task task, std::span<const CriterionSpec> criteria);

// Messages for these responses, shown in this order. Media stand in order of appearance at the
// front; where there are several, "[image 2]" in the question marks the place that the second had.
std::vector<Message> judge_messages(Task task, const Prompt& prompt,
                                    std::span<const Response> responses,
                                    const PromptOptions& options);

// Disarms whatever looks like one of our own tags, whatever its case and spacing; leaves other
// text, HTML included, as it is.
std::string escape_blocks(std::string_view text);

}  // namespace dt2it::rubric
