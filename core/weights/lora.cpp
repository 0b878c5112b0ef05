// SPDX-License-Identifier: Apache-2.0
#include "core/weights/lora.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <cmath>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"

#ifdef __GNUC__
#pragma GCC optimize("O3")  // for the product below
#endif

namespace dt2it {
namespace fs = std::filesystem;
namespace {

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kWeights = "adapter_model.safetensors";

// Whether a setting says something: not null, false, empty or absent.
bool is_set(const simdjson::dom::object& config, std::string_view key) {
  simdjson::dom::element value;
  if (config[key].get(value)) return false;
  switch (value.type()) {
    case simdjson::dom::element_type::NULL_VALUE: return false;
    case simdjson::dom::element_type::BOOL: return bool(value);
    case simdjson::dom::element_type::OBJECT: return simdjson::dom::object(value).size() > 0;
    case simdjson::dom::element_type::ARRAY: return simdjson::dom::array(value).size() > 0;
    case simdjson::dom::element_type::STRING: return !std::string_view(value).empty();
    default: return true;
  }
}

bool cut_suffix(std::string& name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  name.resize(name.size() - suffix.size());
  return true;
}

}  // namespace

bool LoraAdapter::is_adapter(const fs::path& folder) { return fs::exists(folder / kConfig); }

void LoraAdapter::fail(const std::string& what) const {
  throw ModelError(fmt::format("{}: {}", (folder_ / kConfig).string(), what));
}

LoraAdapter::LoraAdapter(const fs::path& folder) : folder_(folder) {
  if (!is_adapter(folder)) throw ModelError(fmt::format("{}: has no {}", folder.string(), kConfig));
  simdjson::dom::parser parser;
  simdjson::dom::object config;
  if (const auto error = parser.parse(read_file(folder / kConfig)).get(config))
    fail(fmt::format("is not a JSON object: {}", simdjson::error_message(error)));

  std::string_view type;
  if (config["peft_type"].get(type) || type != "LORA")
    fail(fmt::format("peft_type is '{}'; only LORA can be merged", type));
  std::string_view bias = "none";
  if (!config["bias"].get(bias) && bias != "none")
    fail(fmt::format("bias = '{}': adapters with trained biases are not supported (only 'none')",
                     bias));
  for (const char* key :
       {"use_dora", "fan_in_fan_out", "alpha_pattern", "lora_bias", "layer_replication",
        "trainable_token_indices", "target_parameters", "use_qalora"})
    if (is_set(config, key))
      fail(fmt::format("{} is set, which is not supported; merge the adapter with PEFT instead",
                       key));
  std::string_view start;
  if (!config["init_lora_weights"].get(start))
    for (const char* changes : {"pissa", "olora", "corda", "loftq"})
      if (start.starts_with(changes))
        fail(fmt::format(
            "init_lora_weights = '{}' changes the base model too; convert the adapter with PEFT",
            start));
  if (config["r"].get(rank_) || rank_ <= 0) fail("r must be a whole number from 1 on");
  if (config["lora_alpha"].get(alpha_) || !std::isfinite(alpha_))
    fail("lora_alpha must be a number");
  root_scale_ = is_set(config, "use_rslora");
  ranks_differ_ = is_set(config, "rank_pattern");
  std::string_view base;
  if (!config["base_model_name_or_path"].get(base)) base_ = base;

  if (!fs::exists(folder / kWeights) && fs::exists(folder / "adapter_model.bin"))
    throw ModelError(
        fmt::format("{0}: pickled weights are not read, for they can run code; convert them once: "
                    "python -c \"import torch, "
                    "safetensors.torch as s; s.save_file(torch.load('{0}', map_location='cpu', "
                    "weights_only=True), '{1}')\"",
                    (folder / "adapter_model.bin").string(), (folder / kWeights).string()));
  file_ = std::make_shared<WeightsFile>(folder / kWeights);
}

LoraAdapter::Names LoraAdapter::names(KeyLayout layout) const {
  Names names;
  for (const auto& [stored_name, tensor] : file_->header().tensors) {
    const auto refuse = [&](std::string_view what) {
      throw ModelError(
          fmt::format("{}: tensor '{}' {}", file_->path().string(), shown_name(stored_name), what));
    };
    if (!floating(tensor.type))
      refuse(fmt::format("has type {}; numbers are expected", dtype_name(tensor.type)));
    std::string name = canonical_key(layout, stored_name);
    if (name.find("lora_magnitude") != std::string::npos)
      refuse("belongs to DoRA, which is not supported");
    if (name.find("lora_embedding") != std::string::npos)
      refuse("adapts an embedding, which is not supported");
    if (name.find(".lora_") != std::string::npos) {
      cut_suffix(name, ".weight");
      cut_suffix(name, ".default");
      const bool is_a = name.ends_with(".lora_A");
      if (!cut_suffix(name, ".lora_A") && !cut_suffix(name, ".lora_B"))
        refuse("is no part of LoRA that is known");
      if (tensor.shape.size() != 2)
        refuse("adapts something else than a linear layer, which is not supported");
      cut_suffix(name, ".base_layer");
      Pair& pair = names.pairs[name + ".weight"];
      const StoredTensor*& place = is_a ? pair.a : pair.b;
      if (place) refuse("comes twice under different names");
      place = &tensor;
      continue;
    }
    // Trained as a whole: PEFT drops these parts of the name on saving, raw dumps keep them.
    for (const std::string_view part : {".modules_to_save.default.", ".modules_to_save."})
      if (const auto at = name.find(part); at != std::string::npos)
        name.replace(at, part.size(), ".");
    if (!names.replaced.emplace(name, &tensor).second) refuse("comes twice under different names");
  }
  for (auto& [name, pair] : names.pairs) {
    if (!pair.a || !pair.b)
      throw ModelError(fmt::format("{}: '{}' has only one half of its LoRA pair",
                                   file_->path().string(), shown_name(name)));
    const std::int64_t rank = pair.a->shape[0];
    if (rank != pair.b->shape[1] || rank == 0 || (rank != rank_ && !ranks_differ_))
      throw ModelError(
          fmt::format("{}: '{}' has LoRA matrices {} and {}, adapter_config.json says r = {}",
                      file_->path().string(), shown_name(name), shown_shape(pair.a->shape),
                      shown_shape(pair.b->shape), rank_));
    pair.scale = root_scale_ ? alpha_ / std::sqrt(static_cast<double>(rank))
                             : alpha_ / static_cast<double>(rank);
  }
  return names;
}

void LoraAdapter::add(const Pair& pair, std::int64_t first, std::int64_t rows,
                      float* weight) const {
  const auto rank = static_cast<std::size_t>(pair.a->shape[0]),
             width = static_cast<std::size_t>(pair.a->shape[1]);
  const auto floats = [&](const StoredTensor& tensor, std::size_t begin, std::size_t count) {
    const std::size_t size = dtype_size(tensor.type);
    std::vector<char> bytes(count * size);
    file_->read(tensor, begin * size, bytes.data(), bytes.size());
    std::vector<float> values(count);
    convert(bytes.data(), tensor.type, values.data(), Dtype::f32, count);
    return values;
  };
  std::vector<float> a = floats(*pair.a, 0, rank * width);
  const std::vector<float> b = floats(*pair.b, static_cast<std::size_t>(first) * rank,
                                      static_cast<std::size_t>(rows) * rank);
  const auto scale = static_cast<float>(pair.scale);
  // Four rows of A at a time: the sums are loaded and stored a quarter as often.
  const std::size_t padded = (rank + 3) / 4 * 4;
  std::vector<float> factors(padded), sums(width);
  a.resize(padded * width);
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
    std::fill(factors.begin(), factors.end(), 0.f);
    std::copy_n(b.data() + row * rank, rank, factors.begin());
    std::fill(sums.begin(), sums.end(), 0.f);
    for (std::size_t k = 0; k < padded; k += 4) {
      const float* r0 = a.data() + k * width;
      const float *r1 = r0 + width, *r2 = r1 + width, *r3 = r2 + width;
      const float f0 = factors[k], f1 = factors[k + 1], f2 = factors[k + 2], f3 = factors[k + 3];
      float* sum = sums.data();
      for (std::size_t j = 0; j < width; ++j)
        sum[j] += f0 * r0[j] + f1 * r1[j] + f2 * r2[j] + f3 * r3[j];
    }
    float* out = weight + row * width;
    for (std::size_t j = 0; j < width; ++j) out[j] += scale * sums[j];
  }
}

}  // namespace dt2it
