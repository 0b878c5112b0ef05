// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dt2it/export.hpp"
#include "dt2it/stream.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// Pairs of one source (PreferencePair::source) and how many of them have chosen above rejected.
struct SourceAccuracy {
  std::string source;
  std::int64_t pairs = 0;
  std::int64_t correct = 0;
};

// What the model gives pairs that it is not trained on. Means over them.
struct HeldOutResult {
  std::int64_t pairs = 0;
  double loss = 0;
  double accuracy = 0;
  double margin = 0;
};

// One optimiser step, for curves and the progress line. Means over the step's global batch.
struct TrainStep {
  std::int64_t step = 0;  // 1 ... total_steps
  std::int64_t total_steps = 0;
  double loss = 0;
  double accuracy = 0;  // share of pairs with a positive margin
  double margin = 0;    // mean chosen_reward - rejected_reward
  double chosen_reward = 0;
  double rejected_reward = 0;
  double learning_rate = 0;
  double gradient_norm = 0;             // before clipping
  std::int64_t tokens = 0;              // really computed
  std::int64_t pairs = 0;               // of the batch, without those that were left out
  std::vector<SourceAccuracy> sources;  // of the batch, by name; empty where records name no source
  std::optional<HeldOutResult> held_out;  // set by steps after which held-out pairs were looked at
  // What the same training has different each time.
  double seconds = 0;                  // since the step before, without held-out pairs and saving
  std::int64_t peak_memory_bytes = 0;  // of the device, or resident of the process; 0: unknown
};

struct TrainRequest {
  // Starts a new pass over the training pairs, in file order; empty for trainers that make their own data.
  std::function<std::unique_ptr<Stream<PreferencePair>>()> pairs;
  std::size_t pair_count = 0;
  std::function<std::unique_ptr<Stream<PreferencePair>>()> held_out;  // likewise; empty: none
  std::filesystem::path
      output;  // empty folder to fill with the checkpoint; renamed into place by the host
  std::filesystem::path state;  // for resuming: survives an interrupted run, removed after success
  std::uint64_t seed = 0;
  // Called after each step, in order. After going on from `state` the steps since it was saved come once more.
  std::function<void(const TrainStep&)> on_step;
  std::function<bool()> stop_requested;  // true: save state, then return false
};

// Trains and writes a checkpoint folder in Hugging Face layout. Called from one thread. Throws what it cannot go on from; `state` stays then.
class DT2IT_API Trainer {
 public:
  static constexpr const char* kKind = "trainers";
  virtual ~Trainer() = default;
  // True when complete; false when it stopped on request and can go on from `state`.
  virtual bool train(const TrainRequest& request) = 0;
};

}  // namespace dt2it
