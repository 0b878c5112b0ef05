// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dt2it/export.hpp"
#include "dt2it/stream.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// What became of one benchmark pair; made by the host, which alone knows in which order the two
// responses were shown.
struct Outcome {
  std::size_t row = 0;  // position in items(); ids may repeat
  std::string id;
  std::string group;
  Status status = Status::invalid;  // ok: both rewards are there
  double chosen_reward = 0;
  double rejected_reward = 0;
  bool correct() const {
    return status == Status::ok && chosen_reward > rejected_reward;
  }  // strict
  bool tie() const { return status == Status::ok && chosen_reward == rejected_reward; }
};

// A reward benchmark: its items and its metrics. Never sees the model. Called from one thread; damaged data is a DataError.
class DT2IT_API Benchmark {
 public:
  static constexpr const char* kKind = "benchmarks";
  virtual ~Benchmark() = default;

  // chosen is the preferred response of the benchmark's own label.
  virtual std::unique_ptr<Stream<PreferencePair>> items() = 0;

  // The published metrics, from integer counts; the headline first. All outcomes, in the order of items().
  virtual std::vector<Metric> summarise(std::span<const Outcome> outcomes) = 0;

  // The name of the edition that these counts match ("VL-RewardBench, 1,250 rows"), or a sentence that
  // says which counts were found instead.
  virtual std::string edition(std::span<const Outcome> outcomes) = 0;
};

}  // namespace dt2it
