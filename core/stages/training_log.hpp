// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>

#include "core/util/tensorboard.hpp"
#include "dt2it/trainer.hpp"

namespace dt2it {

// The steps of a training as TensorBoard's event files in `folder`. A training that goes on begins a file of its own,
// which takes back what is done once more. Not thread-safe.
class TrainingLog {
 public:
  explicit TrainingLog(std::filesystem::path folder) : folder_(std::move(folder)) {}
  void write(const TrainStep& step);

 private:
  const std::filesystem::path folder_;
  std::optional<TensorboardWriter> writer_;
};

}  // namespace dt2it
