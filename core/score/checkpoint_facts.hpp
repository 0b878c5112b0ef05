// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace dt2it {

// What a checkpoint folder is, by its files; no weights are read, and no LibTorch is needed. Throws ModelError for a
// folder that is no checkpoint. Of what can be wrong with a checkpoint the rest is in `problems`.
struct CheckpointFacts {
  explicit CheckpointFacts(const std::filesystem::path& folder);

  std::string folder;
  std::string model_type;  // of config.json
  std::string architecture;
  std::string made_with;  // version of transformers that wrote config.json
  std::int64_t layers = 0, hidden = 0, vocabulary = 0, vision_layers = 0;
  std::uint64_t parameters = 0, bytes = 0;
  std::string types;  // "BF16", or several
  bool tied = false;
  std::string adapter, base;                      // folders, empty without an adapter
  std::string head_file, head_weight, head_bias;  // empty: none
  std::string head_layout;                        // "linear" or "two layers"
  std::uint64_t head_width = 0;
  std::string head_input;                    // as training.json says, or empty
  std::vector<std::string> present, absent;  // of the files that a model needs beside its weights
  std::vector<std::string> notes, problems;

  bool has_head() const { return !head_weight.empty(); }
  // What the program that wrote the checkpoint says about the head's input, as log-odds for final_norm: LLaMA-Factory's
  // heads of Qwen3-VL read the state before the norm under transformers 4, after it from 5.0 on.
  double head_input_odds() const;
  std::string text() const;
  std::string json() const;
};

}  // namespace dt2it
