// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "dt2it/export.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// A protocol that asks a judge about the candidates of one prompt (paper section 3.1, steps 3 and 5).
// Thread-safe. One Score per candidate, same order; what fails is a status of it, no exception.
class DT2IT_API Scorer {
 public:
  static constexpr const char* kKind = "scorers";
  virtual ~Scorer() = default;
  virtual std::vector<Score> score(const Prompt& prompt, std::span<const Response> candidates) = 0;
};

}  // namespace dt2it
