// SPDX-License-Identifier: Apache-2.0
#pragma once

// Images as Qwen-VL processors prepare them. Two resamplings stack in the reference: LLaMA-Factory
// first brings an image below `image_max_pixels`, then the model's own processor rounds its sides
// to whole tokens.

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "core/nn/resample.hpp"
#include "core/nn/video_sampling.hpp"
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

  // preprocessor_config.json, or an object in processor_config.json. Throws ModelError.
  static ImageProcessorConfig read(const std::filesystem::path& file, std::string_view object = {});
  // Of a checkpoint's folder: its preprocessor_config.json, else `image_processor` in
  // processor_config.json, where transformers keeps it from 5.0 on. Throws ModelError.
  static ImageProcessorConfig of(const std::filesystem::path& checkpoint);
  // Floats of one patch.
  int patch_length() const { return 3 * temporal * patch * patch; }
};

// Sides rounded (half to even) to multiples of `factor`, scaled so that their product lies within
// the bounds. Throws DataError for an aspect ratio above 200.
Size smart_resize(Size size, int factor, std::int64_t min_pixels, std::int64_t max_pixels);

// LLaMA-Factory's own resampling, before the processor: down to at most `max_pixels` or up to at
// least `min_pixels`, sides floored; then sides of at least 28, then an aspect ratio of at most
// 200. Each is a resampling of its own; mostly there is none or one. 0: no such bound. Throws
// DataError where a side would vanish.
std::vector<Size> limit_resize(Size size, std::int64_t min_pixels, std::int64_t max_pixels);

// A video's sizes: the same for all its frames.
struct VideoLimits {
  std::int64_t min_pixels = 4096;  // Qwen3-VL: of all frames together; Qwen2.5-VL: of one
  std::int64_t max_pixels = 25165824;

  // video_preprocessor_config.json, or `video_processor` in processor_config.json (transformers 5),
  // or where there is neither what is read for images, as 4.57.6 does. Throws ModelError when
  // patches there are other than those of images.
  static VideoLimits read(const std::filesystem::path& checkpoint,
                          const ImageProcessorConfig& images);
};

// A frame's size in a video of `frames`. Throws DataError.
Size video_resize(Size frame, std::int64_t frames, Family family,
                  const ImageProcessorConfig& images, const VideoLimits& limits);

// Pillow's resampling to each of `limited`, then the processor's to `final`, where sizes differ.
Image resize_all(Image image, std::span<const Size> limited, Size final);

// Both resamplings. Throws DataError.
PreparedVisual prepare_image(Image image, const ImageProcessorConfig& config,
                             std::int64_t limit_min_pixels, std::int64_t limit_max_pixels);

// The patches of a visual, normalised: temporal steps one after another; within one, rows in the
// order of merged tokens (each merge x merge block together, blocks row by row); within a row
// channel, frame, y, x. The last frame is repeated to a whole step. `out` has room for
// patch_count() * patch_length() floats. `vector` is for tests.
void write_patches(const PreparedVisual& visual, const ImageProcessorConfig& config, float* out,
                   bool vector = true);
std::int64_t patch_count(const PreparedVisual& visual, const ImageProcessorConfig& config);

}  // namespace dt2it::nn
