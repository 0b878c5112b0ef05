// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "dt2it/export.hpp"
#include "dt2it/stream.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// One optimiser step, for curves and the progress line. Means over the step's global batch.
struct TrainStep {
  std::int64_t step = 0;  // 1 ... total_steps
  std::int64_t total_steps = 0;
  double loss = 0;
  double accuracy = 0;  // share of pairs with a positive margin
  double margin = 0;    // mean chosen_reward - rejected_reward
  double learning_rate = 0;
  double gradient_norm = 0;  // before clipping
  std::int64_t tokens = 0;   // really computed
};

struct TrainRequest {
  // Starts a new pass over the training pairs, in file order; empty for trainers that make their own data.
  std::function<std::unique_ptr<Stream<PreferencePair>>()> pairs;
  std::size_t pair_count = 0;
  std::filesystem::path output;  // empty folder to fill with the checkpoint; renamed into place by the host
  std::filesystem::path state;   // for resuming: survives an interrupted run, removed after success
  std::uint64_t seed = 0;
  std::function<void(const TrainStep&)> on_step;
  std::function<bool()> stop_requested;  // true: save state, then return false
};

// Trains and writes a checkpoint folder in Hugging Face layout. Called from one thread.
class DT2IT_API Trainer {
 public:
  static constexpr const char* kKind = "trainers";
  virtual ~Trainer() = default;
  // True when complete; false when it stopped on request and can go on from `state`.
  virtual bool train(const TrainRequest& request) = 0;
};

}  // namespace dt2it
