// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "dt2it/trainer.hpp"

namespace dt2it::llama_factory {

// The step of a line of LLaMA-Factory's trainer_log.jsonl. Empty for lines of other kinds
// (evaluation, the end). What it does not log is NaN: accuracy, except in DPO, margin and gradient
// norm. Throws ModelError where the loss is no number.
std::optional<TrainStep> parse_log_line(const std::string& line);

// Reads a growing file of lines from where it ends now, or from the start.
class LineFollower {
 public:
  LineFollower(std::filesystem::path file, bool from_end);
  // The next whole line; false when there is none yet.
  bool next(std::string& line);

 private:
  const std::filesystem::path file_;
  std::streamoff place_ = 0;
  std::string rest_;  // read, not yet given
};

}  // namespace dt2it::llama_factory
