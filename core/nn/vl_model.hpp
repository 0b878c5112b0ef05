// SPDX-License-Identifier: Apache-2.0
#pragma once

// Qwen2.5-VL and Qwen3-VL on ATen operators: vision tower, then a decoder over packed sequences. Reference: transformers
// 4.57 (modeling_qwen2_5_vl, modeling_qwen3_vl). Weights are plain tensors under the names of the checkpoint; autograd works
// on them. Not thread-safe.

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/nn/adapters.hpp"
#include "core/nn/checkpoint.hpp"
#include "core/nn/feature_cache.hpp"
#include "core/nn/image_processor.hpp"
#include "core/nn/model_config.hpp"
#include "core/nn/ops.hpp"
#include "core/nn/parameter_table.hpp"
#include "core/nn/vision_tower.hpp"
#include "dt2it/backbone.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::nn {

// Keys and values of all layers, [capacity, kv_heads, head_dim] each.
struct KeyValueCache {
  std::vector<at::Tensor> keys, values;
};

// Sequences one after another, without padding.
struct DecoderInput {
  at::Tensor tokens;       // [T] int64
  at::Tensor positions;    // [3, T] int64
  at::Tensor visual_rows;  // rows of placeholders, int64; undefined: no images
  std::shared_ptr<const Attention> attention;
  // The rows whose hidden states are wanted, int64, and how they attend; undefined: all. The last layer computes no others.
  at::Tensor rows;
  std::shared_ptr<const Attention> last_attention;
  // With a cache: its rows for these tokens' keys and values; `attention` then counts keys in rows of the cache.
  KeyValueCache* cache = nullptr;
  at::Tensor cache_rows;  // [T] int64
};

class VlModel {
 public:
  // Weights in `options`' type and device, not initialised. On the CPU float32 is the fast type.
  explicit VlModel(const ModelConfig& config, at::TensorOptions options = at::kFloat);
  ~VlModel();
  VlModel(const VlModel&) = delete;
  VlModel& operator=(const VlModel&) = delete;

  // Throws ModelError for a missing tensor or a wrong shape, naming it.
  void load(const Checkpoint& weights, int threads = 1);
  // Random weights: normal matrices with `initial_deviation`, norms one, biases zero.
  void initialise(Rng& rng);

  const ModelConfig& config() const { return config_; }
  at::Device device() const { return embeddings_.device(); }  // a CUDA device with its index
  at::ScalarType type() const { return embeddings_.scalar_type(); }
  // In a fixed order.
  const std::vector<std::pair<std::string, at::Tensor>>& parameters() const { return table_.all(); }
  at::Tensor parameter(const std::string& name) const;

  // While gradients are recorded, decoder layers and vision blocks keep only their input and are computed again in the backward
  // pass. The same gradients to the last bit. The model must outlive the graph.
  void set_recompute(bool on) { recompute_ = on; }

  // LoRA: freezes all weights; the adapters' matrices are leaves that want gradients. Their dropout, which works while
  // gradients are recorded, draws a seed for each pass from a generator of this model's own.
  void add_adapters(const LoraOptions& options);
  void seed_dropout(std::uint64_t seed);  // passes from now on, in order
  Adapters* adapters() const { return adapters_.get(); }
  // Whether passes from now on go through the adapters; returns what was before.
  bool use_adapters(bool on) { return std::exchange(adapters_on_, on); }
  // A parameter as it is without adapters; merged with them: in float32.
  at::Tensor merged_parameter(const std::string& name) const;

  void set_feature_cache(std::unique_ptr<FeatureCache> cache) { features_ = std::move(cache); }
  // Null: there is none, or what the tower makes may change or is wanted with its graph, or the cache is for sharing and this
  // model is alone in its process.
  FeatureCache* usable_feature_cache(const ImageProcessorConfig& images);

  // pixels: [patches, 3 * temporal * patch^2], on any device and in any type.
  VisionFeatures vision(const at::Tensor& pixels, std::span<const Grid> grids,
                        const Observer& observer = {});
  // Hidden states [T or rows, hidden], normed or not. `features` are those of the placeholders, in order.
  at::Tensor decode(const DecoderInput& input, const VisionFeatures* features, HiddenState state,
                    const Observer& observer = {});
  // The final norm, of any hidden states.
  at::Tensor normed(const at::Tensor& hidden) const;
  // Next-token logits of normed hidden states.
  at::Tensor logits(const at::Tensor& hidden) const;
  KeyValueCache make_cache(std::int64_t capacity) const;

 private:
  struct Layer {
    at::Tensor input_norm, post_norm, q_norm, k_norm;  // the last two: Qwen3 only
    Linear q, k, v, o, gate, up, down;
  };
  // What is the same for all layers of a pass; held by what is computed again in the backward pass.
  struct LayerPass {
    at::Tensor cos, sin, rows;
    std::shared_ptr<const Attention> attention, last_attention;
    KeyValueCache* cache = nullptr;
    at::Tensor cache_rows;
    AdapterPass adapters;
  };
  std::pair<at::Tensor, at::Tensor> rotary(const at::Tensor& positions) const;
  at::Tensor heads(const Linear& layer, const at::Tensor& x, std::int64_t count,
                   const at::Tensor& norm, const AdapterPass& adapters) const;
  // The layer's output; `pruned`: of pass.rows only; `keep`: x is not overwritten.
  at::Tensor run_layer(std::size_t i, at::Tensor x, const LayerPass& pass, bool pruned, bool keep,
                       const Observer& observer) const;
  static std::vector<at::Tensor> weights_of(const Layer& layer);
  AdapterPass adapter_pass() const;
  std::string tower_identity(const ImageProcessorConfig& images) const;

  const ModelConfig config_;
  ParameterTable table_;
  std::unique_ptr<VisionTower> tower_;
  at::Tensor embeddings_, final_norm_, lm_head_;
  std::vector<Layer> layers_;
  at::Tensor inverse_frequencies_, frequency_axes_;
  bool recompute_ = false, adapters_on_ = true;
  std::unique_ptr<Adapters> adapters_;
  at::Generator dropout_;  // of seeds; defined when there are adapters
  std::unique_ptr<FeatureCache> features_;
  std::uint64_t loads_ = 0;
};

}  // namespace dt2it::nn
