// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "dt2it/types.hpp"

namespace dt2it {

// A candidate that was never answered cannot be graded; the judge is not asked about it.
inline Score not_judgeable(const Response& candidate) {
  Score score;
  score.status = Status::invalid;
  score.detail =
      "candidate '" + candidate.id + "' has no complete answer and was not shown to the judge";
  return score;
}

}  // namespace dt2it
