// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which pairs make up which step.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dt2it/types.hpp"
#include "plugins/trainers/native/params.hpp"

namespace dt2it::native {

// Not thread-safe.
class PairOrder {
 public:
  PairOrder(const Params& params, std::uint64_t seed, std::span<const PreferencePair> records);

  std::int64_t steps() const { return steps_; }
  std::int64_t steps_per_epoch() const { return per_epoch_; }
  // Records of step `step` (0 ... steps() - 1), in order. The same whatever was asked before.
  std::vector<std::size_t> batch(std::int64_t step);
  // Those of a batch that are computed together: single ones, or with order "prompts" those of one prompt; then shared out
  // to `processes` so that each has about as much to do.
  std::vector<std::vector<std::vector<std::size_t>>> shares(const std::vector<std::size_t>& batch,
                                                            int processes) const;

 private:
  std::vector<std::size_t> epoch_order(std::int64_t epoch) const;
  double cost(std::size_t record) const;

  const Params& params_;
  const std::uint64_t seed_;
  const std::span<const PreferencePair> records_;
  std::int64_t per_epoch_ = 0, steps_ = 0;
  std::vector<std::size_t> prompt_of_;  // with order "prompts": number of each record's prompt
  std::size_t prompts_ = 0;
  std::int64_t epoch_ = -1;
  std::vector<std::size_t> order_;
};

}  // namespace dt2it::native
