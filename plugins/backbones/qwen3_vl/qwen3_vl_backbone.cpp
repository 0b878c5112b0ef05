// SPDX-License-Identifier: Apache-2.0
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <array>

#include "core/nn/qwen3_vl.hpp"
#include "core/nn/tree_encoder.hpp"
#include "dt2it/backbone.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

class Qwen3VlBackbone final : public Backbone {
 public:
  struct Params {
    fs::path checkpoint;
    std::int64_t image_max_pixels = 0;
    std::int64_t image_min_pixels = 0;
    std::int64_t cutoff_len = 0;
    std::string chat_template = "qwen3_vl_nothink";
    bool freeze_vision_tower = false;
    bool freeze_projector = false;
    bool freeze_language_model = false;
    std::int64_t image_cache_mb = 256;

    static void describe(Schema<Params>& schema) {
      schema.field("checkpoint", &Params::checkpoint, "Folder in Hugging Face layout (config.json, weights, tokenizer.json).")
          .required()
          .argument();
      schema.field("image_max_pixels", &Params::image_max_pixels,
                   "Larger images are scaled down to this many pixels before the model's own resizing (paper: 268324 in "
                   "training, 1310720 in evaluation); 0: no bound.")
          .min(0);
      schema.field("image_min_pixels", &Params::image_min_pixels, "Smaller images are scaled up; 0: no bound.").min(0);
      schema.field("cutoff_len", &Params::cutoff_len,
                   "Longest prompt and response together, in tokens; what is longer loses its end; 0: no bound.")
          .min(0);
      schema.field("template", &Params::chat_template, "Chat template.").choices({"qwen3_vl_nothink", "qwen3_vl"});
      schema.field("freeze_vision_tower", &Params::freeze_vision_tower, "Keep the vision tower's weights.");
      schema.field("freeze_projector", &Params::freeze_projector, "Keep the weights of the mergers behind the tower.");
      schema.field("freeze_language_model", &Params::freeze_language_model,
                   "Keep the weights of embeddings, decoder and output layer.");
      schema.field("image_cache_mb", &Params::image_cache_mb, "Memory for prepared images, in MiB.").min(1);
    }
  };

  Qwen3VlBackbone(const Params& params, Context& context)
      : params_(params),
        config_(nn::Qwen3VlConfig::read(params.checkpoint / "config.json")),
        images_(nn::ImageProcessorConfig::read(params.checkpoint / "preprocessor_config.json")),
        tokenizer_(params.checkpoint / "tokenizer.json"),
        encoder_(tokenizer_, context.media(), encoder_options()),
        model_(config_) {
    if (images_.patch != config_.vision.patch || images_.merge != config_.vision.merge ||
        images_.temporal != config_.vision.temporal)
      throw ModelError(fmt::format("{}: config.json and preprocessor_config.json differ in patch, merge or temporal size",
                                   params.checkpoint.string()));
    if (tokenizer_.size() > config_.text.vocabulary)
      throw ModelError(fmt::format("{}: tokenizer.json has {} tokens, config.json room for {}", params.checkpoint.string(),
                                   tokenizer_.size(), config_.text.vocabulary));
    reload();
    for (const auto& [name, tensor] : model_.parameters()) tensor.requires_grad_(trainable(name));
  }

  EncodedTree encode(const Prompt& prompt, std::span<const std::string_view> responses) override {
    return encoder_.encode(prompt, responses);
  }

  at::Tensor forward(std::span<const TokenTree* const> trees, HiddenState state) override {
    return nn::forward_trees(model_, trees, images_, state);
  }

  at::Tensor logits(const at::Tensor& hidden) override { return model_.logits(hidden); }

  std::vector<NamedParameter> parameters() override {
    std::vector<NamedParameter> all;
    for (const auto& [name, tensor] : model_.parameters()) all.push_back({name, tensor, trainable(name)});
    return all;
  }

  std::int64_t hidden_size() const override { return config_.text.hidden; }
  std::vector<std::int64_t> tokenize(std::string_view text) const override { return tokenizer_.encode(text); }
  void reload() override { model_.load(nn::Checkpoint(params_.checkpoint)); }
  const fs::path& checkpoint() const override { return params_.checkpoint; }

  void save(const fs::path& folder) override {
    fs::create_directories(folder);
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    for (const auto& [name, tensor] : model_.parameters()) tensors.emplace_back(name, tensor.detach().to(config_.type));
    nn::write_safetensors(folder / "model.safetensors", tensors);
    // What describes the model is the same before and after training.
    constexpr std::array kBeside{"config.json",          "generation_config.json", "tokenizer.json",
                                 "tokenizer_config.json", "vocab.json",             "merges.txt",
                                 "chat_template.json",   "preprocessor_config.json", "video_preprocessor_config.json"};
    for (const char* name : kBeside)
      if (fs::exists(params_.checkpoint / name)) nn::write_text_file(folder / name, nn::read_text_file(params_.checkpoint / name));
  }

 private:
  bool trainable(const std::string& name) const {
    if (!name.starts_with("model.visual.")) return !params_.freeze_language_model;
    const bool projector = name.find("merger") != std::string::npos;
    return projector ? !params_.freeze_projector : !params_.freeze_vision_tower;
  }

  nn::TreeEncoder::Options encoder_options() const {
    nn::TreeEncoder::Options options;
    options.form = nn::chat_template_named(params_.chat_template);
    options.image_token = config_.image_token;
    options.images = images_;
    options.image_min_pixels = params_.image_min_pixels;
    options.image_max_pixels = params_.image_max_pixels;
    options.cutoff = static_cast<std::size_t>(params_.cutoff_len);
    options.cache_bytes = static_cast<std::size_t>(params_.image_cache_mb) << 20;
    return options;
  }

  const Params params_;
  const nn::Qwen3VlConfig config_;
  const nn::ImageProcessorConfig images_;
  const nn::Tokenizer tokenizer_;
  nn::TreeEncoder encoder_;
  nn::Qwen3VlModel model_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("backbones/qwen3_vl", "1.0.0", registrar) {
  registrar.add<dt2it::Backbone, dt2it::Qwen3VlBackbone>("qwen3_vl", "Qwen3-VL of any size, from a Hugging Face folder.");
}
