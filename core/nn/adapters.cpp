// SPDX-License-Identifier: Apache-2.0
#include "core/nn/adapters.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/nn/safetensors.hpp"
#include "core/nn/vl_backbone.hpp"
#include "core/weights/lora.hpp"
#include "dt2it/error.hpp"
#include "dt2it/json_text.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::nn {
namespace {

namespace fs = std::filesystem;

bool visual(const std::string& name) { return name.find("visual.") != std::string::npos; }

// Canonical names are those of the hub's files; PEFT names layers by the tree of modules.
std::string module_of(Family family, const std::string& canonical) {
  if (family == Family::qwen3_vl) return canonical;
  if (visual(canonical)) return "model." + canonical;
  return "model.language_model." + canonical.substr(std::string_view("model.").size());
}

bool is_target(const std::string& name, const std::vector<std::string>& targets) {
  return std::any_of(targets.begin(), targets.end(), [&](const std::string& target) {
    return target == "all" ? !visual(name) : name == target || name.ends_with("." + target);
  });
}

std::string number(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15 ? fmt::format("{:.0f}", value)
                                                              : fmt::format("{}", value);
}

}  // namespace

double LoraOptions::scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (rank_stabilised ? std::sqrt(r) : r);
}

Adapters::Adapters(Family family, const ParameterTable& table, const LoraOptions& options)
    : options_(options),
      layout_(family == Family::qwen3_vl ? KeyLayout::qwen3_vl : KeyLayout::qwen2_5_vl) {
  std::set<std::string> wanted;
  if (!options.from.empty()) {
    const LoraAdapter stored(options.from);
    const LoraAdapter::Names names = stored.names(layout_);
    options_.rank = stored.rank();
    options_.alpha = stored.alpha();
    options_.rank_stabilised = stored.rank_stabilised();
    const auto refuse = [&](const std::string& what) {
      throw ModelError(fmt::format("{}: {}", options.from.string(), what));
    };
    for (const auto& [name, pair] : names.pairs) {
      if (pair.a->shape[0] != options_.rank)
        refuse("has layers of different ranks (rank_pattern), which cannot be trained on");
      wanted.insert(name.substr(0, name.size() - std::string_view(".weight").size()));
    }
    for (const auto& [name, tensor] : names.replaced)
      if (is_body_key(name))
        refuse(fmt::format("'{}' was trained as a whole, which cannot be gone on with", name));
  }
  if (options_.alpha == 0) options_.alpha = 2 * static_cast<double>(options_.rank);

  for (const auto& [name, layer] : table.linears()) {
    const bool chosen = options.from.empty() ? is_target(name, options.targets) &&
                                                   (options.tower || !visual(name)) &&
                                                   name.find("merger") == std::string::npos
                                             : wanted.erase(name) > 0;
    if (!chosen) continue;
    const at::TensorOptions type = layer.weight.options().dtype(at::kFloat);
    LoraPair& pair = *layer.lora;
    pair.a = at::empty({options_.rank, layer.weight.size(1)}, type);
    pair.b = at::empty({layer.weight.size(0), options_.rank}, type);
    pair.scale = options_.scale();
    pair.dropout = options_.dropout;
    pair.stream = canonical_.size();
    canonical_.push_back(name);
    modules_.push_back(module_of(family, name));
    parameters_.emplace_back(fmt::format("base_model.model.{}.lora_A.weight", modules_.back()),
                             pair.a);
    parameters_.emplace_back(fmt::format("base_model.model.{}.lora_B.weight", modules_.back()),
                             pair.b);
    any_in_tower_ = any_in_tower_ || visual(name);
  }
  if (!wanted.empty())
    throw ModelError(fmt::format("{}: adapts '{}', which is no linear layer of this model",
                                 options.from.string(), *wanted.begin()));
  if (parameters_.empty()) {
    std::set<std::string> ends;
    for (const auto& [name, layer] : table.linears())
      if (!visual(name)) ends.insert(name.substr(name.rfind('.') + 1));
    throw ConfigError(fmt::format("lora_targets = {}: no such layer (allowed: all, {})",
                                  options.targets, fmt::join(ends, ", ")));
  }
  reset();
}

void Adapters::reset() {
  const at::NoGradGuard no_grad;
  if (!options_.from.empty()) {
    const LoraAdapter stored(options_.from);
    const LoraAdapter::Names names = stored.names(layout_);
    for (std::size_t i = 0; i < canonical_.size(); ++i) {
      const LoraAdapter::Pair& pair = names.pairs.at(canonical_[i] + ".weight");
      const StoredTensor* halves[] = {pair.a, pair.b};
      for (std::size_t half = 0; half < 2; ++half) {
        const auto& [name, tensor] = parameters_[2 * i + half];
        if (tensor.sizes() != at::IntArrayRef(halves[half]->shape))
          throw ModelError(
              fmt::format("{}: '{}' does not fit the model", options_.from.string(), name));
        std::vector<char> raw(halves[half]->count() * dtype_size(halves[half]->type));
        stored.file()->read(*halves[half], 0, raw.data(), raw.size());
        at::Tensor values = at::empty(tensor.sizes(), at::kFloat);
        convert(raw.data(), halves[half]->type, values.data_ptr<float>(), Dtype::f32,
                halves[half]->count());
        tensor.copy_(values);
      }
    }
    return;
  }
  for (std::size_t i = 0; i < canonical_.size(); ++i) {
    // Kaiming's uniform distribution with a = sqrt(5), as in PEFT.
    const at::Tensor& a = parameters_[2 * i].second;
    at::Tensor values = at::empty(a.sizes(), at::kFloat);
    const double bound = 1 / std::sqrt(static_cast<double>(a.size(1)));
    Rng rng(stable_hash(canonical_[i], options_.seed));
    for (std::int64_t k = 0; k < values.numel(); ++k)
      values.data_ptr<float>()[k] = static_cast<float>(rng.uniform(-bound, bound));
    a.copy_(values);
    parameters_[2 * i + 1].second.zero_();
  }
}

void Adapters::save(const fs::path& folder, const std::string& base) const {
  NamedTensors tensors;
  for (const auto& [name, tensor] : parameters_) tensors.emplace_back(name, tensor.detach());
  write_safetensors(folder / "adapter_model.safetensors", tensors);
  std::string modules;
  for (const std::string& name : modules_)
    modules += (modules.empty() ? "\n    " : ",\n    ") + json_text(name);
  write_text_file(
      folder / "adapter_config.json",
      fmt::format(
          "{{\n  \"base_model_name_or_path\": {},\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": "
          "false,\n"
          "  \"inference_mode\": true,\n  \"init_lora_weights\": true,\n  \"lora_alpha\": {},\n"
          "  \"lora_dropout\": {},\n  \"modules_to_save\": null,\n  \"peft_type\": \"LORA\",\n  "
          "\"r\": {},\n"
          "  \"target_modules\": [{}\n  ],\n  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": "
          "false,\n"
          "  \"use_rslora\": {}\n}}\n",
          json_text(base), number(options_.alpha), options_.dropout, options_.rank, modules,
          options_.rank_stabilised));
}

at::Tensor merged(const Linear& layer) {
  const at::NoGradGuard no_grad;
  const at::Tensor weight = layer.weight.detach().to(at::kFloat);
  if (!layer.lora || !layer.lora->a.defined()) return weight;
  return at::addmm(weight, layer.lora->b.detach(), layer.lora->a.detach(), 1, layer.lora->scale);
}

WithoutAdapters::WithoutAdapters(Backbone& backbone) : backbone_(backbone) {
  if (auto* own = dynamic_cast<VlBackbone*>(&backbone)) before_ = own->model().use_adapters(false);
}
WithoutAdapters::~WithoutAdapters() {
  if (auto* own = dynamic_cast<VlBackbone*>(&backbone_)) own->model().use_adapters(before_);
}

bool has_adapters(Backbone& backbone) {
  auto* own = dynamic_cast<VlBackbone*>(&backbone);
  return own && own->model().adapters();
}

void seed_dropout(Backbone& backbone, std::uint64_t seed) {
  if (auto* own = dynamic_cast<VlBackbone*>(&backbone)) own->model().seed_dropout(seed);
}

}  // namespace dt2it::nn
