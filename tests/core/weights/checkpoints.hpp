// SPDX-License-Identifier: Apache-2.0
#pragma once

// Small invented checkpoints.

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "core/util/files.hpp"
#include "core/weights/safetensors_header.hpp"
#include "core/weights/weights_writer.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"
#include "tests/core/temporary_folder.hpp"

namespace dt2it::testing {

// Tensors of a file: shape, and numbers that follow from the name.
struct Made {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};
using Tensors = std::vector<std::pair<std::string, Made>>;

inline Made made(const std::string& name, std::vector<std::int64_t> shape) {
  Rng rng(stable_hash(name, 1));
  Made result{shape, {}};
  result.values.resize(StoredTensor{Dtype::f32, shape}.count());
  for (float& value : result.values) value = static_cast<float>(rng.normal());
  return result;
}

inline ByteSource source_of(const std::map<std::string, Made>& tensors) {
  return [&tensors](const TensorPlan& plan, const ByteSink& sink) {
    const Made& tensor = tensors.at(plan.name);
    std::vector<std::byte> bytes(tensor.values.size() * dtype_size(plan.type));
    convert(tensor.values.data(), Dtype::f32, bytes.data(), plan.type, tensor.values.size());
    for (std::size_t at = 0; at < bytes.size(); at += 100)  // in pieces
      sink(std::span(bytes).subspan(at, std::min<std::size_t>(100, bytes.size() - at)));
  };
}

inline std::vector<TensorPlan> plans_of(const Tensors& tensors, Dtype type) {
  std::vector<TensorPlan> plans;
  for (const auto& [name, tensor] : tensors) plans.push_back({name, type, tensor.shape});
  return plans;
}

inline void write_folder(const std::filesystem::path& folder, const Tensors& tensors,
                         Dtype type = Dtype::f32, std::uint64_t shard = 5'000'000'000) {
  std::filesystem::create_directories(folder);
  const std::map<std::string, Made> held(tensors.begin(), tensors.end());
  WriteOptions options;
  options.max_shard_bytes = shard;
  write_weights(folder, plans_of(tensors, type), options, source_of(held));
}

inline void write_one(const std::filesystem::path& file, const Tensors& tensors,
                      Dtype type = Dtype::f32) {
  const std::map<std::string, Made> held(tensors.begin(), tensors.end());
  write_weights_file(file, plans_of(tensors, type), {{"format", "pt"}}, source_of(held));
}

inline void write_text(const std::filesystem::path& file, std::string_view text) {
  std::ofstream(file, std::ios::binary)
      .write(text.data(), static_cast<std::streamsize>(text.size()));
}

// What an action throws, or "nothing".
template <class Thrown = ModelError, class Action>
std::string complaint(Action action) {
  try {
    action();
  } catch (const Thrown& error) {
    return error.what();
  }
  return "nothing";
}

// The model's part of a checkpoint in one of the two ways to name it.
inline Tensors body(bool nested, bool with_lm_head = true) {
  const std::string visual = nested ? "model.visual." : "visual.",
                    language = nested ? "model.language_model." : "model.";
  Tensors tensors;
  const auto add = [&](const std::string& name, const std::string& key,
                       std::vector<std::int64_t> shape) {
    tensors.emplace_back(name, made(key, std::move(shape)));
  };
  if (with_lm_head) add("lm_head.weight", "lm_head", {10, 8});
  add(language + "embed_tokens.weight", "embed", {10, 8});
  for (const char* layer : {"layers.0.", "layers.1."}) {
    add(language + layer + "self_attn.q_proj.weight", std::string(layer) + "q", {6, 8});
    add(language + layer + "input_layernorm.weight", std::string(layer) + "norm", {8});
  }
  add(language + "norm.weight", "norm", {8});
  add(visual + "patch_embed.proj.weight", "patch", {4, 3, 2, 2, 2});
  return tensors;
}

inline std::vector<std::string> files_of(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace dt2it::testing
