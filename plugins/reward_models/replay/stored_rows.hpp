// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "dt2it/verdict_model.hpp"

namespace dt2it::replay {

// What a file says about one pair: rewards, or the verdicts of a judge.
struct StoredRow {
  std::array<Reward, 2> rewards;  // chosen, rejected
  std::optional<std::vector<JudgedSample>> samples;
  std::string benchmark;  // of this software's own verdicts.jsonl
  std::string id;         // where the file has one that must be the pair's
  std::string
      key;  // where rows are joined by content: id, question and the two responses in order of their bytes
  std::string where;
};

// Of files of these forms, seen from each record:
//   {"chosen": x, "rejected": y}                       LLaMA-Factory's generated_predictions.jsonl, `dt2it score`
//   {"rewards": [x, y], ...}                           MM-RLHF, R1-Reward: chosen first
//   {"ID", "Label", "output", ...}                     Multimodal RewardBench's judges: a reply for each pair
//   {"id", "query", "response", "ranking", "meta"}     VL-RewardBench's judges: a line for each sample
//   {"row", "samples", ...}                            an evaluate stage's verdicts.jsonl
// Throws DataError naming file and line.
std::vector<StoredRow> read_stored(const std::filesystem::path& file);

std::string key_of(const std::string& id, std::string question, std::string one, std::string two);

}  // namespace dt2it::replay
