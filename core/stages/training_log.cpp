// SPDX-License-Identifier: Apache-2.0
#include "core/stages/training_log.hpp"

#include <string>
#include <vector>

namespace dt2it {

void TrainingLog::write(const TrainStep& step) {
  if (!writer_) writer_.emplace(folder_, step.step);
  std::vector<std::string> names;
  names.reserve(step.sources.size());
  std::vector<TensorboardScalar> scalars{
      {"train/loss", step.loss},
      {"train/accuracy", step.accuracy},
      {"train/margin", step.margin},
      {"train/chosen_reward", step.chosen_reward},
      {"train/rejected_reward", step.rejected_reward},
      {"train/learning_rate", step.learning_rate},
      {"train/gradient_norm", step.gradient_norm},
      {"machine/seconds", step.seconds},
      {"machine/peak_memory_gib", static_cast<double>(step.peak_memory_bytes) / (1 << 30)}};
  if (step.seconds > 0) {
    scalars.push_back({"machine/pairs_per_second", static_cast<double>(step.pairs) / step.seconds});
    scalars.push_back(
        {"machine/tokens_per_second", static_cast<double>(step.tokens) / step.seconds});
  }
  for (const SourceAccuracy& source : step.sources) {
    names.push_back("sources/" + source.source);
    scalars.push_back(
        {names.back(), static_cast<double>(source.correct) / static_cast<double>(source.pairs)});
  }
  if (step.held_out) {
    scalars.push_back({"held_out/loss", step.held_out->loss});
    scalars.push_back({"held_out/accuracy", step.held_out->accuracy});
    scalars.push_back({"held_out/margin", step.held_out->margin});
  }
  writer_->write(step.step, scalars);
}

}  // namespace dt2it
