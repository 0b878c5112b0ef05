// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a checkpoint says about how it was made.

#include <cstdint>
#include <map>
#include <string>

#include "dt2it/trainer.hpp"
#include "plugins/trainers/native/data_check.hpp"
#include "plugins/trainers/native/params.hpp"

namespace dt2it::native {

struct Facts {
  std::string base;                       // name of the backbone's folder
  std::string head_input = "final_norm";  // that is trained with
  std::uint64_t seed = 0;
  std::size_t pairs = 0, left_out = 0, truncated = 0;  // the last two over all epochs
  std::map<std::string, std::size_t> sources;          // pairs of each
  DataCheck check;
  TrainStep last;
  std::int64_t best_step = 0;  // 0: no held-out pairs
  double best_accuracy = 0;
};

// training.json. No times and no paths: the same data and seed give the same bytes.
std::string training_json(const Params& params, const Facts& facts);
// README.md with the metadata that the Hugging Face hub reads.
std::string model_card(const Params& params, const Facts& facts);

}  // namespace dt2it::native
