// SPDX-License-Identifier: Apache-2.0
#include "core/nn/image_processor.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/nn/safetensors.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

// `min_pixels` and `max_pixels`, or the older names' successors in `size`.
void read_bounds(const simdjson::dom::element& root, std::int64_t& min_pixels,
                 std::int64_t& max_pixels) {
  std::int64_t bound = 0;
  if (!root["size"]["shortest_edge"].get(bound)) min_pixels = bound;
  if (!root["size"]["longest_edge"].get(bound)) max_pixels = bound;
  if (!root["min_pixels"].get(bound)) min_pixels = bound;
  if (!root["max_pixels"].get(bound)) max_pixels = bound;
}

constexpr const char* kProcessor = "processor_config.json";  // of both, one object for each

bool has_object(const std::filesystem::path& file, const char* name) {
  if (!std::filesystem::exists(file)) return false;
  simdjson::dom::parser parser;
  simdjson::dom::element root, object;
  return !parser.parse(read_text_file(file)).get(root) && !root[name].get(object) &&
         object.is_object();
}

}  // namespace

ImageProcessorConfig ImageProcessorConfig::read(const std::filesystem::path& file,
                                                std::string_view object) {
  ImageProcessorConfig config;
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const std::string text = read_text_file(file);
  if (parser.parse(text).get(root) || !root.is_object())
    throw ModelError(fmt::format("{}: is not a JSON object", file.string()));
  if (!object.empty() && (root[object].get(root) || !root.is_object()))
    throw ModelError(fmt::format("{}: '{}' is not a JSON object", file.string(), object));
  const auto integer = [&](const char* name, auto& out) {
    std::int64_t value = 0;
    if (!root[name].get(value)) out = static_cast<std::remove_reference_t<decltype(out)>>(value);
  };
  integer("patch_size", config.patch);
  integer("merge_size", config.merge);
  integer("temporal_patch_size", config.temporal);
  read_bounds(root, config.min_pixels, config.max_pixels);
  const auto triple = [&](const char* name, std::array<float, 3>& out) {
    simdjson::dom::array list;
    if (root[name].get(list)) return;
    for (std::size_t i = 0; i < 3; ++i) {
      double value = 0;
      if (list.at(i).get(value))
        throw ModelError(fmt::format("{}: {} must be three numbers", file.string(), name));
      out[i] = static_cast<float>(value);
    }
  };
  triple("image_mean", config.mean);
  triple("image_std", config.deviation);
  if (config.patch < 1 || config.merge < 1 || config.temporal < 1 || config.min_pixels < 1 ||
      config.max_pixels < config.min_pixels)
    throw ModelError(fmt::format(
        "{}: patch, merge, temporal_patch_size and pixel bounds must be positive", file.string()));
  return config;
}

ImageProcessorConfig ImageProcessorConfig::of(const std::filesystem::path& checkpoint) {
  const std::filesystem::path own = checkpoint / "preprocessor_config.json",
                              both = checkpoint / kProcessor;
  if (std::filesystem::exists(own)) return read(own);
  if (has_object(both, "image_processor")) return read(both, "image_processor");
  throw ModelError(
      fmt::format("{}: has no preprocessor_config.json and no image_processor in {}; "
                  "processor.save_pretrained of transformers writes one of them",
                  checkpoint.string(), kProcessor));
}

Size smart_resize(Size size, int factor, std::int64_t min_pixels, std::int64_t max_pixels) {
  const double width = size.width, height = size.height;
  if (size.width < 1 || size.height < 1 || std::max(width, height) / std::min(width, height) > 200)
    throw DataError(fmt::format("an image of {}x{} pixels cannot be used (aspect ratio above 200)",
                                size.width, size.height));
  // nearbyint rounds half to even in the default rounding mode
  double w = std::nearbyint(width / factor) * factor;
  double h = std::nearbyint(height / factor) * factor;
  if (w * h > static_cast<double>(max_pixels)) {
    const double beta = std::sqrt(width * height / static_cast<double>(max_pixels));
    w = std::max<double>(factor, std::floor(width / beta / factor) * factor);
    h = std::max<double>(factor, std::floor(height / beta / factor) * factor);
  } else if (w * h < static_cast<double>(min_pixels)) {
    const double beta = std::sqrt(static_cast<double>(min_pixels) / (width * height));
    w = std::ceil(width * beta / factor) * factor;
    h = std::ceil(height * beta / factor) * factor;
  }
  return {static_cast<int>(w), static_cast<int>(h)};
}

std::vector<Size> limit_resize(Size size, std::int64_t min_pixels, std::int64_t max_pixels) {
  std::vector<Size> steps;
  const auto to = [&](Size next) {
    if (next.width < 1 || next.height < 1)
      throw DataError(fmt::format("an image of {}x{} pixels cannot be used (a side would vanish)",
                                  size.width, size.height));
    if (next != size) steps.push_back(next);
    size = next;
  };
  const auto scaled = [&](std::int64_t pixels) {
    const double factor =
        std::sqrt(static_cast<double>(pixels) / (static_cast<double>(size.width) * size.height));
    to({static_cast<int>(size.width * factor), static_cast<int>(size.height * factor)});
  };
  if (max_pixels > 0 && std::int64_t{size.width} * size.height > max_pixels) scaled(max_pixels);
  if (min_pixels > 0 && std::int64_t{size.width} * size.height < min_pixels) scaled(min_pixels);
  if (std::min(size.width, size.height) < 28)
    to({std::max(size.width, 28), std::max(size.height, 28)});
  if (size.width > 200 * size.height) to({180 * size.height, size.height});
  if (size.height > 200 * size.width) to({size.width, 180 * size.width});
  return steps;
}

VideoLimits VideoLimits::read(const std::filesystem::path& checkpoint,
                              const ImageProcessorConfig& images) {
  const std::filesystem::path own = checkpoint / "video_preprocessor_config.json",
                              both = checkpoint / kProcessor;
  std::filesystem::path file = own;
  ImageProcessorConfig config;
  if (std::filesystem::exists(own)) {
    config = ImageProcessorConfig::read(own);
  } else if (has_object(both, "video_processor")) {
    config = ImageProcessorConfig::read(file = both, "video_processor");
  } else {
    config = ImageProcessorConfig::of(file = checkpoint);
  }
  if (config.patch != images.patch || config.merge != images.merge ||
      config.temporal != images.temporal || config.mean != images.mean ||
      config.deviation != images.deviation)
    throw ModelError(fmt::format(
        "{}: patches or normalisation of videos are other than those of images", file.string()));
  return {config.min_pixels, config.max_pixels};
}

Size video_resize(Size frame, std::int64_t frames, Family family,
                  const ImageProcessorConfig& images, const VideoLimits& limits) {
  const int factor = images.patch * images.merge;
  if (family == Family::qwen2_5_vl)
    return smart_resize(frame, factor, limits.min_pixels, limits.max_pixels);
  if (std::min(frame.width, frame.height) < factor)
    throw DataError(fmt::format("frames of {}x{} pixels are smaller than a token ({})", frame.width,
                                frame.height, factor));
  // As smart_resize, but for the pixels of all frames: rounded to whole steps (half to even; 5.x
  // rounds up) where they are compared, as they are where sides are scaled.
  const double rounded =
      std::nearbyint(static_cast<double>(frames) / images.temporal) * images.temporal;
  const double exact = static_cast<double>(frames);
  const double width = frame.width, height = frame.height;
  if (std::max(width, height) / std::min(width, height) > 200)
    throw DataError(fmt::format("frames of {}x{} pixels cannot be used (aspect ratio above 200)",
                                frame.width, frame.height));
  double w = std::nearbyint(width / factor) * factor, h = std::nearbyint(height / factor) * factor;
  if (rounded * w * h > static_cast<double>(limits.max_pixels)) {
    const double beta = std::sqrt(exact * height * width / static_cast<double>(limits.max_pixels));
    w = std::max<double>(factor, std::floor(width / beta / factor) * factor);
    h = std::max<double>(factor, std::floor(height / beta / factor) * factor);
  } else if (rounded * w * h < static_cast<double>(limits.min_pixels)) {
    const double beta =
        std::sqrt(static_cast<double>(limits.min_pixels) / (exact * height * width));
    w = std::ceil(width * beta / factor) * factor;
    h = std::ceil(height * beta / factor) * factor;
  }
  return {static_cast<int>(w), static_cast<int>(h)};
}

Image resize_all(Image image, std::span<const Size> limited, Size final) {
  for (const Size& size : limited) image = resize_bicubic(image, size, Rounding::pillow);
  if (final != Size{image.width, image.height})
    image = resize_bicubic(image, final, Rounding::torch);
  return image;
}

PreparedVisual prepare_image(Image image, const ImageProcessorConfig& config,
                             std::int64_t limit_min_pixels, std::int64_t limit_max_pixels) {
  const Size size{image.width, image.height};
  const std::vector<Size> limited = limit_resize(size, limit_min_pixels, limit_max_pixels);
  const int factor = config.patch * config.merge;
  const Size final = smart_resize(limited.empty() ? size : limited.back(), factor,
                                  config.min_pixels, config.max_pixels);
  PreparedVisual prepared;
  prepared.width = final.width;
  prepared.height = final.height;
  prepared.tokens = (final.width / factor) * (final.height / factor);
  prepared.rgb = resize_all(std::move(image), limited, final).rgb;
  return prepared;
}

}  // namespace dt2it::nn
