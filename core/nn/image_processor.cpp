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

constexpr int kFixedBits = 22;  // fixed-point weights, as Pillow has them for 8-bit pixels

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// Which inputs make one output, with fixed-point weights that sum to one.
struct Taps {
  int first = 0;
  std::vector<std::int32_t> weights;
};

std::vector<Taps> taps(int from, int to) {
  const double scale = static_cast<double>(from) / to;
  const double stretch = std::max(scale, 1.0);  // antialiasing: the kernel covers what one output pixel covers
  const double support = 2 * stretch;
  std::vector<Taps> all(static_cast<std::size_t>(to));
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int last = std::min(from, static_cast<int>(centre + support + 0.5));
    std::vector<double> weights;
    double sum = 0;
    for (int k = first; k < last; ++k) {
      weights.push_back(cubic((k - centre + 0.5) / stretch));
      sum += weights.back();
    }
    Taps& out = all[static_cast<std::size_t>(i)];
    out.first = first;
    for (const double weight : weights)
      out.weights.push_back(static_cast<std::int32_t>(
          std::trunc(weight / sum * (1 << kFixedBits) + (weight < 0 ? -0.5 : 0.5))));
  }
  return all;
}

std::uint8_t clamp8(std::int64_t fixed) {
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>(fixed >> kFixedBits, 0, 255));
}

}  // namespace

ImageProcessorConfig ImageProcessorConfig::read(const std::filesystem::path& file) {
  ImageProcessorConfig config;
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const std::string text = read_text_file(file);
  if (parser.parse(text).get(root) || !root.is_object())
    throw ModelError(fmt::format("{}: is not a JSON object", file.string()));
  const auto integer = [&](const char* name, auto& out) {
    std::int64_t value = 0;
    if (!root[name].get(value)) out = static_cast<std::remove_reference_t<decltype(out)>>(value);
  };
  integer("patch_size", config.patch);
  integer("merge_size", config.merge);
  integer("temporal_patch_size", config.temporal);
  std::int64_t bound = 0;
  if (!root["size"]["shortest_edge"].get(bound)) config.min_pixels = bound;
  if (!root["size"]["longest_edge"].get(bound)) config.max_pixels = bound;
  integer("min_pixels", config.min_pixels);
  integer("max_pixels", config.max_pixels);
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
    throw ModelError(fmt::format("{}: patch, merge, temporal_patch_size and pixel bounds must be positive", file.string()));
  return config;
}

Size smart_resize(Size size, int factor, std::int64_t min_pixels, std::int64_t max_pixels) {
  const double width = size.width, height = size.height;
  if (size.width < 1 || size.height < 1 || std::max(width, height) / std::min(width, height) > 200)
    throw DataError(fmt::format("an image of {}x{} pixels cannot be used (aspect ratio above 200)", size.width, size.height));
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

Size limit_resize(Size size, std::int64_t min_pixels, std::int64_t max_pixels) {
  const auto scaled = [&](std::int64_t pixels) {
    const double factor = std::sqrt(static_cast<double>(pixels) / (static_cast<double>(size.width) * size.height));
    size = {static_cast<int>(size.width * factor), static_cast<int>(size.height * factor)};
  };
  if (max_pixels > 0 && std::int64_t{size.width} * size.height > max_pixels) scaled(max_pixels);
  if (min_pixels > 0 && std::int64_t{size.width} * size.height < min_pixels) scaled(min_pixels);
  if (std::min(size.width, size.height) < 28) size = {std::max(size.width, 28), std::max(size.height, 28)};
  if (size.width > 200 * size.height) size.width = 180 * size.height;
  if (size.height > 200 * size.width) size.height = 180 * size.width;
  return size;
}

Image resize_bicubic(const Image& image, Size to) {
  if (to == Size{image.width, image.height}) return image;
  constexpr std::int64_t kHalf = std::int64_t{1} << (kFixedBits - 1);
  Image wide{to.width, image.height, {}};
  if (to.width == image.width) {
    wide.rgb = image.rgb;
  } else {
    wide.rgb.resize(static_cast<std::size_t>(to.width) * static_cast<std::size_t>(image.height) * 3);
    const auto columns = taps(image.width, to.width);
    for (int y = 0; y < image.height; ++y)
      for (int x = 0; x < to.width; ++x) {
        const Taps& tap = columns[static_cast<std::size_t>(x)];
        const std::uint8_t* in = &image.rgb[(static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) +
                                             static_cast<std::size_t>(tap.first)) * 3];
        std::uint8_t* out = &wide.rgb[(static_cast<std::size_t>(y) * static_cast<std::size_t>(to.width) +
                                       static_cast<std::size_t>(x)) * 3];
        std::int64_t sum[3] = {kHalf, kHalf, kHalf};
        for (const std::int32_t weight : tap.weights)
          for (int c = 0; c < 3; ++c) sum[c] += std::int64_t{weight} * *in++;
        for (int c = 0; c < 3; ++c) out[c] = clamp8(sum[c]);
      }
  }
  if (to.height == image.height) return wide;
  Image result{to.width, to.height, {}};
  const std::size_t stride = static_cast<std::size_t>(to.width) * 3;
  result.rgb.resize(stride * static_cast<std::size_t>(to.height));
  const auto rows = taps(image.height, to.height);
  for (int y = 0; y < to.height; ++y) {
    const Taps& tap = rows[static_cast<std::size_t>(y)];
    for (std::size_t x = 0; x < stride; ++x) {
      std::int64_t sum = kHalf;
      const std::uint8_t* in = &wide.rgb[static_cast<std::size_t>(tap.first) * stride + x];
      for (const std::int32_t weight : tap.weights) {
        sum += std::int64_t{weight} * *in;
        in += stride;
      }
      result.rgb[static_cast<std::size_t>(y) * stride + x] = clamp8(sum);
    }
  }
  return result;
}

PreparedVisual prepare_image(const Image& image, const ImageProcessorConfig& config, std::int64_t limit_min_pixels,
                            std::int64_t limit_max_pixels) {
  const Size limited = limit_resize({image.width, image.height}, limit_min_pixels, limit_max_pixels);
  const int factor = config.patch * config.merge;
  const Size final = smart_resize(limited, factor, config.min_pixels, config.max_pixels);
  PreparedVisual prepared;
  prepared.width = final.width;
  prepared.height = final.height;
  prepared.tokens = (final.width / factor) * (final.height / factor);
  if (limited == Size{image.width, image.height} && final == limited)
    prepared.rgb = image.rgb;
  else
    prepared.rgb = resize_bicubic(resize_bicubic(image, limited), final).rgb;
  return prepared;
}

void write_patches(const PreparedVisual& image, const ImageProcessorConfig& config, float* out) {
  const int p = config.patch;
  std::array<std::array<float, 256>, 3> level;  // normalised value of each grey level
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t v = 0; v < 256; ++v)
      level[c][v] = (static_cast<float>(v) - config.mean[c] * 255.f) / (config.deviation[c] * 255.f);
  const int blocks_y = image.height / p / config.merge, blocks_x = image.width / p / config.merge;
  for (int by = 0; by < blocks_y; ++by)
    for (int bx = 0; bx < blocks_x; ++bx)
      for (int iy = 0; iy < config.merge; ++iy)
        for (int ix = 0; ix < config.merge; ++ix) {
          const int top = (by * config.merge + iy) * p, left = (bx * config.merge + ix) * p;
          for (std::size_t c = 0; c < 3; ++c)
            for (int frame = 0; frame < config.temporal; ++frame)
              for (int y = 0; y < p; ++y) {
                const std::uint8_t* in = &image.rgb[(static_cast<std::size_t>(top + y) * static_cast<std::size_t>(image.width) +
                                                     static_cast<std::size_t>(left)) * 3 + c];
                for (int x = 0; x < p; ++x) *out++ = level[c][in[3 * x]];
              }
        }
}

}  // namespace dt2it::nn
