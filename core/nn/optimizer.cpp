// SPDX-License-Identifier: Apache-2.0
#include "core/nn/optimizer.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

namespace dt2it::nn {
namespace {

// The nearest orthogonal matrix, roughly: five steps of the quintic Newton-Schulz iteration that Muon uses.
at::Tensor orthogonalised(const at::Tensor& gradient) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
  const bool tall = gradient.size(0) > gradient.size(1);
  at::Tensor x = tall ? gradient.t() : gradient;
  x = x / (x.norm() + 1e-7);
  for (int i = 0; i < 5; ++i) {
    const at::Tensor gram = x.mm(x.t());
    const at::Tensor polynomial = at::addmm(gram, gram, gram, b, c);
    x = at::addmm(x, polynomial, x, a, 1);
  }
  return tall ? x.t() : x;
}

}  // namespace

Optimizer::Optimizer(const std::vector<NamedParameter>& parameters, const OptimizerConfig& config) : config_(config) {
  for (const NamedParameter& parameter : parameters) {
    if (!parameter.trainable) continue;
    const at::Tensor& tensor = parameter.tensor;
    if (config.muon && tensor.dim() == 2 && parameter.name.find(".layers.") != std::string::npos) {
      muon_names_.push_back(parameter.name);
      muon_.push_back(tensor);
      momentum_.push_back(at::zeros_like(tensor).detach());
    } else {
      adam_names_.push_back(parameter.name);
      adam_.push_back(tensor);
      first_.push_back(at::zeros_like(tensor).detach());
      second_.push_back(at::zeros_like(tensor).detach());
      steps_.push_back(at::zeros({}, at::kFloat));
    }
  }
}

void Optimizer::zero_grad() {
  for (auto* list : {&adam_, &muon_})
    for (at::Tensor& tensor : *list) tensor.mutable_grad().reset();
}

double Optimizer::clip_gradients(double max_norm) {
  at::NoGradGuard no_grad;
  double sum = 0;
  for (auto* list : {&adam_, &muon_})
    for (at::Tensor& tensor : *list)
      if (tensor.grad().defined()) {
        const at::Tensor flat = tensor.grad().reshape({-1});
        sum += at::dot(flat, flat).item<double>();
      }
  const double norm = std::sqrt(sum);
  if (max_norm > 0 && norm > max_norm)
    for (auto* list : {&adam_, &muon_})
      for (at::Tensor& tensor : *list)
        if (tensor.grad().defined()) tensor.mutable_grad().mul_(max_norm / (norm + 1e-6));
  return norm;
}

void Optimizer::step(double scale) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> live, gradients, first, second, steps;
  for (std::size_t i = 0; i < adam_.size(); ++i) {
    if (!adam_[i].grad().defined()) continue;
    live.push_back(adam_[i]);
    gradients.push_back(adam_[i].grad());
    first.push_back(first_[i]);
    second.push_back(second_[i]);
    steps.push_back(steps_[i].add_(1));
  }
  if (!live.empty())
    at::_fused_adamw_(live, gradients, first, second, {}, steps, config_.learning_rate * scale, config_.betas[0],
                      config_.betas[1], config_.weight_decay, config_.epsilon, false, false);
  constexpr double kMomentum = 0.95;
  for (std::size_t i = 0; i < muon_.size(); ++i) {
    at::Tensor& tensor = muon_[i];
    if (!tensor.grad().defined()) continue;
    const at::Tensor& gradient = tensor.grad();
    momentum_[i].mul_(kMomentum).add_(gradient);
    const at::Tensor update = orthogonalised(gradient + kMomentum * momentum_[i]);
    const double rate = config_.muon_learning_rate * scale;
    const double shape = std::sqrt(std::max(1.0, static_cast<double>(tensor.size(0)) / static_cast<double>(tensor.size(1))));
    tensor.mul_(1 - rate * config_.weight_decay).add_(update, -rate * shape);
  }
}

std::vector<std::pair<std::string, at::Tensor>> Optimizer::state() const {
  std::vector<std::pair<std::string, at::Tensor>> all;
  for (std::size_t i = 0; i < adam_.size(); ++i) {
    all.emplace_back("first/" + adam_names_[i], first_[i]);
    all.emplace_back("second/" + adam_names_[i], second_[i]);
    all.emplace_back("steps/" + adam_names_[i], steps_[i]);
  }
  for (std::size_t i = 0; i < muon_.size(); ++i) all.emplace_back("momentum/" + muon_names_[i], momentum_[i]);
  return all;
}

double cosine_schedule(std::int64_t step, std::int64_t total, double warmup_ratio, double floor) {
  const double warm = warmup_ratio * static_cast<double>(total), now = static_cast<double>(step);
  if (now < warm) return std::min(1.0, (now + 1) / warm);
  const double rest = static_cast<double>(total) - warm;
  const double progress = rest > 0 ? (now - warm) / rest : 1;
  return floor + (1 - floor) * 0.5 * (1 + std::cos(3.14159265358979323846 * progress));
}

}  // namespace dt2it::nn
