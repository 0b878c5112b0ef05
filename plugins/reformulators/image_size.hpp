// SPDX-License-Identifier: Apache-2.0
#pragma once

// How large the two images of a preference are made, so that their size neither breaks the budget
// of pixels nor tells which is better. Shared by the reformulators.

#include <algorithm>
#include <cmath>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <string>
#include <utility>

#include "dt2it/context.hpp"
#include "dt2it/media.hpp"
#include "dt2it/params.hpp"

namespace dt2it {

struct ImageSizeParams {
  std::string image_size = "as_is";
  std::int64_t max_pixels = 1 << 20;
};

template <class P>
void describe_image_size(Schema<P>& schema) {
  schema
      .field("image_size", static_cast<std::string P::*>(&P::image_size),
             "as_is; shrink: what has more than max_pixels is scaled down to it; same: besides, "
             "the larger of the two images is scaled "
             "down to the area of the smaller one.")
      .choices({"as_is", "shrink", "same"});
  schema
      .field("max_pixels", static_cast<std::int64_t P::*>(&P::max_pixels),
             "Largest area of an image under shrink and same.")
      .min(1024);
}

// Thread-safe. An image that cannot be decoded comes back without an id, the reason in `source`.
class ImageSizer {
 public:
  ImageSizer(const ImageSizeParams& params, Context& context)
      : params_(params), context_(context) {}

  std::pair<Media, Media> fit(const Media& one, const Media& other) const {
    if (params_.image_size == "as_is") return {one, other};
    const double limit = static_cast<double>(params_.max_pixels);
    double areas[] = {area(one), area(other)};
    double wanted[] = {std::min(areas[0], limit), std::min(areas[1], limit)};
    if (params_.image_size == "same" && areas[0] > 0 && areas[1] > 0)
      wanted[0] = wanted[1] = std::min(wanted[0], wanted[1]);
    return {scaled(one, areas[0], wanted[0]), scaled(other, areas[1], wanted[1])};
  }

 private:
  static double area(const Media& media) { return static_cast<double>(media.width) * media.height; }

  Media scaled(const Media& media, double area, double wanted) const {
    if (area > 0 && area <= wanted * 1.0001) return media;
    const DecodedImage decoded = context_.media().decode(media);
    if (decoded.status != Status::ok) {
      Media absent;
      absent.source = media.source + ": " + decoded.detail;
      return absent;
    }
    const Image& image = decoded.image;
    const double share = std::sqrt(wanted / (static_cast<double>(image.width) * image.height));
    if (!(share > 0 && share < 1)) return media;
    Image small;
    small.width = std::max(1, static_cast<int>(image.width * share));
    small.height = std::max(1, static_cast<int>(image.height * share));
    small.rgb.resize(static_cast<std::size_t>(small.width) *
                     static_cast<std::size_t>(small.height) * 3);
    const cv::Mat from(image.height, image.width, CV_8UC3,
                       const_cast<std::uint8_t*>(image.rgb.data()));
    cv::Mat to(small.height, small.width, CV_8UC3, small.rgb.data());
    cv::resize(from, to, to.size(), 0, 0, cv::INTER_AREA);
    return context_.media().put_image(small, media.source);
  }

  const ImageSizeParams params_;
  Context& context_;
};

}  // namespace dt2it
