// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string_view>

#include "core/nn/checkpoint.hpp"
#include "core/nn/safetensors.hpp"
#include "core/weights/head_weights.hpp"

namespace dt2it::nn {

// What turns the hidden state of a response's last token into its reward: a linear layer, or the
// two layers of MM-RLHF. In float32 whatever the model's type.
struct RewardHead {
  at::Tensor weight;               // [1, hidden]
  at::Tensor bias;                 // [1]; undefined: none
  at::Tensor dense;                // [hidden, hidden], tanh behind it; undefined: a linear head
  at::Tensor dense_bias;           // [hidden]; undefined: none
  double mean = 0, deviation = 1;  // rewards are (r - mean) / deviation

  // Rewards [n] in float32 for hidden states [n, hidden] of any floating-point type. Takes part in
  // autograd.
  at::Tensor operator()(const at::Tensor& hidden) const;
  RewardHead to(at::Device device) const;

  // Where heads are looked for, and which errors there are: find_reward_head in
  // core/weights/head_weights.hpp. Throws ModelError for another width than `hidden`.
  static RewardHead load(const std::filesystem::path& folder, std::int64_t hidden,
                         std::string_view key = {});
  static RewardHead load(const std::filesystem::path& folder, const Checkpoint& checkpoint,
                         std::int64_t hidden, std::string_view key = {});

  // Its tensors under a layout's names, to be written with those of the model (llama_factory: into
  // value_head.safetensors). A bias that the layout has no place for is left out. Throws ModelError
  // for a two-layer head in a layout without it.
  NamedTensors tensors(HeadLayout layout) const;
  // value_head.safetensors as LLaMA-Factory reads it; a two-layer head as rm_head.* in the same
  // file.
  void save(const std::filesystem::path& folder) const;
};

}  // namespace dt2it::nn
