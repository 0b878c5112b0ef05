// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/weights/head_weights.hpp"

namespace dt2it {

struct ConvertRequest {
  std::filesystem::path from, to;
  WeightsOptions options;
  std::optional<HeadLayout> head;  // none: the head stays where it is
  std::optional<Dtype> type;       // of the model; the head keeps its own
  std::uint64_t max_shard_bytes = 5'000'000'000;
  bool merge_adapter = false;
  bool overwrite = false;  // an older checkpoint in `to`
};

struct Converted {
  std::size_t tensors = 0;
  WrittenWeights written;
  std::vector<std::string> copied;  // files that came along as they were
  std::vector<std::string> notes;
};

// Writes a checkpoint folder anew: weights under canonical names, its head in another layout, in
// another type, an adapter merged; config.json follows (architectures, num_labels, dtype), other
// files come along. Needs a few megabytes however large the model. The new folder appears whole or
// not at all. One that is there already is replaced only where that is asked for, where nothing of it is
// read (by links neither), and where it holds a checkpoint and nothing else. Throws ModelError,
// ConfigError.
Converted convert_checkpoint(const ConvertRequest& request);

// config.json of a model whose head has this layout: for score "...ForSequenceClassification" with
// num_labels 1 (as vLLM asks), else "...ForConditionalGeneration"; with the type, where it names
// one. All other text stays as it is, and there and back again gives the same bytes.
std::string converted_config(const std::string& text, std::optional<HeadLayout> head,
                             std::optional<Dtype> type);

}  // namespace dt2it
