// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "dt2it/export.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// Adds candidates where those at hand are all good or all bad (paper section 3.1, step 4). Thread-safe. A model's failure to write is a status of the new candidate.
class DT2IT_API DiversityStrategy {
 public:
  static constexpr const char* kKind = "diversity";
  virtual ~DiversityStrategy() = default;

  // Returns only the new candidates; none when there is nothing to add. `scores` are those of
  // `candidates`, same order.
  virtual std::vector<Response> extend(const Prompt& prompt, std::span<const Response> candidates,
                                       std::span<const Score> scores) = 0;
};

}  // namespace dt2it
