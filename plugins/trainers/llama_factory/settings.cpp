// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/llama_factory/settings.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <string_view>
#include <utility>

#include "plugins/trainers/llama_factory/files.hpp"

namespace dt2it::llama_factory {
namespace {

// Keys whose values this trainer reads results by, or has parameters for under another name.
constexpr std::array kReserved = {"model_name_or_path",
                                  "adapter_name_or_path",
                                  "stage",
                                  "do_train",
                                  "finetuning_type",
                                  "dataset",
                                  "dataset_dir",
                                  "media_dir",
                                  "output_dir",
                                  "logging_steps",
                                  "per_device_train_batch_size",
                                  "gradient_accumulation_steps",
                                  "resume_from_checkpoint",
                                  "overwrite_output_dir",
                                  "max_steps"};

class Yaml {
 public:
  explicit Yaml(const std::map<std::string, std::string>& overrides) : overrides_(overrides) {}
  void text(const char* key, std::string_view value) { put(key, quoted(value)); }
  void flag(const char* key, bool value) { put(key, value ? "true" : "false"); }
  void integer(const char* key, std::int64_t value) { put(key, std::to_string(value)); }
  // YAML 1.1 takes 1e-05 for a text, 1.0e-05 for a number.
  void number(const char* key, double value) {
    std::string text = fmt::format("{}", value);
    if (text.find('.') == std::string::npos)
      text.insert(std::min(text.find('e'), text.size()), ".0");
    put(key, text);
  }
  std::string finish() {
    for (const auto& [key, value] : overrides_) text_ += key + ": " + value + "\n";
    return std::move(text_);
  }

 private:
  // A JSON string is a YAML scalar.
  static std::string quoted(std::string_view value) {
    return boost::json::serialize(boost::json::string(value));
  }
  void put(const char* key, const std::string& value) {
    if (!overrides_.contains(key)) text_ += std::string(key) + ": " + value + "\n";
  }
  const std::map<std::string, std::string>& overrides_;
  std::string text_;
};

}  // namespace

void Params::describe(Schema<Params>& schema) {
  schema.field("checkpoint", &Params::checkpoint, "Folder in Hugging Face layout to start from.")
      .required()
      .argument();
  schema
      .field("stage", &Params::stage,
             "rm: a reward model; dpo: a language model on pairs; sft: on the chosen responses.")
      .choices({"rm", "dpo", "sft"});
  schema
      .field("finetuning_type", &Params::finetuning_type,
             "full: all weights that are not frozen; lora; freeze: the last layers.")
      .choices({"full", "lora", "freeze"});
  schema.field(
      "template", &Params::chat_template,
      "LLaMA-Factory's chat template; auto: qwen3_vl_nothink or qwen2_vl, by config.json.");
  schema
      .field("dtype", &Params::dtype,
             "bfloat16: mixed precision with float32 weights; float32: none.")
      .choices({"bfloat16", "float32"});
  schema
      .field("learning_rate", &Params::learning_rate,
             "Highest learning rate; linear warm-up, then half a cosine to 0.")
      .min(0);
  schema
      .field("batch_size", &Params::batch_size,
             "Pairs of one optimiser step, all processes together.")
      .min(1);
  schema
      .field("micro_batch_size", &Params::micro_batch_size,
             "Pairs of one forward pass of a process.")
      .min(1);
  schema
      .field("processes", &Params::processes,
             "Processes that train together; only for the arithmetic of batch_size: launcher and "
             "environment start them.")
      .min(1);
  schema.field("epochs", &Params::epochs, "Passes over the pairs.").min(1);
  schema
      .field("warmup_ratio", &Params::warmup_ratio,
             "Share of the steps in which the learning rate rises.")
      .min(0)
      .max(0.99);
  schema.field("weight_decay", &Params::weight_decay, "Decoupled weight decay.").min(0);
  schema
      .field("max_grad_norm", &Params::max_grad_norm,
             "Gradients are scaled down to this norm; 0: never.")
      .min(0);
  schema.field("freeze_vision_tower", &Params::freeze_vision_tower,
               "Keep the vision tower's weights.");
  schema.field("freeze_projector", &Params::freeze_projector,
               "Keep the weights of the merger behind the tower.");
  schema.field("freeze_language_model", &Params::freeze_language_model,
               "Keep the weights of embeddings, decoder and output layer.");
  schema
      .field("image_max_pixels", &Params::image_max_pixels,
             "Larger images are scaled down to this many pixels.")
      .min(1);
  schema
      .field("cutoff_len", &Params::cutoff_len, "Longest prompt and response together, in tokens.")
      .min(1);
  schema.field("gradient_checkpointing", &Params::gradient_checkpointing,
               "Compute activations twice instead of keeping them.");
  schema.field("shuffle", &Params::shuffle,
               "New order in each epoch; false: the order of the pairs.");
  schema
      .field("seed", &Params::seed,
             "Instead of the one that the stage derives from the experiment's.")
      .min(0)
      .max(4294967295.0);
  schema.field("lora_rank", &Params::lora_rank, "Rank of LoRA adapters.").min(1);
  schema.field("lora_alpha", &Params::lora_alpha, "Scale of LoRA adapters, divided by the rank.")
      .min(1);
  schema.field("lora_dropout", &Params::lora_dropout, "Dropout before LoRA adapters.")
      .min(0)
      .max(0.99);
  schema.field("lora_target", &Params::lora_target,
               "Layers with adapters, with commas between them; all: every linear layer that is "
               "not frozen.");
  schema.field("dpo_beta", &Params::dpo_beta, "Strength of the reference model in DPO.").min(0);
  schema
      .field("save_steps", &Params::save_steps,
             "Steps between checkpoints, from which an interrupted training goes on.")
      .min(1);
  schema.field("keep_checkpoints", &Params::keep_checkpoints, "How many of them are kept.").min(1);
  schema.field("command", &Params::command,
               "LLaMA-Factory's program, and arguments that come before its verb.");
  schema.field("launcher", &Params::launcher,
               "What comes before it, e.g. [\"srun\", \"--nodes=8\"].");
  schema.field(
      "environment", &Params::environment,
      "Environment variables for it, e.g. { FORCE_TORCHRUN = \"1\", NPROC_PER_NODE = \"8\" }.");
  schema.field("extra", &Params::extra,
               "Further lines of its yaml, as they are, e.g. { deepspeed = \"ds_z2.json\" }; they "
               "win over the parameters here.");
  schema
      .field("stop_seconds", &Params::stop_seconds,
             "Time to end by itself when the run is stopped, before it is killed.")
      .min(0);
}

void check(const Params& params) {
  const auto fail = [](const std::string& what) {
    throw ConfigError("trainers/llama_factory: " + what);
  };
  if (params.command.empty()) fail("command must name a program");
  const std::int64_t at_once = params.micro_batch_size * params.processes;
  if (params.batch_size % at_once != 0)
    fail(fmt::format("batch_size {} is not a multiple of micro_batch_size x processes = {}",
                     params.batch_size, at_once));
  for (const auto& [key, value] : params.extra) {
    for (const std::string_view reserved : kReserved)
      if (key == reserved)
        fail(fmt::format("extra may not set {}: it is set by this trainer's own parameters", key));
    if (key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") !=
        std::string::npos)
      fail(fmt::format("extra: '{}' is no key of LLaMA-Factory (letters, digits and _)", key));
    if (value.find_first_of("\n\r") != std::string::npos || value.empty())
      fail(fmt::format("extra: {} must be one line of YAML", key));
  }
  chat_template(params);
}

std::string chat_template(const Params& params) {
  if (params.chat_template != "auto") return params.chat_template;
  const std::filesystem::path file = params.checkpoint / "config.json";
  const std::string family = text_member(read_json(file), "model_type");
  if (family == "qwen3_vl") return "qwen3_vl_nothink";
  if (family == "qwen2_5_vl") return "qwen2_vl";
  throw ConfigError(
      fmt::format("{}: model_type '{}' has no known template; give trainers/llama_factory's "
                  "parameter `template`",
                  file.string(), family));
}

bool needs_resume_hook(const Params& params) { return params.stage == "rm"; }

std::string training_yaml(const Params& params, const Layout& layout, std::int64_t seed,
                          const std::filesystem::path& resume) {
  Yaml yaml(params.extra);
  const bool adapter = params.finetuning_type == "lora";
  const bool weights_from_there = !resume.empty() && needs_resume_hook(params);
  yaml.text("model_name_or_path",
            (weights_from_there && !adapter ? resume : params.checkpoint).string());
  if (weights_from_there && adapter) yaml.text("adapter_name_or_path", resume.string());
  yaml.text("stage", params.stage);
  yaml.flag("do_train", true);
  yaml.text("finetuning_type", params.finetuning_type);
  yaml.text("template", chat_template(params));
  yaml.text("dataset", "pairs");
  yaml.text("dataset_dir", layout.data().string());
  yaml.text("media_dir", layout.data().string());
  yaml.text("output_dir", layout.result().string());
  yaml.number("learning_rate", params.learning_rate);
  yaml.text("lr_scheduler_type", "cosine");
  yaml.number("warmup_ratio", params.warmup_ratio);
  yaml.number("weight_decay", params.weight_decay);
  yaml.number("max_grad_norm", params.max_grad_norm);
  yaml.integer("per_device_train_batch_size", params.micro_batch_size);
  yaml.integer("gradient_accumulation_steps",
               params.batch_size / (params.micro_batch_size * params.processes));
  yaml.number("num_train_epochs", static_cast<double>(params.epochs));
  yaml.flag("freeze_vision_tower", params.freeze_vision_tower);
  yaml.flag("freeze_multi_modal_projector", params.freeze_projector);
  yaml.flag("freeze_language_model", params.freeze_language_model);
  yaml.integer("image_max_pixels", params.image_max_pixels);
  yaml.integer("cutoff_len", params.cutoff_len);
  yaml.flag("disable_gradient_checkpointing", !params.gradient_checkpointing);
  yaml.flag("disable_shuffling", !params.shuffle);
  yaml.flag("bf16", params.dtype == "bfloat16");
  yaml.integer("seed", seed);
  if (adapter) {
    yaml.integer("lora_rank", params.lora_rank);
    yaml.integer("lora_alpha", params.lora_alpha);
    yaml.number("lora_dropout", params.lora_dropout);
    yaml.text("lora_target", params.lora_target);
  }
  if (params.stage == "dpo") yaml.number("pref_beta", params.dpo_beta);
  yaml.integer("logging_steps", 1);
  yaml.flag("logging_nan_inf_filter",
            false);  // else a loss that is no number looks like a mean of earlier ones
  yaml.text("save_strategy", "steps");
  yaml.integer("save_steps", params.save_steps);
  yaml.integer("save_total_limit", params.keep_checkpoints);
  yaml.text("report_to", "none");
  return yaml.finish();
}

std::string export_yaml(const Params& params, const std::filesystem::path& adapter,
                        const std::filesystem::path& output) {
  static const std::map<std::string, std::string> none;
  Yaml yaml(none);
  yaml.text("model_name_or_path", params.checkpoint.string());
  yaml.text("adapter_name_or_path", adapter.string());
  yaml.text("stage", params.stage);
  yaml.text("finetuning_type", params.finetuning_type);
  yaml.text("template", chat_template(params));
  yaml.text("infer_dtype", params.dtype);
  yaml.text("export_dir", output.string());
  yaml.integer("export_size", 5);
  return yaml.finish();
}

}  // namespace dt2it::llama_factory
