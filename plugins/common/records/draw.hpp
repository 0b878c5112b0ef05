// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "dt2it/rng.hpp"

namespace dt2it::records {

// Draws exactly `wanted` of `left` records as they pass by, each set of them equally likely.
class Draw {
 public:
  Draw(Rng rng, std::size_t wanted, std::size_t left) : rng_(rng), wanted_(wanted), left_(left) {}
  bool take() {
    const bool taken = wanted_ > 0 && (left_ <= wanted_ || rng_.below(left_) < wanted_);
    if (left_ > 0) --left_;
    wanted_ -= taken;
    return taken;
  }

 private:
  Rng rng_;
  std::size_t wanted_, left_;
};

}  // namespace dt2it::records
