// SPDX-License-Identifier: Apache-2.0
#include "core/nn/vl_backbone.hpp"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <simdjson.h>

#include <array>
#include <cstdlib>

#include "core/nn/decoding.hpp"
#include "core/nn/device.hpp"
#include "core/nn/safetensors.hpp"
#include "core/weights/lora.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSharedFeatures = std::uint64_t{2} << 30;

const char* name_of(Family family) {
  return family == Family::qwen3_vl ? "qwen3_vl" : "qwen2_5_vl";
}

ModelConfig read_config(Family family, const fs::path& folder) {
  ModelConfig config = ModelConfig::read(folder / "config.json");
  if (config.family != family)
    throw ModelError(fmt::format("{}: is a {}, not a {}: name that backbone instead",
                                 folder.string(), name_of(config.family), name_of(family)));
  return config;
}

at::TensorOptions options_of(const VlBackboneParams& params, const ModelConfig& config) {
  at::ScalarType type = at::kFloat;
  if (params.dtype == "bfloat16") type = at::kBFloat16;
  if (params.dtype == "checkpoint") type = config.type;
  const int rank = local_rank([](const char* name) { return std::getenv(name); });
  return at::TensorOptions().dtype(type).device(
      device_of(params.device, rank, static_cast<int>(at::getNumGPUs())));
}

}  // namespace

void VlBackboneParams::describe(Schema<VlBackboneParams>& schema) {
  using P = VlBackboneParams;
  schema
      .field("checkpoint", &P::checkpoint,
             "Folder in Hugging Face layout (config.json, weights, tokenizer.json).")
      .required()
      .argument();
  schema
      .field("dtype", &P::dtype, "Type of weights and arithmetic; checkpoint: as config.json says.")
      .choices({"float32", "bfloat16", "checkpoint"});
  schema.field(
      "device", &P::device,
      "cpu, cuda, cuda:N, or auto: cuda where there is one. Of several processes on a machine "
      "each takes a device of its own for cuda and auto.");
  schema
      .field("image_max_pixels", &P::image_max_pixels,
             "Larger images are scaled down to this many pixels before the model's own resizing "
             "(paper: 268324 in "
             "training, 1310720 in evaluation); 0: no bound.")
      .min(0);
  schema
      .field("image_min_pixels", &P::image_min_pixels, "Smaller images are scaled up; 0: no bound.")
      .min(0);
  schema
      .field("cutoff_len", &P::cutoff_len,
             "Longest prompt and response together, in tokens; what is longer loses its end; 0: no "
             "bound.")
      .min(0);
  schema
      .field("template", &P::chat_template,
             "Chat template; auto: qwen3_vl_nothink for Qwen3-VL, qwen2_vl for Qwen2.5-VL.")
      .choices({"auto", "qwen3_vl_nothink", "qwen3_vl", "qwen2_vl"});
  schema
      .field("template_form", &P::template_form,
             "llamafactory: prompt and response are tokenised apart; huggingface: the conversation "
             "as one text.")
      .choices({"llamafactory", "huggingface"});
  schema
      .field("video_rule", &P::video_rule,
             "Which frames of a video are seen: LLaMA-Factory's rule, or the family's own "
             "processor's.")
      .choices({"llamafactory", "processor"});
  schema.field("video_fps", &P::video_fps, "Frames wanted of each second of a video.").min(0.01);
  schema
      .field("video_max_frames", &P::video_max_frames,
             "Most frames of a video (LLaMA-Factory: video_maxlen).")
      .min(1)
      .max(100000);
  schema
      .field("video_max_pixels", &P::video_max_pixels,
             "Larger frames are scaled down to this many pixels before the model's own resizing; "
             "0: no bound.")
      .min(0);
  schema
      .field("video_min_pixels", &P::video_min_pixels, "Smaller frames are scaled up; 0: no bound.")
      .min(0);
  schema.field("freeze_vision_tower", &P::freeze_vision_tower,
               "Keep the vision tower's weights (Qwen3-VL: with its deepstack mergers).");
  schema.field("freeze_projector", &P::freeze_projector,
               "Keep the weights of the merger behind the tower.");
  schema.field("freeze_language_model", &P::freeze_language_model,
               "Keep the weights of embeddings, decoder and output layer.");
  schema.field("gradient_checkpointing", &P::gradient_checkpointing,
               "In training keep only the input of each layer and compute the layer again in the "
               "backward pass: less memory, a "
               "third more work, the same gradients.");
  schema
      .field("lora_rank", &P::lora_rank,
             "Train LoRA adapters of this rank and keep all other weights; 0: train the weights.")
      .min(0)
      .max(4096);
  schema
      .field("lora_alpha", &P::lora_alpha,
             "Adapters count lora_alpha / lora_rank; 0: twice the rank, as LLaMA-Factory.")
      .min(0);
  schema.field("lora_dropout", &P::lora_dropout, "Dropout before the adapters, in training.")
      .min(0)
      .max(0.99);
  schema.field("lora_targets", &P::lora_targets,
               "Layers that are adapted, by the end of their name (q_proj), also in the vision "
               "tower where that is not frozen; all: every "
               "linear layer of the language model.");
  schema.field("use_rslora", &P::use_rslora, "Adapters count lora_alpha / sqrt(lora_rank).");
  schema.field(
      "adapter", &P::adapter,
      "Folder of a LoRA adapter (PEFT) to go on training, not merged; it brings rank and alpha.");
  schema.field("merge_adapter", &P::merge_adapter,
               "Save whole weights with the adapter merged instead of the adapter.");
  schema
      .field("feature_cache_mb", &P::feature_cache_mb,
             "Memory for what the vision tower made of pictures, in MiB, used while its weights "
             "stay; -1: 256 where tower and "
             "projector are frozen; else, where models with the same tower are at work in one "
             "process, 2048 that they share.")
      .min(-1);
  schema.field("feature_cache", &P::feature_cache,
               "Folder for the same on disk, for later runs and other processes; relative to the "
               "current folder; empty: none.");
  schema
      .field("feature_cache_disk_mb", &P::feature_cache_disk_mb,
             "Most that the folder holds, in MiB.")
      .min(1);
  schema.field("image_cache_mb", &P::image_cache_mb, "Memory for prepared images, in MiB.").min(1);
}

VlBackbone::VlBackbone(Family family, const VlBackboneParams& params, Context& context)
    : params_(params),
      config_(read_config(family, params.checkpoint)),
      images_(ImageProcessorConfig::of(params.checkpoint)),
      tokenizer_(params.checkpoint / "tokenizer.json"),
      encoder_(tokenizer_, context.media(), encoder_options()),
      seed_(context.rng("lora").next()),
      model_(config_, options_of(params, config_)) {
  if (images_.patch != config_.vision.patch || images_.merge != config_.vision.merge ||
      images_.temporal != config_.vision.temporal)
    throw ModelError(fmt::format(
        "{}: config.json and the image processor's differ in patch, merge or temporal size",
        params.checkpoint.string()));
  if (tokenizer_.size() > config_.text.vocabulary)
    throw ModelError(fmt::format("{}: tokenizer.json has {} tokens, config.json room for {}",
                                 params.checkpoint.string(), tokenizer_.size(),
                                 config_.text.vocabulary));
  model_.load(Checkpoint(params_.checkpoint), at::get_num_threads());
  model_.set_recompute(params.gradient_checkpointing);
  for (const auto& [name, tensor] : model_.parameters()) tensor.requires_grad_(trainable(name));
  if (params.lora_rank > 0 || !params.adapter.empty()) model_.add_adapters(lora_options());
  const bool still = model_.adapters() ? !model_.adapters()->any_in_tower()
                                       : params.freeze_vision_tower && params.freeze_projector;
  const std::int64_t memory =
      params.feature_cache_mb < 0 ? (still ? 256 : 0) : params.feature_cache_mb;
  FeatureCacheOptions cache{static_cast<std::uint64_t>(memory) << 20, params.feature_cache,
                            static_cast<std::uint64_t>(params.feature_cache_disk_mb) << 20, false};
  if (memory == 0 && params.feature_cache.empty() && params.feature_cache_mb < 0) {
    cache.memory_bytes = kSharedFeatures;
    cache.shared = true;
  }
  if (cache.memory_bytes > 0 || !cache.folder.empty())
    model_.set_feature_cache(std::make_unique<FeatureCache>(cache));
}

LoraOptions VlBackbone::lora_options() const {
  if (params_.lora_rank > 0 && !params_.adapter.empty())
    throw ConfigError("adapter brings its own rank: leave lora_rank out");
  if (LoraAdapter::is_adapter(params_.checkpoint) && !params_.merge_adapter)
    throw ConfigError(
        fmt::format("{}: is an adapter itself; name its base as checkpoint and it as adapter, or "
                    "set merge_adapter = true to train on top of "
                    "both and save whole weights",
                    params_.checkpoint.string()));
  LoraOptions options;
  options.rank = params_.lora_rank;
  options.alpha = params_.lora_alpha;
  options.dropout = params_.lora_dropout;
  options.rank_stabilised = params_.use_rslora;
  options.targets = params_.lora_targets;
  options.tower = !params_.freeze_vision_tower;
  options.seed = seed_;
  options.from = params_.adapter;
  return options;
}

EncodedTree VlBackbone::encode(const Prompt& prompt, std::span<const std::string_view> responses) {
  return encoder_.encode(prompt, responses);
}

at::Tensor VlBackbone::forward(std::span<const TokenTree* const> trees, HiddenState state,
                               std::span<const std::int64_t> rows) {
  return forward_trees(model_, trees, images_, state, rows);
}

at::Tensor VlBackbone::logits(const at::Tensor& hidden) { return model_.logits(hidden); }

std::unique_ptr<Decoding> VlBackbone::decode(std::span<const TokenTree* const> prompts,
                                             std::span<const std::size_t> samples) {
  return std::make_unique<PackedDecoding>(model_, images_, prompts, samples);
}

std::vector<NamedParameter> VlBackbone::parameters() {
  std::vector<NamedParameter> all;
  for (const auto& [name, tensor] : model_.parameters())
    all.push_back({name, tensor, trainable(name)});
  if (model_.adapters())
    for (const auto& [name, tensor] : model_.adapters()->parameters())
      all.push_back({name, tensor, true});
  return all;
}

std::vector<std::int64_t> VlBackbone::end_tokens() const {
  const fs::path file = params_.checkpoint / "generation_config.json";
  std::vector<std::int64_t> ids;
  if (fs::exists(file)) {
    simdjson::dom::parser parser;
    simdjson::dom::element root, end;
    const std::string text = read_text_file(file);
    if (parser.parse(text).get(root))
      throw ModelError(fmt::format("{}: is not JSON", file.string()));
    std::int64_t id = 0;
    simdjson::dom::array list;
    if (!root["eos_token_id"].get(end)) {
      if (!end.get(id)) ids.push_back(id);
      if (!end.get(list))
        for (const auto item : list)
          if (!item.get(id)) ids.push_back(id);
    }
  }
  if (ids.empty())
    if (const auto id = tokenizer_.id("<|im_end|>")) ids.push_back(*id);
  return ids;
}

void VlBackbone::reload() {
  model_.load(Checkpoint(params_.checkpoint), at::get_num_threads());
  if (model_.adapters()) model_.adapters()->reset();
}

void VlBackbone::save(const fs::path& folder) {
  fs::create_directories(folder);
  if (!model_.adapters()) {
    NamedTensors tensors;
    for (const auto& [name, tensor] : model_.parameters())
      tensors.emplace_back(name, tensor.detach());
    save_weights(folder, tensors, {.type = config_.type});
  } else if (params_.merge_adapter) {
    save_merged(folder);
  } else {
    model_.adapters()->save(folder, fs::absolute(params_.checkpoint).lexically_normal().string());
  }
  // What describes the model is the same before and after training.
  constexpr std::array kBeside{"config.json",
                               "generation_config.json",
                               "tokenizer.json",
                               "tokenizer_config.json",
                               "special_tokens_map.json",
                               "added_tokens.json",
                               "vocab.json",
                               "merges.txt",
                               "chat_template.json",
                               "chat_template.jinja",
                               "preprocessor_config.json",
                               "video_preprocessor_config.json",
                               "processor_config.json"};
  for (const char* name : kBeside)
    if (fs::exists(params_.checkpoint / name))
      write_text_file(folder / name, read_text_file(params_.checkpoint / name));
}

// One merged weight is in memory at a time.
void VlBackbone::save_merged(const fs::path& folder) const {
  std::vector<TensorPlan> plans;
  for (const auto& [name, tensor] : model_.parameters())
    plans.push_back({name, dtype_of(config_.type), tensor.sizes().vec()});
  write_weights(folder, plans, {}, [&](const TensorPlan& plan, const ByteSink& sink) {
    const at::Tensor tensor =
        model_.merged_parameter(plan.name).to(at::kCPU, config_.type).contiguous();
    sink({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
  });
}

bool VlBackbone::trainable(const std::string& name) const {
  if (params_.lora_rank > 0 || !params_.adapter.empty()) return false;
  if (!name.starts_with("model.visual.") && !name.starts_with("visual."))
    return !params_.freeze_language_model;
  const bool projector =
      name.find("visual.merger.") !=
      std::string::npos;  // deepstack mergers: of the tower, as LLaMA-Factory has it
  return projector ? !params_.freeze_projector : !params_.freeze_vision_tower;
}

TreeEncoder::Options VlBackbone::encoder_options() const {
  TreeEncoder::Options options;
  const std::string automatic =
      config_.family == Family::qwen3_vl ? "qwen3_vl_nothink" : "qwen2_vl";
  options.form = chat_template_named(
      params_.chat_template == "auto" ? automatic : params_.chat_template, params_.template_form);
  options.family = config_.family;
  options.videos = video_options();
  options.image_token = config_.image_token;
  options.images = images_;
  options.image_min_pixels = params_.image_min_pixels;
  options.image_max_pixels = params_.image_max_pixels;
  options.cutoff = static_cast<std::size_t>(params_.cutoff_len);
  options.cache_bytes = static_cast<std::size_t>(params_.image_cache_mb) << 20;
  return options;
}

VideoOptions VlBackbone::video_options() const {
  VideoOptions options;
  options.token = config_.video_token;
  options.sampling.rule = params_.video_rule == "processor" ? VideoSampling::Rule::processor
                                                            : VideoSampling::Rule::llamafactory;
  options.sampling.fps = params_.video_fps;
  options.sampling.max_frames = static_cast<int>(params_.video_max_frames);
  options.limits = VideoLimits::read(params_.checkpoint, images_);
  options.min_pixels = params_.video_min_pixels;
  options.max_pixels = params_.video_max_pixels;
  options.tokens_per_second = static_cast<std::int64_t>(config_.vision.tokens_per_second);
  return options;
}

}  // namespace dt2it::nn
