// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/weights/weights.hpp"
#include "core/weights/weights_writer.hpp"

namespace dt2it {

// How programs store the head of a reward model.
enum class HeadLayout {
  llama_factory,  // value_head.safetensors: v_head.summary.{weight,bias}; also Skywork-VL-Reward
  score,    // in the model's weights: score.weight (TRL, ms-swift, vLLM); score.{dense,out_proj}.*
  v_head,   // in the model's weights: v_head.weight (xtuner)
  rm_head,  // in the model's weights: rm_head.{dense,out_proj}.* (MM-RLHF), rm_head.weight
};
HeadLayout head_layout_named(std::string_view name);  // throws ConfigError
std::string_view head_layout_name(HeadLayout layout);

// A head: reward = weight . h + bias, or weight . tanh(dense h + dense_bias) + bias.
struct HeadWeights {
  std::vector<float> weight;  // [width]
  std::optional<float> bias;
  std::vector<float> dense;       // [width, width]; empty: a linear head
  std::vector<float> dense_bias;  // [width]; empty: none
  std::size_t width() const { return weight.size(); }
};

// Where a head is.
struct FoundHead {
  std::shared_ptr<const Weights> source;
  std::string file;    // that the user knows
  std::string weight;  // names of its tensors in `source`; empty: has none such
  std::string bias, dense, dense_bias;
  // OpenRLHF keeps mean and deviation of rewards in config.json; its own reward is (r - mean) /
  // deviation when `normalised` (normalize_reward) says so.
  std::optional<std::pair<double, double>> mean_and_deviation;
  bool normalised = false;

  std::vector<std::string> names() const;
  bool linear() const { return dense.empty(); }
  // In float32. Throws ModelError for shapes that do not fit, more than one output, and numbers
  // that are not finite.
  HeadWeights read() const;
};

// The head of a checkpoint. Searched in this order, and the first place that has one counts:
//   1. an adapter's folder: value_head.safetensors, then its modules_to_save;
//   2. the model's folder: value_head.safetensors and the model's own weights. Two heads there must
//   be equal.
// In a value_head file and in weights all names above are known, OpenRLHF's {value_head_prefix} and
// value_head.weight too. `key`, when given, picks one of several: the name without ".weight"
// ("score", "v_head.summary"). Throws ModelError for no head (naming the tensors that are no part
// of the model: never a random head), for several that differ, for a head that is only there as
// value_head.bin (telling how to convert it).
FoundHead find_reward_head(const std::filesystem::path& folder, const WeightsOptions& options = {},
                           std::string_view key = {});
// The same with the weights already open.
FoundHead find_reward_head(const std::filesystem::path& folder,
                           std::shared_ptr<const Weights> weights, std::string_view key = {});

// Whether there is one, at the places above; throws for value_head.bin as it does.
bool has_reward_head(const std::filesystem::path& folder);

// Which hidden state the head of a checkpoint reads, "final_norm" or "before_norm", as its training.json says; empty: nothing
// says it, and final_norm is the best guess.
std::string stated_head_input(const std::filesystem::path& folder);
// What to tell the user of that guess; empty for Qwen2.5-VL, where every known program reads final_norm.
std::string doubt_about_head_input(const std::filesystem::path& folder);

// Names of a head's tensors in a layout, and what is lost there (a note for the user, or empty).
struct HeadNames {
  std::string weight, bias, dense, dense_bias;
  std::string note;
};
// Throws ModelError where the layout has no form for this head.
HeadNames head_names(HeadLayout layout, bool linear, std::optional<float> bias);

}  // namespace dt2it
