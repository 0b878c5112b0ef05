// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "dt2it/export.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// An MLLM that gives opinions (paper section 3.1 and appendix B). Thread-safe. What cannot be had or read is a status of the Score or Verdict.
class DT2IT_API Judge {
 public:
  static constexpr const char* kKind = "judges";
  virtual ~Judge() = default;

  // All responses in one question, in this order (listwise); with one response it is pointwise. One
  // Score each, same order.
  virtual std::vector<Score> score(const Prompt& prompt, std::span<const Response> responses) = 0;

  // Which of two is better, shown in this order. Callers who care about position ask twice.
  virtual Verdict compare(const Prompt& prompt, const Response& first, const Response& second) = 0;
};

}  // namespace dt2it
