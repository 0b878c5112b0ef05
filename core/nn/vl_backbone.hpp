// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the backbone plugins of both families are: checkpoint, tokenizer, images and model behind dt2it::Backbone.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/nn/packed_batch.hpp"
#include "core/nn/tree_encoder.hpp"
#include "core/nn/vl_model.hpp"
#include "dt2it/backbone.hpp"
#include "dt2it/context.hpp"
#include "dt2it/params.hpp"

namespace dt2it::nn {

struct VlBackboneParams {
  std::filesystem::path checkpoint;
  std::string dtype = "float32";
  std::string device = "cpu";
  std::int64_t image_max_pixels = 0;
  std::int64_t image_min_pixels = 0;
  std::int64_t cutoff_len = 0;
  std::string chat_template = "auto";
  std::string template_form = "llamafactory";
  std::string video_rule = "llamafactory";
  double video_fps = 2;
  std::int64_t video_max_frames = 128;
  std::int64_t video_max_pixels = 65536;
  std::int64_t video_min_pixels = 256;
  bool freeze_vision_tower = false;
  bool freeze_projector = false;
  bool freeze_language_model = false;
  bool gradient_checkpointing = false;
  std::int64_t lora_rank = 0;
  double lora_alpha = 0;
  double lora_dropout = 0;
  std::vector<std::string> lora_targets{"all"};
  bool use_rslora = false;
  std::filesystem::path adapter;
  bool merge_adapter = false;
  std::int64_t feature_cache_mb = -1;
  std::string feature_cache;
  std::int64_t feature_cache_disk_mb = 10240;
  std::int64_t image_cache_mb = 256;

  static void describe(Schema<VlBackboneParams>& schema);
};

class VlBackbone : public Backbone {
 public:
  using Params = VlBackboneParams;
  // Throws ModelError when the checkpoint is of another family, incomplete or contradicts itself.
  VlBackbone(Family family, const VlBackboneParams& params, Context& context);

  EncodedTree encode(const Prompt& prompt, std::span<const std::string_view> responses) override;
  at::Tensor forward(std::span<const TokenTree* const> trees, HiddenState state,
                     std::span<const std::int64_t> rows) override;
  at::Tensor logits(const at::Tensor& hidden) override;
  std::unique_ptr<Decoding> decode(std::span<const TokenTree* const> prompts,
                                   std::span<const std::size_t> samples) override;
  std::vector<NamedParameter> parameters() override;
  std::int64_t hidden_size() const override { return config_.text.hidden; }
  std::vector<std::int64_t> tokenize(std::string_view text) const override {
    return tokenizer_.encode(text);
  }
  std::string detokenize(std::span<const std::int64_t> ids) const override {
    return tokenizer_.decode(ids, true);
  }
  std::vector<std::int64_t> end_tokens() const override;
  void reload() override;
  const std::filesystem::path& checkpoint() const override { return params_.checkpoint; }
  void save(const std::filesystem::path& folder) override;

  VlModel& model() { return model_; }

 private:
  LoraOptions lora_options() const;
  void save_merged(const std::filesystem::path& folder) const;
  bool trainable(const std::string& name) const;
  TreeEncoder::Options encoder_options() const;
  VideoOptions video_options() const;

  const VlBackboneParams params_;
  const ModelConfig config_;
  const ImageProcessorConfig images_;
  const Tokenizer tokenizer_;
  TreeEncoder encoder_;
  const std::uint64_t seed_;
  VlModel model_;
};

}  // namespace dt2it::nn
