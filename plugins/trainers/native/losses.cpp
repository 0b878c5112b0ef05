// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/native/losses.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <cmath>

namespace dt2it::native {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kLogitsAtOnce = 1 << 25;  // 128 MiB in float32

at::Tensor chunk_log_probabilities(Backbone& backbone, const at::Tensor& hidden,
                                   const at::Tensor& targets, std::int64_t* right) {
  const at::Tensor logits = backbone.logits(hidden).to(at::kFloat);
  if (right) *right += (logits.detach().argmax(-1) == targets).sum().item<std::int64_t>();
  return -at::cross_entropy_loss(logits, targets, {}, at::Reduction::None);
}

// Keeps hidden states only; logits are made again in the backward pass, chunk by chunk.
struct ChunkedLogProbabilities : torch::autograd::Function<ChunkedLogProbabilities> {
  struct Held : torch::CustomClassHolder {
    Held(Backbone& backbone, std::int64_t rows) : backbone(backbone), rows(rows) {}
    Backbone& backbone;
    std::int64_t rows;  // at once
    std::int64_t right = 0;
  };
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden,
                            const at::Tensor& targets, const c10::intrusive_ptr<Held>& held) {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> parts;
    for (std::int64_t begin = 0; begin < hidden.size(0); begin += held->rows) {
      const std::int64_t end = std::min(begin + held->rows, hidden.size(0));
      parts.push_back(chunk_log_probabilities(held->backbone, hidden.slice(0, begin, end),
                                              targets.slice(0, begin, end), &held->right));
    }
    context->save_for_backward({hidden, targets});
    context->saved_data["held"] = c10::IValue::make_capsule(held);
    return at::cat(parts);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const auto held =
        c10::static_intrusive_pointer_cast<Held>(context->saved_data["held"].toCapsule());
    std::vector<at::Tensor> parts;
    for (std::int64_t begin = 0; begin < saved[0].size(0); begin += held->rows) {
      const std::int64_t end = std::min(begin + held->rows, saved[0].size(0));
      const at::AutoGradMode grad(true);
      at::Tensor hidden = saved[0].slice(0, begin, end).detach().requires_grad_(true);
      const at::Tensor made =
          chunk_log_probabilities(held->backbone, hidden, saved[1].slice(0, begin, end), nullptr);
      torch::autograd::backward({made}, {gradients[0].slice(0, begin, end)});
      parts.push_back(hidden.grad());
    }
    return {at::cat(parts), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor reward_loss(const at::Tensor& chosen, const at::Tensor& rejected, const Targets& targets,
                       const RewardLoss& loss) {
  const double shift = std::log(loss.tie_theta);
  at::Tensor ahead = chosen - rejected;
  const at::Tensor plain = ahead;
  if (targets.margin.defined()) ahead = ahead - targets.margin;
  const at::Tensor right = at::softplus(shift - ahead);
  at::Tensor result = right;
  if (targets.label.defined() || loss.label_smoothing > 0) {
    const at::Tensor wrong = at::softplus(shift + ahead);
    const at::Tensor label = targets.label.defined() ? targets.label : at::ones_like(right);
    const at::Tensor mixed =
        label * (1 - loss.label_smoothing) + (1 - label) * loss.label_smoothing;
    result = mixed * right + (1 - mixed) * wrong;
  }
  if (targets.tie.defined()) {
    const at::Tensor tied = at::softplus(shift - plain) + at::softplus(shift + plain) -
                            std::log(loss.tie_theta * loss.tie_theta - 1);
    result = at::where(targets.tie > 0, tied, result);
  }
  if (loss.centering > 0) result = result + loss.centering * (chosen + rejected).square();
  return result;
}

at::Tensor dpo_loss(const at::Tensor& chosen, const at::Tensor& rejected,
                    const at::Tensor& reference_chosen, const at::Tensor& reference_rejected,
                    const DpoLoss& loss, at::Tensor& chosen_reward, at::Tensor& rejected_reward) {
  chosen_reward = loss.beta * (chosen - reference_chosen);
  rejected_reward = loss.beta * (rejected - reference_rejected);
  const at::Tensor ahead = chosen_reward - rejected_reward;
  const at::Tensor right = at::softplus(-ahead);
  if (loss.label_smoothing == 0) return right;
  return (1 - loss.label_smoothing) * right + loss.label_smoothing * at::softplus(ahead);
}

at::Tensor log_probabilities(Backbone& backbone, const at::Tensor& hidden,
                             const at::Tensor& targets, std::int64_t& right) {
  std::int64_t vocabulary = 0;
  {
    const at::NoGradGuard no_grad;
    vocabulary = backbone.logits(hidden.slice(0, 0, 1)).size(1);
  }
  const std::int64_t rows = std::max<std::int64_t>(1, kLogitsAtOnce / vocabulary);
  if (hidden.size(0) <= rows || !hidden.requires_grad()) {
    std::vector<at::Tensor> parts;
    for (std::int64_t begin = 0; begin < hidden.size(0); begin += rows) {
      const std::int64_t end = std::min(begin + rows, hidden.size(0));
      parts.push_back(chunk_log_probabilities(backbone, hidden.slice(0, begin, end),
                                              targets.slice(0, begin, end), &right));
    }
    return at::cat(parts);
  }
  const auto held = c10::make_intrusive<ChunkedLogProbabilities::Held>(backbone, rows);
  const at::Tensor result = ChunkedLogProbabilities::apply(hidden, targets, held);
  right += held->right;
  return result;
}

}  // namespace dt2it::native
