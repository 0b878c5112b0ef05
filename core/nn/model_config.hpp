// SPDX-License-Identifier: Apache-2.0
#pragma once

// What config.json says about a Qwen-VL model.

#include <c10/core/ScalarType.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "core/nn/family.hpp"

namespace dt2it::nn {

struct VisionConfig {
  std::int64_t depth = 0, hidden = 0, heads = 0, intermediate = 0, out_hidden = 0;
  std::int64_t patch = 16, merge = 2, temporal = 2, channels = 3;
  // Qwen3-VL
  std::int64_t position_side = 0;       // the learned position table is side x side
  std::vector<std::int64_t> deepstack;  // blocks whose output feeds a deepstack merger
  // Qwen2.5-VL
  std::int64_t window = 0;                   // side of a window in merged tokens
  std::vector<std::int64_t> full_attention;  // blocks that attend to a whole frame
  double tokens_per_second = 0;              // temporal positions of a video

  // Floats of one patch.
  std::int64_t patch_length() const { return channels * temporal * patch * patch; }
};

struct TextConfig {
  std::int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0,
               vocabulary = 0;
  double rope_theta = 0, norm_epsilon = 1e-6, initial_deviation = 0.02;
  std::array<std::int64_t, 3> mrope_section{};  // frequencies of time, height, width
  bool tied = false;                            // the output layer is the embedding table

  // Which of the three positions turns each of the head_dim / 2 frequencies: sections one after another (Qwen2.5-VL) or
  // interleaved (Qwen3-VL).
  std::vector<std::int64_t> frequency_axes(Family family) const;
};

struct ModelConfig {
  Family family = Family::qwen3_vl;
  VisionConfig vision;
  TextConfig text;
  std::int64_t image_token = 0, video_token = 0, vision_start_token = 0, vision_end_token = 0;
  c10::ScalarType type = c10::ScalarType::Float;  // of the stored weights

  // config.json as the hub or transformers 4.5x and 5.x write it. Throws ModelError naming what is missing or not supported.
  static ModelConfig read(const std::filesystem::path& file);
};

}  // namespace dt2it::nn
