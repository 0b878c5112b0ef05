// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "dt2it/backbone.hpp"

namespace dt2it::nn {

struct OptimizerConfig {
  double learning_rate = 1e-5;
  std::array<double, 2> betas{0.9, 0.999};
  double epsilon = 1e-8;
  double weight_decay = 0;
  // Muon (Jordan et al. 2024) for the decoder layers' matrices, AdamW for all else.
  bool muon = false;
  double muon_learning_rate = 0.02;
};

// AdamW (Loshchilov & Hutter 2019), with Muon for matrices when asked. Keeps the given tensors; parameters that are not
// trainable are left out. Not thread-safe.
class Optimizer {
 public:
  Optimizer(const std::vector<NamedParameter>& parameters, const OptimizerConfig& config);

  void zero_grad();
  // Scales all gradients so that their common norm is at most `max_norm` (0: does not); returns the norm before.
  double clip_gradients(double max_norm);
  // One step at `scale` times the learning rates. Parameters without a gradient stay as they are.
  void step(double scale);

  // Everything that a later step depends on besides the parameters; for saving and resuming. Tensors are the live ones.
  std::vector<std::pair<std::string, at::Tensor>> state() const;

 private:
  OptimizerConfig config_;
  std::vector<std::string> adam_names_, muon_names_;
  std::vector<at::Tensor> adam_, first_, second_, steps_;
  std::vector<at::Tensor> muon_, momentum_;
};

// Share of the full learning rate at step `step` (0 ... total - 1): linear up over warmup_ratio * total steps, then
// half a cosine down to `floor`.
double cosine_schedule(std::int64_t step, std::int64_t total, double warmup_ratio, double floor = 0);

}  // namespace dt2it::nn
