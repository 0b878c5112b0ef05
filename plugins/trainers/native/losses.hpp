// SPDX-License-Identifier: Apache-2.0
#pragma once

// The losses of comparisons, as functions of tensors: [n] float32, one value a comparison, taking part in autograd.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "dt2it/backbone.hpp"

namespace dt2it::native {

struct RewardLoss {
  double label_smoothing = 0;
  double centering = 0;
  double tie_theta = 1;
};

// What is known of each comparison, [n] float32 on the rewards' device.
struct Targets {
  at::Tensor margin;  // that chosen must be ahead by; undefined: 0
  at::Tensor label;   // probability that chosen is better; undefined: 1
  at::Tensor tie;     // 1 for a tie, else 0; undefined: none
};

// Bradley-Terry (paper section 3.1; Ouyang et al. 2022), -log sigmoid(chosen - rejected - margin), with soft or smoothed
// labels, ties (Rao & Kupper 1967) and centring (Eisenstein et al. 2023).
at::Tensor reward_loss(const at::Tensor& chosen, const at::Tensor& rejected, const Targets& targets,
                       const RewardLoss& loss);

struct DpoLoss {
  double beta = 0.1;
  double label_smoothing = 0;  // conservative DPO
};

// Direct preference optimisation (Rafailov et al. 2023), of sums of log-probabilities. `chosen_reward` and
// `rejected_reward` are set to the implicit rewards.
at::Tensor dpo_loss(const at::Tensor& chosen, const at::Tensor& rejected,
                    const at::Tensor& reference_chosen, const at::Tensor& reference_rejected,
                    const DpoLoss& loss, at::Tensor& chosen_reward, at::Tensor& rejected_reward);

// log p(targets[i]) given normed hidden states [n, hidden], in float32. Logits exist for a bounded number of rows at a time,
// in the backward pass too. `right`: how many targets have the highest logit is added there.
at::Tensor log_probabilities(Backbone& backbone, const at::Tensor& hidden,
                             const at::Tensor& targets, std::int64_t& right);

}  // namespace dt2it::native
