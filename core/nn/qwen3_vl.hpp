// SPDX-License-Identifier: Apache-2.0
#pragma once

// Qwen3-VL on ATen operators: vision tower, mergers, decoder. Reference: transformers 4.57 (modeling_qwen3_vl).
// Weights are plain tensors under the names of the checkpoint; autograd works on them. Not thread-safe.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/nn/checkpoint.hpp"
#include "core/nn/image_processor.hpp"
#include "core/nn/safetensors.hpp"
#include "dt2it/backbone.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::nn {

struct VisionConfig {
  std::int64_t depth = 0, hidden = 0, heads = 0, intermediate = 0, out_hidden = 0;
  std::int64_t patch = 16, merge = 2, temporal = 2, channels = 3;
  std::int64_t position_side = 0;  // the learned position table is side x side
  std::vector<std::int64_t> deepstack;  // blocks whose output feeds a deepstack merger
};

struct TextConfig {
  std::int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0, vocabulary = 0;
  double rope_theta = 0, norm_epsilon = 1e-6, initial_deviation = 0.02;
  std::array<std::int64_t, 3> mrope_section{};
  bool tied = false;
};

struct Qwen3VlConfig {
  VisionConfig vision;
  TextConfig text;
  std::int64_t image_token = 0, vision_start_token = 0, vision_end_token = 0;
  at::ScalarType type = at::kFloat;  // of the stored weights

  // config.json of the hub layout. Throws ModelError naming what is missing or not supported.
  static Qwen3VlConfig read(const std::filesystem::path& file);
};

// Frames x rows x columns of patches.
struct Grid {
  std::int64_t frames = 1, rows = 0, columns = 0;
  bool operator==(const Grid&) const = default;
};

struct VisionFeatures {
  at::Tensor output;                  // [merged tokens, text hidden]
  std::vector<at::Tensor> deepstack;  // one per deepstack merger, same shape
};

// Sequences of a batch side by side, shorter ones padded at the end.
struct DecoderInput {
  at::Tensor tokens;     // [B, T] int64
  at::Tensor positions;  // [3, B, T] int64
  at::Tensor mask;       // [B, 1, T, T] bool, true: may attend; undefined: causal
  at::Tensor visual_rows;  // int64, index of each placeholder in the flattened [B * T]; undefined: no images
};

class Qwen3VlModel {
 public:
  explicit Qwen3VlModel(const Qwen3VlConfig& config);

  // Weights in float32. Throws ModelError for a missing tensor or a wrong shape, naming it.
  void load(const Checkpoint& weights);
  // Random weights: normal matrices with `initial_deviation`, norms one, biases zero.
  void initialise(Rng& rng);

  const Qwen3VlConfig& config() const { return config_; }
  // In a fixed order.
  const std::vector<std::pair<std::string, at::Tensor>>& parameters() const { return parameters_; }
  at::Tensor parameter(const std::string& name) const;

  // pixels: [patches, 3 * temporal * patch^2] as write_patches gives them.
  VisionFeatures vision(const at::Tensor& pixels, std::span<const Grid> grids);
  // Hidden states [B, T, hidden]; normed or not. `layers`, when given, gets the output of each layer.
  at::Tensor decode(const DecoderInput& input, const VisionFeatures* features, HiddenState state,
                    std::vector<at::Tensor>* layers = nullptr);
  // The final norm, of any hidden states.
  at::Tensor normed(const at::Tensor& hidden) const;
  at::Tensor logits(const at::Tensor& hidden) const;

 private:
  at::Tensor& add(const std::string& name, std::vector<std::int64_t> shape);
  at::Tensor vision_run(const at::Tensor& x, const Grid& grid, std::int64_t frames, std::vector<at::Tensor>& deep);
  struct GridTables {
    at::Tensor taps;         // [4, P] rows of the position table
    at::Tensor weights;      // [4, P, 1]
    at::Tensor cos, sin;     // [P, head_dim / 2]
  };
  const GridTables& tables(const Grid& grid);

  struct Linear {
    at::Tensor weight, bias;
  };
  struct Norm {
    at::Tensor weight, bias;
  };
  struct Merger {
    Norm norm;
    Linear fc1, fc2;
  };
  struct VisionBlock {
    Norm norm1, norm2;
    Linear qkv, proj, fc1, fc2;
  };
  struct Layer {
    at::Tensor input_norm, post_norm, q, k, v, o, q_norm, k_norm, gate, up, down;
  };
  Linear linear(const std::string& name, std::int64_t out, std::int64_t in);
  Norm norm(const std::string& name, std::int64_t width);
  at::Tensor merge(const Merger& merger, const at::Tensor& x, bool norm_after_grouping) const;

  Qwen3VlConfig config_;
  std::vector<std::pair<std::string, at::Tensor>> parameters_;
  Linear patch_embed_;
  at::Tensor position_table_;
  std::vector<VisionBlock> blocks_;
  Merger merger_;
  std::vector<Merger> deepstack_;
  at::Tensor embeddings_, final_norm_, lm_head_;
  std::vector<Layer> layers_;
  at::Tensor inverse_frequencies_, frequency_axis_;
  std::map<std::pair<std::int64_t, std::int64_t>, GridTables> tables_;
};

// M-RoPE positions for text of `count` tokens that begins at `next`, which is advanced.
void append_text_positions(std::vector<std::array<std::int64_t, 3>>& positions, std::size_t count, std::int64_t& next);
// The same for an image of rows x columns merged tokens: text after it goes on at the largest position + 1.
void append_image_positions(std::vector<std::array<std::int64_t, 3>>& positions, std::int64_t rows,
                            std::int64_t columns, std::int64_t& next);

// Several trees as one padded batch with an explicit mask.
struct TreeBatch {
  DecoderInput input;
  at::Tensor pixels;  // undefined without images
  std::vector<Grid> grids;       // of the different images
  at::Tensor feature_rows;       // which merged tokens of these go to visual_rows; undefined: all, in order
  at::Tensor token_rows;         // rows of the flattened [B * T] that are tokens; undefined: all
};
TreeBatch pack_trees(std::span<const TokenTree* const> trees, const ImageProcessorConfig& images);

// Hidden states [tokens of all trees, hidden].
at::Tensor forward_trees(Qwen3VlModel& model, std::span<const TokenTree* const> trees,
                         const ImageProcessorConfig& images, HiddenState state);

}  // namespace dt2it::nn
