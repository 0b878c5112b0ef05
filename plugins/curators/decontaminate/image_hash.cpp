// SPDX-License-Identifier: Apache-2.0
#include "plugins/curators/decontaminate/image_hash.hpp"

#include <algorithm>
#include <array>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

namespace dt2it {
namespace {

constexpr int kSide = 32, kKept = 8;

std::optional<std::uint64_t> hash_of(const cv::Mat& grey) {
  cv::Mat small, values, frequencies;
  cv::resize(grey, small, cv::Size(kSide, kSide), 0, 0, cv::INTER_AREA);
  double low = 0, high = 0;
  cv::minMaxLoc(small, &low, &high);
  if (high - low < 4) return std::nullopt;  // what noise there is would decide
  small.convertTo(values, CV_32F);
  cv::dct(values, frequencies);
  std::array<float, kKept * kKept> kept{};
  for (int y = 0; y < kKept; ++y)
    for (int x = 0; x < kKept; ++x)
      kept[static_cast<std::size_t>(y * kKept + x)] = frequencies.at<float>(y, x);
  std::array<float, kKept * kKept> sorted = kept;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  const float median = sorted[sorted.size() / 2];
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < kept.size(); ++i)
    hash |= static_cast<std::uint64_t>(kept[i] > median) << i;
  return hash;
}

}  // namespace

std::optional<std::uint64_t> perceptual_hash(const Image& image) {
  if (image.width <= 0 || image.height <= 0) return std::nullopt;
  const cv::Mat pixels(image.height, image.width, CV_8UC3,
                       const_cast<std::uint8_t*>(image.rgb.data()));
  cv::Mat grey;
  cv::cvtColor(pixels, grey, cv::COLOR_RGB2GRAY);
  return hash_of(grey);
}

std::optional<std::uint64_t> perceptual_hash(std::span<const std::uint8_t> bytes, int width,
                                             int height) {
  constexpr std::int64_t kMaxPixels = 49'000'000;
  if (bytes.empty() || width <= 0 || height <= 0 || std::int64_t{width} * height > kMaxPixels)
    return std::nullopt;
  const int side = std::min(width, height);
  const int flag = side >= 8 * 4 * kSide   ? cv::IMREAD_REDUCED_GRAYSCALE_8
                   : side >= 4 * 4 * kSide ? cv::IMREAD_REDUCED_GRAYSCALE_4
                   : side >= 2 * 4 * kSide ? cv::IMREAD_REDUCED_GRAYSCALE_2
                                           : cv::IMREAD_GRAYSCALE;
  try {
    const cv::Mat raw(1, static_cast<int>(bytes.size()), CV_8UC1,
                      const_cast<std::uint8_t*>(bytes.data()));
    const cv::Mat grey = cv::imdecode(raw, flag | cv::IMREAD_IGNORE_ORIENTATION);
    if (grey.empty()) return std::nullopt;
    return hash_of(grey);
  } catch (const cv::Exception&) {
    return std::nullopt;
  }
}

}  // namespace dt2it
