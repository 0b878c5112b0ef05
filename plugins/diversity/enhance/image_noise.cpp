// SPDX-License-Identifier: Apache-2.0
#include "image_noise.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "dt2it/error.hpp"

namespace dt2it {
namespace {

void gaussian(cv::Mat& pixels, double strength, Rng& rng) {
  for (int y = 0; y < pixels.rows; ++y) {
    auto* row = pixels.ptr<std::uint8_t>(y);
    for (int i = 0; i < pixels.cols * 3; ++i)
      row[i] = cv::saturate_cast<std::uint8_t>(row[i] + rng.normal(0, 255 * strength));
  }
}

// A step of a diffusion's forward process, variance kept: the picture fades into noise as strength goes to 1.
void diffusion(cv::Mat& pixels, double strength, Rng& rng) {
  const double angle = strength * 1.5707963267948966, kept = std::cos(angle),
               added = std::sin(angle);
  for (int y = 0; y < pixels.rows; ++y) {
    auto* row = pixels.ptr<std::uint8_t>(y);
    for (int i = 0; i < pixels.cols * 3; ++i)
      row[i] = cv::saturate_cast<std::uint8_t>(127.5 + kept * (row[i] - 127.5) +
                                               added * rng.normal(0, 127.5));
  }
}

void salt_and_pepper(cv::Mat& pixels, double strength, Rng& rng) {
  for (int y = 0; y < pixels.rows; ++y)
    for (int x = 0; x < pixels.cols; ++x) {
      if (!rng.chance(strength)) continue;
      const std::uint8_t level = rng.chance(0.5) ? 255 : 0;
      pixels.at<cv::Vec3b>(y, x) = {level, level, level};
    }
}

void occlusion(cv::Mat& pixels, double strength, Rng& rng) {
  constexpr int kRectangles = 4;
  // Independent rectangles of area share a leave (1 - a)^n of the picture free.
  const double share = 1 - std::pow(1 - strength, 1.0 / kRectangles);
  for (int i = 0; i < kRectangles; ++i) {
    const double stretch = rng.uniform(0.75, 1.0 / 0.75);
    const double wide = std::min(1.0, std::sqrt(share) * stretch);
    const double high = std::min(1.0, share / wide);
    const int width = static_cast<int>(std::lround(wide * pixels.cols));
    const int height = static_cast<int>(std::lround(high * pixels.rows));
    const int left = rng.integer(0, pixels.cols - width);
    const int top = rng.integer(0, pixels.rows - height);
    if (width > 0 && height > 0)
      cv::rectangle(pixels, cv::Rect(left, top, width, height), cv::Scalar(128, 128, 128),
                    cv::FILLED);
  }
}

}  // namespace

const std::vector<std::string>& noise_kinds() {
  static const std::vector<std::string> kinds{"gaussian",  "salt_and_pepper", "blur",
                                              "occlusion", "downsample",      "diffusion"};
  return kinds;
}

Image add_noise(const Image& image, const std::string& kind, double strength, Rng& rng) {
  Image noised = image;
  if (image.width <= 0 || image.height <= 0) return noised;
  cv::Mat pixels(image.height, image.width, CV_8UC3, noised.rgb.data());
  if (kind == "gaussian") {
    gaussian(pixels, strength, rng);
  } else if (kind == "diffusion") {
    if (strength > 0) diffusion(pixels, strength, rng);
  } else if (kind == "salt_and_pepper") {
    salt_and_pepper(pixels, strength, rng);
  } else if (kind == "occlusion") {
    occlusion(pixels, strength, rng);
  } else if (kind == "blur") {
    const double sigma = strength * std::min(image.width, image.height) / 4.0;
    if (sigma > 0) cv::GaussianBlur(pixels, pixels, cv::Size(0, 0), sigma);
  } else if (kind == "downsample") {
    const auto kept = [strength](int side) {
      return std::max(1, static_cast<int>(std::lround(side * (1 - strength))));
    };
    cv::Mat small;
    cv::resize(pixels, small, cv::Size(kept(image.width), kept(image.height)), 0, 0,
               cv::INTER_AREA);
    cv::resize(small, pixels, pixels.size(), 0, 0, cv::INTER_LINEAR);
  } else {
    throw ConfigError("noise '" + kind + "' is not known");
  }
  return noised;
}

}  // namespace dt2it
