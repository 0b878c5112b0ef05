// SPDX-License-Identifier: Apache-2.0
#pragma once

// Puts the question to the judge (paper section 3.1 and Table 10). What stays the same from call to
// call comes first, so that a provider's prefix cache is of use: the rubric (a system message),
// then the prompt's images and videos, then question and reference answer, and the responses last. See material.hpp for the blocks.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/mllm.hpp"
#include "dt2it/types.hpp"
#include "plugins/common/judging/material.hpp"

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

}  // namespace dt2it::rubric
