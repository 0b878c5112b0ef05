// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dt2it/params.hpp"

namespace dt2it::native {

// What the method optimises.
enum class Objective : std::uint8_t { reward, dpo, next_token };

struct Params {
  std::string backbone;
  std::string loss = "bradley_terry";
  std::string recipe = "clean";
  // Bradley-Terry
  double margin = 0;
  double margin_from_strength = 0;
  double label_smoothing = 0;
  double soft_labels = 0;
  double centering = 0;
  double tie_theta = 1;
  double tie_strength = 0;
  // DPO
  double beta = 0.1;
  double sft_weight = 0;
  std::string reference = "start";
  // optimiser
  double learning_rate = 1e-5;
  std::optional<double> head_learning_rate;
  std::optional<double> projector_learning_rate;
  std::optional<double> vision_learning_rate;
  std::vector<double> betas{0.9, 0.999};
  double epsilon = 1e-8;
  double weight_decay = 0;
  bool master_weights = true;
  std::string optimizer = "adamw";
  double muon_learning_rate = 0.02;
  std::int64_t batch_size = 32;
  std::int64_t micro_batch_size = 0;
  std::int64_t tokens_per_pack = 16384;
  std::int64_t epochs = 1;
  std::int64_t max_steps = 0;
  std::string schedule = "cosine";
  double warmup_ratio = 0.1;
  double max_grad_norm = 1;
  // head
  std::string head_init = "auto";
  std::string head_input = "auto";
  std::optional<double> head_dropout;
  std::string positive = "right";
  std::string negative = "wrong";
  // data
  std::string order = "auto";
  std::int64_t order_seed = -1;
  // checkpoints and evaluation
  std::int64_t evaluate_every = 0;
  std::int64_t save_every = 0;
  std::int64_t keep_checkpoints = 0;
  std::string keep = "last";
  std::int64_t stuck_steps = 100;
  // machine
  int threads = 1;
  int encoder_threads = 1;
  std::int64_t prefetch = 2;
  double process_timeout = 1800;

  static void describe(Schema<Params>& schema);
  // Throws ConfigError for settings that contradict each other.
  void check() const;

  // What "auto" means under the recipe.
  bool llamafactory() const { return recipe == "llamafactory"; }
  Objective objective() const;
  double dropout() const;
  std::string initial_head() const;
  std::string pair_order() const;
};

}  // namespace dt2it::native
