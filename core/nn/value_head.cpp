// SPDX-License-Identifier: Apache-2.0
#include "core/nn/value_head.hpp"

#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "core/nn/safetensors.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {

at::Tensor ValueHead::operator()(const at::Tensor& hidden) const {
  return at::linear(hidden, weight, bias).squeeze(-1);
}

ValueHead ValueHead::load(const std::filesystem::path& folder, std::int64_t hidden) {
  ValueHead head;
  const auto file = folder / "value_head.safetensors";
  if (std::filesystem::exists(file)) {
    const SafetensorsFile stored(file);
    for (const std::string& name : stored.names()) {
      if (name.ends_with("summary.weight") || name == "score.weight") head.weight = stored.load(name).to(at::kFloat);
      if (name.ends_with("summary.bias") || name == "score.bias") head.bias = stored.load(name).to(at::kFloat);
    }
    if (!head.weight.defined())
      throw ModelError(fmt::format("{}: has no v_head.summary.weight", file.string()));
  } else {
    const CheckpointWeights stored(folder);
    if (!stored.contains("score.weight"))
      throw ModelError(fmt::format("{}: has no reward head (value_head.safetensors, or score.weight in its weights); "
                                   "a backbone without one is asked with head = \"contrast\"",
                                   folder.string()));
    head.weight = stored.load("score.weight").to(at::kFloat);
  }
  if (head.weight.numel() != hidden)
    throw ModelError(fmt::format("{}: its reward head has width {}, the model {}", folder.string(), head.weight.numel(), hidden));
  head.weight = head.weight.view({1, hidden});
  if (!head.bias.defined()) head.bias = at::zeros({1}, at::kFloat);
  return head;
}

void ValueHead::save(const std::filesystem::path& folder) const {
  write_safetensors(folder / "value_head.safetensors",
                    {{"v_head.summary.weight", weight}, {"v_head.summary.bias", bias}});
}

}  // namespace dt2it::nn
