// SPDX-License-Identifier: Apache-2.0
#pragma once

// Small models with random weights, and trees for them.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "core/nn/mrope.hpp"
#include "core/nn/packed_batch.hpp"

namespace dt2it::testing {

using namespace dt2it::nn;

inline ModelConfig tiny_config(Family family = Family::qwen3_vl) {
  ModelConfig config;
  config.family = family;
  config.vision = {.depth = 2,
                   .hidden = 16,
                   .heads = 2,
                   .intermediate = 24,
                   .out_hidden = 24,
                   .patch = 4,
                   .merge = 2,
                   .temporal = 2,
                   .channels = 3,
                   .position_side = 5,
                   .deepstack = {0}};
  config.text = {.layers = 2,
                 .hidden = 24,
                 .heads = 4,
                 .kv_heads = 2,
                 .head_dim = 12,
                 .intermediate = 40,
                 .vocabulary = 50,
                 .rope_theta = 1e4,
                 .norm_epsilon = 1e-6,
                 .initial_deviation = 0.3,
                 .mrope_section = {2, 2, 2},
                 .tied = true};
  config.image_token = 7;
  if (family == Family::qwen2_5_vl) {
    config.vision.position_side = 0;
    config.vision.deepstack.clear();
    config.vision.window = 1;
    config.vision.full_attention = {1};
  }
  return config;
}

inline ImageProcessorConfig tiny_images() {
  ImageProcessorConfig config;
  config.patch = 4;
  config.min_pixels = 64;
  return config;
}

inline std::shared_ptr<const PreparedVisual> drawn(int width, int height, std::uint64_t seed) {
  auto image = std::make_shared<PreparedVisual>();
  image->width = width;
  image->height = height;
  image->tokens = width * height / 64;
  Rng rng(seed);
  image->rgb.resize(static_cast<std::size_t>(width * height * 3));
  for (auto& value : image->rgb) value = static_cast<std::uint8_t>(rng.below(256));
  return image;
}

// A prompt with `images` pictures and the given branches.
inline TokenTree made_tree(Rng& rng, int images, const std::vector<std::size_t>& lengths) {
  TokenTree tree;
  MropePositions positions(tree.positions);
  const auto text = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      tree.tokens.push_back(10 + static_cast<std::int64_t>(rng.below(40)));
    positions.text(count);
  };
  text(2);
  for (int k = 0; k < images; ++k) {
    const int columns = rng.integer(1, 3);
    tree.visual_runs.push_back(
        {tree.tokens.size(), tree.visuals.size(), 0, static_cast<std::size_t>(2 * columns)});
    tree.visuals.push_back(drawn(8 * columns, 16, rng.next()));
    tree.tokens.insert(tree.tokens.end(), static_cast<std::size_t>(2 * columns), 7);
    positions.visual(2, columns);
    text(1);
  }
  text(3);
  tree.prefix = tree.tokens.size();
  const std::int64_t after = positions.next();
  for (const std::size_t length : lengths) {
    positions.go_on_at(after);
    text(length);
    tree.branch_ends.push_back(tree.tokens.size());
  }
  return tree;
}

inline double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace dt2it::testing
