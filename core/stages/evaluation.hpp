// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "dt2it/benchmark.hpp"
#include "dt2it/context.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {

struct Evaluation {
  std::vector<Outcome> outcomes;  // in the order of the benchmark's items
  std::vector<Metric> metrics;
  std::string edition;
  std::size_t absent_media = 0;  // items of which at least one image or video is absent
};

// All items of a benchmark, in its order. Throws DataError where there are none.
std::vector<PreferencePair> read_items(Benchmark& benchmark);

// Scores the items of a benchmark. The two responses are shown in an order drawn for each row from
// `context`, so that a model cannot tell chosen from rejected by position; a tie is never correct.
// `on_progress` is called with the number of items just done; it may throw to stop.
Evaluation evaluate_benchmark(Benchmark& benchmark, std::vector<PreferencePair> items, RewardModel& model,
                              Context& context, const std::function<void(std::size_t)>& on_progress);

}  // namespace dt2it
