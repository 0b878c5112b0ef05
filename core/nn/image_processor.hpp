// SPDX-License-Identifier: Apache-2.0
#pragma once

// Images as Qwen-VL processors prepare them. Two resamplings stack in the reference: LLaMA-Factory first brings an
// image below `image_max_pixels`, then the model's own processor rounds its sides to whole tokens.

#include <array>
#include <cstdint>
#include <filesystem>

#include "dt2it/backbone.hpp"
#include "dt2it/media.hpp"

namespace dt2it::nn {

struct ImageProcessorConfig {
  int patch = 16;
  int merge = 2;
  int temporal = 2;  // an image is repeated this often
  std::int64_t min_pixels = 65536;
  std::int64_t max_pixels = 16777216;
  std::array<float, 3> mean{.5f, .5f, .5f};
  std::array<float, 3> deviation{.5f, .5f, .5f};

  // preprocessor_config.json. Throws ModelError.
  static ImageProcessorConfig read(const std::filesystem::path& file);
  // Floats of one patch.
  int patch_length() const { return 3 * temporal * patch * patch; }
};

struct Size {
  int width = 0, height = 0;
  bool operator==(const Size&) const = default;
};

// Sides rounded (half to even) to multiples of `factor`, scaled so that their product lies within the bounds.
// Throws DataError for an aspect ratio above 200.
Size smart_resize(Size size, int factor, std::int64_t min_pixels, std::int64_t max_pixels);

// LLaMA-Factory's step: scales down to at most `max_pixels` or up to at least `min_pixels`, sides floored; sides of at
// least 28 and an aspect ratio of at most 200 afterwards. 0: no such bound.
Size limit_resize(Size size, std::int64_t min_pixels, std::int64_t max_pixels);

// Bicubic (a = -0.5) with antialiasing: the horizontal pass is rounded to 8 bits, then the vertical one.
Image resize_bicubic(const Image& image, Size to);

// Both resamplings.
PreparedVisual prepare_image(const Image& image, const ImageProcessorConfig& config, std::int64_t limit_min_pixels,
                            std::int64_t limit_max_pixels);

// The patches of an image, normalised: rows in the order of merged tokens (each merge x merge block together, blocks
// row by row), within a row channel, frame, y, x. `out` has room for width * height / patch^2 * patch_length() floats.
void write_patches(const PreparedVisual& image, const ImageProcessorConfig& config, float* out);

}  // namespace dt2it::nn
