// SPDX-License-Identifier: Apache-2.0
#include "core/weights/head_weights.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace fs = std::filesystem;
namespace {

constexpr std::array<std::pair<std::string_view, HeadLayout>, 4> kLayouts{
    {{"llama_factory", HeadLayout::llama_factory},
     {"score", HeadLayout::score},
     {"v_head", HeadLayout::v_head},
     {"rm_head", HeadLayout::rm_head}}};
constexpr const char* kRewardHead = "value_head.safetensors";

// What config.json says about a head.
struct HeadConfig {
  std::string prefix;
  std::optional<std::pair<double, double>> mean_and_deviation;
  bool normalised = false;
};

HeadConfig read_config(const fs::path& folder) {
  HeadConfig config;
  const fs::path file = folder / "config.json";
  if (!fs::exists(file)) return config;
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (parser.parse(read_file(file)).get(root))
    throw ModelError(fmt::format("{}: is not JSON", file.string()));
  std::string_view prefix;
  if (!root["value_head_prefix"].get(prefix)) config.prefix = prefix;
  double mean = 0, deviation = 0;
  if (!root["mean"].get(mean) && !root["std"].get(deviation)) {
    config.mean_and_deviation = {mean, deviation};
    if (root["normalize_reward"].get(config.normalised)) config.normalised = false;
    if (config.normalised && !(deviation > 0))
      throw ModelError(
          fmt::format("{}: rewards are to be normalised with std = {}", file.string(), deviation));
  }
  return config;
}

bool cut_suffix(std::string_view& name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  name.remove_suffix(suffix.size());
  return true;
}

// The head's name when a tensor is the weight of its last layer: "score" of score.weight or
// score.out_proj.weight.
std::string_view head_of(std::string_view name, const HeadConfig& config) {
  if (!cut_suffix(name, ".weight")) return {};
  if (name == "summary" || name.ends_with(".summary")) return name;
  cut_suffix(name, ".out_proj");
  for (const std::string_view known : {"score", "rm_head", "v_head", "value_head"})
    if (name == known) return name;
  return !config.prefix.empty() && name == config.prefix ? name : std::string_view{};
}

std::vector<FoundHead> heads_of(const std::shared_ptr<const Weights>& source,
                                const std::string& file, const HeadConfig& config,
                                bool from_adapter, std::string_view key) {
  std::vector<FoundHead> heads;
  for (const std::string& name : source->names()) {
    const std::string head(head_of(name, config));
    if (head.empty() || (!key.empty() && key != head) ||
        (from_adapter && !source->from_adapter(name)))
      continue;
    FoundHead found{source, file, name};
    const auto optional = [&](const std::string& tensor) {
      return source->contains(tensor) ? tensor : std::string();
    };
    if (name.ends_with(".out_proj.weight")) {
      found.bias = optional(head + ".out_proj.bias");
      found.dense = head + ".dense.weight";
      found.dense_bias = optional(head + ".dense.bias");
    } else {
      found.bias = optional(head + ".bias");
    }
    heads.push_back(std::move(found));
  }
  return heads;
}

std::vector<FoundHead> heads_of_file(const fs::path& folder, const HeadConfig& config,
                                     std::string_view key) {
  const fs::path file = folder / kRewardHead, pickled = folder / "value_head.bin";
  if (!fs::exists(file)) {
    if (fs::exists(pickled))
      throw ModelError(
          fmt::format("{0}: pickled weights are not read, for they can run code; convert them "
                      "once: python -c \"import torch, "
                      "safetensors.torch as s; s.save_file(torch.load('{0}', map_location='cpu', "
                      "weights_only=True), '{1}')\"",
                      pickled.string(), file.string()));
    return {};
  }
  const auto source = std::make_shared<const Weights>(Weights::of_file(file));
  auto heads = heads_of(source, file.string(), config, false, key);
  if (heads.empty() && key.empty())
    throw ModelError(fmt::format("{}: has no reward head; it holds '{}'", file.string(),
                                 fmt::join(source->names(), "', '")));
  return heads;
}

bool equal(const FoundHead& a, const FoundHead& b) {
  const HeadWeights x = a.read(), y = b.read();
  return x.weight == y.weight && x.bias.value_or(0) == y.bias.value_or(0) && x.dense == y.dense &&
         x.dense_bias == y.dense_bias;
}

FoundHead only(std::vector<FoundHead> heads, const HeadConfig& config) {
  for (std::size_t i = 1; i < heads.size(); ++i)
    if (!equal(heads[0], heads[i]))
      throw ModelError(
          fmt::format("there are two reward heads that differ: '{}' in {} and '{}' in {}; say "
                      "which one by its name",
                      heads[0].weight, heads[0].file, heads[i].weight, heads[i].file));
  heads[0].mean_and_deviation = config.mean_and_deviation;
  heads[0].normalised = config.normalised;
  return std::move(heads[0]);
}

// A folder may hold nothing but a head: null.
std::shared_ptr<const Weights> weights_beside_head(const fs::path& folder,
                                                   const WeightsOptions& options) {
  if (!Weights::are_in(folder) && fs::exists(folder / kRewardHead)) return nullptr;
  return std::make_shared<const Weights>(folder, options);
}

// Of the first place that has one.
std::vector<FoundHead> all_heads(const fs::path& folder,
                                 const std::shared_ptr<const Weights>& weights,
                                 const HeadConfig& config, std::string_view key) {
  if (weights && !weights->adapter_folder().empty()) {
    const fs::path& adapter = weights->adapter_folder();
    auto heads = heads_of_file(adapter, config, key);
    if (heads.empty()) heads = heads_of(weights, adapter.string(), config, true, key);
    if (!heads.empty()) return heads;
  }
  const fs::path model = weights ? weights->model_folder() : folder;
  auto heads = heads_of_file(model, config, key);
  if (weights) {
    auto own = heads_of(weights, model.string(), config, false, key);
    std::move(own.begin(), own.end(), std::back_inserter(heads));
  }
  return heads;
}

std::string what_is_there(const Weights* weights) {
  if (!weights) return "no weights at all";
  std::vector<std::string> others;
  for (const std::string& name : weights->names())
    if (!is_body_key(name) || name == "lm_head.weight") others.push_back(shown_name(name));
  const std::size_t count = others.size();
  if (count == 0)
    return fmt::format("{} tensors, all of the model itself", weights->names().size());
  if (count > 8) others.resize(8);
  return fmt::format("beside the model itself '{}'{}", fmt::join(others, "', '"),
                     count > 8 ? fmt::format(" and {} more", count - 8) : "");
}

std::vector<float> floats(const Weights& source, const std::string& name) {
  const Weights::Info info = source.info(name);
  std::vector<float> values(StoredTensor{info.type, info.shape}.count());
  source.read(name, Dtype::f32, 0, info.shape.empty() ? 1 : info.shape[0], values.data());
  return values;
}

}  // namespace

HeadLayout head_layout_named(std::string_view name) {
  std::vector<std::string_view> names;
  for (const auto& [known, layout] : kLayouts) {
    if (known == name) return layout;
    names.push_back(known);
  }
  throw ConfigError(
      fmt::format("no head layout '{}' (there are: {})", name, fmt::join(names, ", ")));
}

std::string_view head_layout_name(HeadLayout layout) {
  return kLayouts[static_cast<std::size_t>(layout)].first;
}

std::vector<std::string> FoundHead::names() const {
  std::vector<std::string> all;
  for (const std::string* name : {&weight, &bias, &dense, &dense_bias})
    if (!name->empty()) all.push_back(*name);
  return all;
}

HeadWeights FoundHead::read() const {
  const auto fail = [&](const std::string& name, const std::string& what) {
    throw ModelError(fmt::format("{}: reward head '{}' {}", file, name, what));
  };
  const auto part = [&](const std::string& name) {
    std::vector<float> values = floats(*source, name);
    if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
      fail(name, "has numbers that are not finite");
    return values;
  };
  const auto shape = source->info(weight).shape;
  if (!(shape.size() == 1 || (shape.size() == 2 && shape[0] == 1)) || shape.back() == 0)
    fail(weight,
         fmt::format("has shape {}; one output is expected, [1, width]", shown_shape(shape)));
  HeadWeights head;
  head.weight = part(weight);
  if (!bias.empty()) {
    const auto values = part(bias);
    if (values.size() != 1)
      fail(bias, fmt::format("has {} numbers, one is expected", values.size()));
    head.bias = values[0];
  }
  if (linear()) return head;
  const auto width = static_cast<std::int64_t>(head.width());
  if (const auto inner = source->info(dense).shape; inner != std::vector{width, width})
    fail(dense, fmt::format("has shape {}, its output layer asks for [{},{}]", shown_shape(inner),
                            width, width));
  head.dense = part(dense);
  if (!dense_bias.empty()) head.dense_bias = part(dense_bias);
  if (!head.dense_bias.empty() && head.dense_bias.size() != head.width())
    fail(dense_bias, fmt::format("has {} numbers, {} are expected", head.dense_bias.size(), width));
  return head;
}

FoundHead find_reward_head(const fs::path& folder, const WeightsOptions& options,
                           std::string_view key) {
  return find_reward_head(folder, weights_beside_head(folder, options), key);
}

FoundHead find_reward_head(const fs::path& folder, std::shared_ptr<const Weights> weights,
                           std::string_view key) {
  const HeadConfig config = read_config(weights ? weights->model_folder() : folder);
  auto heads = all_heads(folder, weights, config, key);
  if (heads.empty())
    throw ModelError(
        fmt::format("{}: has no reward head{}: neither {} nor, in its weights, one of "
                    "score.weight, v_head.*, rm_head.*, "
                    "value_head.weight; there is {}",
                    folder.string(), key.empty() ? std::string() : fmt::format(" '{}'", key),
                    kRewardHead, what_is_there(weights.get())));
  return only(std::move(heads), config);
}

bool has_reward_head(const fs::path& folder) {
  const auto weights = weights_beside_head(folder, {});
  const HeadConfig config = read_config(weights ? weights->model_folder() : folder);
  return !all_heads(folder, weights, config, {}).empty();
}

std::string stated_head_input(const fs::path& folder) {
  const fs::path file = folder / "training.json";
  if (!fs::exists(file)) return {};
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  std::string_view said;
  if (parser.parse(read_file(file)).get(root) || root["head_input"].get(said)) return {};
  if (said == "final_norm" || said == "normed") return "final_norm";
  if (said == "before_norm" || said == "unnormed") return "before_norm";
  return {};
}

std::string doubt_about_head_input(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  std::string_view type;
  if (fs::exists(file) && !parser.parse(read_file(file)).get(root) &&
      !root["model_type"].get(type) && type == "qwen2_5_vl")
    return {};
  return fmt::format(
      "{0}: nothing says which hidden state its head was trained on; the one after the final norm "
      "is taken. LLaMA-Factory's Qwen3-VL models made with transformers 4.57 need head_input = "
      "\"before_norm\": `dt2it doctor {0}` tells which is likely",
      folder.string());
}

HeadNames head_names(HeadLayout layout, bool linear, std::optional<float> bias) {
  const std::string prefix(layout == HeadLayout::llama_factory ? "v_head.summary"
                                                               : head_layout_name(layout));
  HeadNames names;
  if (!linear) {
    if (layout == HeadLayout::llama_factory || layout == HeadLayout::v_head)
      throw ModelError(
          fmt::format("the reward head has two layers, for which layout {} has no form (score and "
                      "rm_head have)",
                      head_layout_name(layout)));
    return {prefix + ".out_proj.weight",
            prefix + ".out_proj.bias",
            prefix + ".dense.weight",
            prefix + ".dense.bias",
            {}};
  }
  names.weight = prefix + ".weight";
  if (layout == HeadLayout::llama_factory || layout == HeadLayout::rm_head)
    names.bias = prefix + ".bias";
  else if (bias && *bias != 0)
    names.note = fmt::format(
        "layout {} has no bias: {} is dropped. All rewards shift by as much; rankings and margins "
        "hold",
        head_layout_name(layout), *bias);
  return names;
}

}  // namespace dt2it
