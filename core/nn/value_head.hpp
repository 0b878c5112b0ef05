// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

namespace dt2it::nn {

// The linear layer that turns the hidden state of a response's last token into its reward.
struct ValueHead {
  at::Tensor weight;  // [1, hidden]
  at::Tensor bias;    // [1]

  // Rewards [n] for hidden states [n, hidden].
  at::Tensor operator()(const at::Tensor& hidden) const;

  // value_head.safetensors (v_head.summary.weight and .bias), or score.weight without bias within the model's own
  // weights. Throws ModelError when there is neither, or for another width than `hidden`.
  static ValueHead load(const std::filesystem::path& folder, std::int64_t hidden);
  void save(const std::filesystem::path& folder) const;
};

}  // namespace dt2it::nn
