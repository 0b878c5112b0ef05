// SPDX-License-Identifier: Apache-2.0
#include "plugins/curators/decontaminate/image_hash.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <vector>

namespace dt2it {
namespace {

constexpr int kKept = 8;
// Pixels that are enough in each direction: seven half-waves are seen as well through 48 as through 480.
constexpr int kEnough = 48;
// Grey levels. With less in all that is kept, what compression adds would decide.
constexpr double kLeastContrast = 0.5;

using Waves = std::array<float, kKept>;

// What each pixel has of the half-waves cos(pi k x) over one side of the picture. It was `extent` long and one pixel holds the mean
// of `step` of it, the last perhaps of less.
std::vector<Waves> waves(int pixels, double step, double extent) {
  std::vector<Waves> all(static_cast<std::size_t>(pixels));
  for (std::size_t k = 0; k < kKept; ++k) {
    const auto until = [&](double x) {
      x = std::min(x / extent, 1.0);
      return k == 0 ? x
                    : std::sin(std::numbers::pi * double(k) * x) / (std::numbers::pi * double(k));
    };
    // A wave loses by being averaged over pixels, here and in the picture.
    const double half = std::numbers::pi * double(k) * step / (2 * extent);
    const double seen = k == 0 ? 1 : std::sin(half) / half;
    const double scale = (k == 0 ? 1 : std::numbers::sqrt2) / (seen * seen);
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i][k] =
          static_cast<float>(scale * (until(step * double(i + 1)) - until(step * double(i))));
  }
  return all;
}

// `grey` is the picture of width x height with each `step` x `step` of it made one pixel.
std::optional<std::uint64_t> hash_of(const cv::Mat& grey, int step, int width, int height) {
  const std::vector<Waves> across = waves(grey.cols, step, width),
                           down = waves(grey.rows, step, height);
  std::array<std::array<double, kKept>, kKept> sums{};  // [down][across]
  for (int y = 0; y < grey.rows; ++y) {
    const std::uint8_t* const row = grey.ptr<std::uint8_t>(y);
    Waves line{};
    for (std::size_t x = 0; x < across.size(); ++x)
      for (std::size_t k = 0; k < kKept; ++k) line[k] += float(row[x]) * across[x][k];
    const Waves& weights = down[static_cast<std::size_t>(y)];
    for (std::size_t v = 0; v < kKept; ++v)
      for (std::size_t u = 0; u < kKept; ++u) sums[v][u] += double(weights[v]) * line[u];
  }
  std::array<double, kKept * kKept> kept{};
  for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = sums[i / kKept][i % kKept];
  double energy = 0;
  for (std::size_t i = 1; i < kept.size(); ++i) energy += kept[i] * kept[i];
  if (energy < kLeastContrast * kLeastContrast) return std::nullopt;
  std::array<double, kKept * kKept> sorted = kept;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  const double median = sorted[sorted.size() / 2];
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < kept.size(); ++i)
    hash |= static_cast<std::uint64_t>(kept[i] > median) << i;
  return hash;
}

bool is_jpeg(std::span<const std::uint8_t> bytes) {
  return bytes.size() > 2 && bytes[0] == 0xFF && bytes[1] == 0xD8;
}

}  // namespace

std::optional<std::uint64_t> perceptual_hash(const Image& image) {
  if (image.width <= 0 || image.height <= 0) return std::nullopt;
  const cv::Mat pixels(image.height, image.width, CV_8UC3,
                       const_cast<std::uint8_t*>(image.rgb.data()));
  cv::Mat grey;
  cv::cvtColor(pixels, grey, cv::COLOR_RGB2GRAY);
  return hash_of(grey, 1, image.width, image.height);
}

std::optional<std::uint64_t> perceptual_hash(std::span<const std::uint8_t> bytes, int width,
                                             int height) {
  constexpr std::int64_t kMaxPixels = 49'000'000;
  if (bytes.empty() || width <= 0 || height <= 0 || std::int64_t{width} * height > kMaxPixels)
    return std::nullopt;
  // JPEG can be decoded by means over 2, 4 or 8 pixels in a fraction of the time; no other type does it as exactly.
  int step = is_jpeg(bytes) ? 8 : 1;
  while (step > 1 && std::min(width, height) / step < kEnough) step /= 2;
  const int flag = step == 8   ? cv::IMREAD_REDUCED_GRAYSCALE_8
                   : step == 4 ? cv::IMREAD_REDUCED_GRAYSCALE_4
                   : step == 2 ? cv::IMREAD_REDUCED_GRAYSCALE_2
                               : cv::IMREAD_GRAYSCALE;
  try {
    const cv::Mat raw(1, static_cast<int>(bytes.size()), CV_8UC1,
                      const_cast<std::uint8_t*>(bytes.data()));
    const cv::Mat grey = cv::imdecode(raw, flag | cv::IMREAD_IGNORE_ORIENTATION);
    if (grey.empty()) return std::nullopt;
    const auto extent = [&](int said, int pixels) {
      return pixels == (said + step - 1) / step ? said : pixels * step;
    };
    return hash_of(grey, step, extent(width, grey.cols), extent(height, grey.rows));
  } catch (const cv::Exception&) {
    return std::nullopt;
  }
}

}  // namespace dt2it
