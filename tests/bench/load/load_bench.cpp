// SPDX-License-Identifier: Apache-2.0
// Our side of the benchmark `load`, see tests/bench/README.md.
//   bench_load make FOLDER LAYERS   a checkpoint with the shapes of Qwen3-VL-8B but for the number
//   of layers bench_load view FOLDER          weights as views of the files       prints: seconds,
//   peak RSS in bytes, sum bench_load copy FOLDER THREADS  weights copied into tensors         the
//   same bench_load bytes FOLDER         all bytes through read(2) into one buffer: seconds
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "core/nn/checkpoint.hpp"
#include "core/nn/safetensors.hpp"
#include "core/util/files.hpp"

namespace {

using namespace dt2it;
namespace fs = std::filesystem;

constexpr std::int64_t kHidden = 4096, kHeads = 32, kKvHeads = 8, kHeadDim = 128,
                       kIntermediate = 12288, kVocabulary = 151936;
constexpr std::int64_t kDepth = 27, kWidth = 1152, kInner = 4304, kPositions = 2304;

std::vector<TensorPlan> plans(std::int64_t layers) {
  std::vector<TensorPlan> all;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    all.push_back({name, Dtype::bf16, std::move(shape)});
  };
  const auto both = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  };
  const auto norm = [&](const std::string& name, std::int64_t width) {
    add(name + ".weight", {width});
    add(name + ".bias", {width});
  };
  add("lm_head.weight", {kVocabulary, kHidden});
  const std::string language = "model.language_model.", visual = "model.visual.";
  add(language + "embed_tokens.weight", {kVocabulary, kHidden});
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string layer = fmt::format("{}layers.{}.", language, i);
    add(layer + "input_layernorm.weight", {kHidden});
    add(layer + "mlp.down_proj.weight", {kHidden, kIntermediate});
    add(layer + "mlp.gate_proj.weight", {kIntermediate, kHidden});
    add(layer + "mlp.up_proj.weight", {kIntermediate, kHidden});
    add(layer + "post_attention_layernorm.weight", {kHidden});
    add(layer + "self_attn.k_norm.weight", {kHeadDim});
    add(layer + "self_attn.k_proj.weight", {kKvHeads * kHeadDim, kHidden});
    add(layer + "self_attn.o_proj.weight", {kHidden, kHeads * kHeadDim});
    add(layer + "self_attn.q_norm.weight", {kHeadDim});
    add(layer + "self_attn.q_proj.weight", {kHeads * kHeadDim, kHidden});
    add(layer + "self_attn.v_proj.weight", {kKvHeads * kHeadDim, kHidden});
  }
  add(language + "norm.weight", {kHidden});
  for (std::int64_t i = 0; i < kDepth; ++i) {
    const std::string block = fmt::format("{}blocks.{}.", visual, i);
    both(block + "attn.proj", kWidth, kWidth);
    both(block + "attn.qkv", 3 * kWidth, kWidth);
    both(block + "mlp.linear_fc1", kInner, kWidth);
    both(block + "mlp.linear_fc2", kWidth, kInner);
    norm(block + "norm1", kWidth);
    norm(block + "norm2", kWidth);
  }
  for (int k = -1; k < 3; ++k) {
    const std::string merger =
        k < 0 ? visual + "merger." : fmt::format("{}deepstack_merger_list.{}.", visual, k);
    both(merger + "linear_fc1", 4 * kWidth, 4 * kWidth);
    both(merger + "linear_fc2", kHidden, 4 * kWidth);
    norm(merger + "norm", k < 0 ? kWidth : 4 * kWidth);
  }
  add(visual + "patch_embed.proj.weight", {kWidth, 3, 2, 16, 16});
  add(visual + "patch_embed.proj.bias", {kWidth});
  add(visual + "pos_embed.weight", {kPositions, kWidth});
  return all;
}

void make(const fs::path& folder, std::int64_t layers) {
  fs::create_directories(folder);
  std::vector<std::uint16_t> noise(1 << 20);
  std::uint64_t state = 88172645463325252;
  WriteOptions options;
  write_weights(folder, plans(layers), options, [&](const TensorPlan& plan, const ByteSink& sink) {
    std::uint64_t left = StoredTensor{plan.type, plan.shape}.count();
    while (left > 0) {
      for (std::size_t i = 0; i < noise.size();
           i += 4) {  // signs and digits at random, sizes from 0.004 to 0.03
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        const std::uint64_t four = (state & 0x80ff80ff80ff80ff) | 0x3c003c003c003c00;
        std::memcpy(&noise[i], &four, sizeof four);
      }
      const std::size_t n = std::min<std::uint64_t>(left, noise.size());
      sink({reinterpret_cast<const std::byte*>(noise.data()), n * sizeof(std::uint16_t)});
      left -= n;
    }
  });
  write_file_atomically(folder / "config.json",
                        fmt::format(R"({{
  "architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", "dtype": "bfloat16",
  "image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652, "vision_end_token_id": 151653,
  "tie_word_embeddings": false,
  "text_config": {{"model_type": "qwen3_vl_text", "hidden_size": {}, "intermediate_size": {}, "num_hidden_layers": {},
    "num_attention_heads": {}, "num_key_value_heads": {}, "head_dim": {}, "vocab_size": {}, "rope_theta": 5000000,
    "rope_scaling": {{"mrope_interleaved": true, "mrope_section": [24, 20, 20], "rope_type": "default"}},
    "max_position_embeddings": 262144, "dtype": "bfloat16", "tie_word_embeddings": false}},
  "vision_config": {{"model_type": "qwen3_vl", "depth": {}, "hidden_size": {}, "intermediate_size": {}, "num_heads": 16,
    "out_hidden_size": {}, "num_position_embeddings": {}, "deepstack_visual_indexes": [8, 16, 24], "patch_size": 16,
    "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}}
}}
)",
                                    kHidden, kIntermediate, layers, kHeads, kKvHeads, kHeadDim,
                                    kVocabulary, kDepth, kWidth, kInner, kHidden, kPositions));
}

// One number of each page of memory: what was put off is done now.
std::uint64_t touch(const nn::NamedTensors& tensors) {
  std::uint64_t sum = 0;
  for (const auto& [name, tensor] : tensors) {
    const auto* values = static_cast<const std::uint16_t*>(tensor.const_data_ptr());
    for (std::int64_t i = 0; i < tensor.numel(); i += 2048) sum += values[i];
  }
  return sum;
}

void load(const fs::path& folder, int threads) {
  const auto begin = std::chrono::steady_clock::now();
  const nn::Checkpoint checkpoint(folder);
  nn::NamedTensors tensors;
  for (const std::string& name : checkpoint.names())
    tensors.emplace_back(name, threads == 0 ? checkpoint.view(name)
                                            : at::empty(checkpoint.shape(name), at::kBFloat16));
  if (threads > 0) checkpoint.copy_into(tensors, threads);
  const std::uint64_t sum = touch(tensors);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("%.4f %llu %llu\n", seconds, static_cast<unsigned long long>(usage.ru_maxrss) * 1024,
              static_cast<unsigned long long>(sum));
}

void bytes(const fs::path& folder) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<char> buffer(1 << 20);
  for (const auto& entry : fs::directory_iterator(folder)) {
    const int file = ::open(entry.path().c_str(), O_RDONLY);
    while (::read(file, buffer.data(), buffer.size()) > 0) {
    }
    ::close(file);
  }
  std::printf("%.4f\n",
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc >= 3 ? argv[1] : "";
  if (mode == "make" && argc == 4)
    make(argv[2], std::atoi(argv[3]));
  else if (mode == "view")
    load(argv[2], 0);
  else if (mode == "copy" && argc == 4)
    load(argv[2], std::atoi(argv[3]));
  else if (mode == "bytes")
    bytes(argv[2]);
  else
    return std::fprintf(stderr,
                        "usage: bench_load make FOLDER LAYERS | view FOLDER | copy FOLDER THREADS "
                        "| bytes FOLDER\n"),
           2;
}
