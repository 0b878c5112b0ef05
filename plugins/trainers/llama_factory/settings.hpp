// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dt2it/params.hpp"

namespace dt2it::llama_factory {

struct Params {
  std::filesystem::path checkpoint;
  std::string stage = "rm";
  std::string finetuning_type = "full";
  std::string chat_template = "auto";
  std::string dtype = "bfloat16";
  double learning_rate = 1e-5;
  std::int64_t batch_size = 32;
  std::int64_t micro_batch_size = 1;
  std::int64_t processes = 1;
  std::int64_t epochs = 1;
  double warmup_ratio = 0.1;
  double weight_decay = 0;
  double max_grad_norm = 1;
  bool freeze_vision_tower = true;
  bool freeze_projector = true;
  bool freeze_language_model = false;
  std::int64_t image_max_pixels = 268324;
  std::int64_t cutoff_len = 7168;
  bool gradient_checkpointing = true;
  bool shuffle = true;
  std::optional<std::int64_t> seed;
  std::int64_t lora_rank = 8;
  std::int64_t lora_alpha = 16;
  double lora_dropout = 0;
  std::string lora_target = "all";
  double dpo_beta = 0.1;
  std::int64_t save_steps = 100;
  std::int64_t keep_checkpoints = 2;
  std::vector<std::string> command{"llamafactory-cli"};
  std::vector<std::string> launcher;
  std::map<std::string, std::string> environment;
  std::map<std::string, std::string> extra;
  double stop_seconds = 30;

  static void describe(Schema<Params>& schema);
};

// Where things lie in the folder that survives an interruption.
struct Layout {
  explicit Layout(std::filesystem::path folder) : root(std::move(folder)) {}
  std::filesystem::path root;
  std::filesystem::path data() const { return root / "data"; }
  std::filesystem::path settings() const { return root / "train.yaml"; }
  std::filesystem::path result() const { return root / "out"; }  // LLaMA-Factory's output_dir
  std::filesystem::path log() const { return root / "llamafactory.log"; }
};

// Throws ConfigError: batch sizes that do not divide, `extra` that would break what is read back,
// an unknown family.
void check(const Params& params);

// "qwen3_vl_nothink" and the like; reads the checkpoint's config.json where the parameter says
// auto.
std::string chat_template(const Params& params);

// LLaMA-Factory's yaml. `resume`: its checkpoint to go on from, or empty.
std::string training_yaml(const Params& params, const Layout& layout, std::int64_t seed,
                          const std::filesystem::path& resume);
// The yaml of `llamafactory-cli export`, which merges an adapter.
std::string export_yaml(const Params& params, const std::filesystem::path& adapter,
                        const std::filesystem::path& output);

// Reward training: LLaMA-Factory does not go on with it by itself.
bool needs_resume_hook(const Params& params);

}  // namespace dt2it::llama_factory
