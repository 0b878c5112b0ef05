// SPDX-License-Identifier: Apache-2.0
#pragma once

// LoRA (Hu et al. 2021) as PEFT does it: low-rank matrices beside frozen linear layers.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/nn/family.hpp"
#include "core/nn/parameter_table.hpp"
#include "core/weights/key_layout.hpp"
#include "dt2it/backbone.hpp"

namespace dt2it::nn {

struct LoraOptions {
  std::int64_t rank = 0;
  double alpha = 0;  // 0: twice the rank, as LLaMA-Factory takes it
  double dropout = 0;
  bool rank_stabilised = false;  // scale alpha / sqrt(rank) instead of alpha / rank
  // Ends of names, such as q_proj; "all": every linear layer of the language model.
  std::vector<std::string> targets;
  bool tower = false;  // named layers may be in the vision tower too (never in the mergers)
  std::uint64_t seed = 0;
  std::filesystem::path from;  // an adapter as PEFT saves it, instead of rank, alpha and targets
  double scale() const;
};

// The adapters of one model.
class Adapters {
 public:
  // Puts them into the layers of the table. Throws ConfigError when nothing fits a target,
  // ModelError when `from` fits the model not.
  Adapters(Family family, const ParameterTable& table, const LoraOptions& options);

  // A and B of layer after layer, under the names of PEFT's files.
  const std::vector<std::pair<std::string, at::Tensor>>& parameters() const { return parameters_; }
  // As they were at first: random A and B = 0, or what `from` holds.
  void reset();
  // adapter_config.json and adapter_model.safetensors.
  void save(const std::filesystem::path& folder, const std::string& base) const;
  bool any_in_tower() const { return any_in_tower_; }
  double dropout() const { return options_.dropout; }

 private:
  LoraOptions options_;
  std::vector<std::string> modules_;  // names in the tree of modules
  std::vector<std::string> canonical_;
  std::vector<std::pair<std::string, at::Tensor>> parameters_;
  KeyLayout layout_;
  bool any_in_tower_ = false;
};

// W + scale * B A in float32; W itself for a layer without an adapter.
at::Tensor merged(const Linear& layer);

// A backbone with its adapters off, as long as this lives: the reference model of DPO. Backbones
// without adapters stay as they are. Passes made before or after are not touched, their backward
// passes neither.
class WithoutAdapters {
 public:
  explicit WithoutAdapters(Backbone& backbone);
  ~WithoutAdapters();
  WithoutAdapters(const WithoutAdapters&) = delete;
  WithoutAdapters& operator=(const WithoutAdapters&) = delete;

 private:
  Backbone& backbone_;
  bool before_ = true;
};
// Whether that makes a difference.
bool has_adapters(Backbone& backbone);
// The dropout of the backbone's adapters, where it has any, in passes from now on.
void seed_dropout(Backbone& backbone, std::uint64_t seed);

}  // namespace dt2it::nn
