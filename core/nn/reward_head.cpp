// SPDX-License-Identifier: Apache-2.0
#include "core/nn/reward_head.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>

#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

at::Tensor tensor_of(const std::vector<float>& values, std::vector<std::int64_t> shape) {
  if (values.empty()) return {};
  at::Tensor tensor = at::empty(shape, at::kFloat);
  std::copy(values.begin(), values.end(), tensor.data_ptr<float>());
  return tensor;
}

RewardHead head_of(const FoundHead& found, std::int64_t hidden) {
  const HeadWeights read = found.read();
  const auto width = static_cast<std::int64_t>(read.width());
  if (width != hidden)
    throw ModelError(fmt::format("{}: its reward head '{}' has width {}, the model {}", found.file,
                                 found.weight, width, hidden));
  RewardHead head;
  head.weight = tensor_of(read.weight, {1, width});
  if (read.bias) head.bias = tensor_of({*read.bias}, {1});
  head.dense = tensor_of(read.dense, {width, width});
  head.dense_bias = tensor_of(read.dense_bias, {width});
  if (found.normalised && found.mean_and_deviation)
    std::tie(head.mean, head.deviation) = *found.mean_and_deviation;
  return head;
}

}  // namespace

at::Tensor RewardHead::operator()(const at::Tensor& hidden) const {
  at::Tensor state = hidden.to(at::kFloat);
  if (dense.defined()) state = at::tanh(at::linear(state, dense, dense_bias));
  at::Tensor reward = at::linear(state, weight, bias).squeeze(-1);
  if (mean != 0 || deviation != 1) reward = (reward - mean) / deviation;
  return reward;
}

RewardHead RewardHead::to(at::Device device) const {
  const auto moved = [&](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.to(device) : tensor;
  };
  return {moved(weight), moved(bias), moved(dense), moved(dense_bias), mean, deviation};
}

RewardHead RewardHead::load(const std::filesystem::path& folder, std::int64_t hidden,
                            std::string_view key) {
  return head_of(find_reward_head(folder, WeightsOptions{}, key), hidden);
}

RewardHead RewardHead::load(const std::filesystem::path& folder, const Checkpoint& checkpoint,
                            std::int64_t hidden, std::string_view key) {
  return head_of(find_reward_head(folder, checkpoint.weights(), key), hidden);
}

NamedTensors RewardHead::tensors(HeadLayout layout) const {
  const HeadNames names = head_names(layout, !dense.defined(), {});
  NamedTensors tensors;
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    if (!name.empty() && tensor.defined()) tensors.emplace_back(name, tensor.detach());
  };
  add(names.dense, dense);
  add(names.dense_bias, dense_bias);
  add(names.weight, weight);
  // LLaMA-Factory's layer has a bias, which would stay random if the file had none.
  add(names.bias, bias.defined() || layout != HeadLayout::llama_factory
                      ? bias
                      : at::zeros({1}, weight.options()));
  return tensors;
}

void RewardHead::save(const std::filesystem::path& folder) const {
  write_safetensors(folder / "value_head.safetensors",
                    tensors(dense.defined() ? HeadLayout::rm_head : HeadLayout::llama_factory));
}

}  // namespace dt2it::nn
