// SPDX-License-Identifier: Apache-2.0
// Decodes with OpenCV what Hugging Face processors decode with Pillow, to the same pixels: orientation tags
// ignored, alpha and palette transparency dropped, 16-bit grey clipped at 255, other 16-bit channels cut to
// their upper byte.
#include <fmt/format.h>

#include <cstring>
#include <limits>
#include <new>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "dt2it/error.hpp"
#include "dt2it/media.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/codecs/opencv/gif.hpp"

namespace {

using namespace dt2it;

// Debian's imgcodecs reads dozens of formats, some of which open other files: only these get through.
bool allowed(std::span<const std::uint8_t> bytes) {
  auto has = [&](std::size_t at, std::string_view text) {
    return bytes.size() >= at + text.size() && std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
  };
  return has(0, "\xFF\xD8\xFF") || has(0, "\x89PNG\r\n\x1A\n") || (has(0, "RIFF") && has(8, "WEBP")) ||
         has(0, "GIF8") || has(0, "BM") || has(0, std::string_view("II\x2A\0", 4)) ||
         has(0, std::string_view("MM\0\x2A", 4));
}

// A JPEG whose picture data (behind the first start of scan, so past any thumbnail) has no end marker.
bool cut_off_jpeg(std::span<const std::uint8_t> bytes) {
  if (bytes[0] != 0xFF) return false;
  std::size_t at = 2;
  while (at + 4 <= bytes.size() && bytes[at] == 0xFF && bytes[at + 1] != 0xDA) {
    const std::uint8_t marker = bytes[at + 1];
    if (marker == 0xFF) {
      ++at;
    } else if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {
      at += 2;
    } else {
      at += 2 + (std::size_t{bytes[at + 2]} << 8 | bytes[at + 3]);
    }
  }
  for (; at + 1 < bytes.size(); ++at)
    if (bytes[at] == 0xFF && bytes[at + 1] == 0xD9) return false;
  return true;
}

class OpenCvCodec final : public Codec {
 public:
  struct Params {
    static void describe(Schema<Params>&) {}
  };
  OpenCvCodec(const Params&, Context&) {
    cv::setNumThreads(0);  // images are worked on side by side already
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);  // `detail` says it
  }

  DecodedImage decode(std::span<const std::uint8_t> bytes) override {
    DecodedImage result;
    if (!allowed(bytes)) {
      result.detail = "not an image of a type that is decoded (JPEG, PNG, WEBP, GIF, BMP, TIFF)";
      return result;
    }
    if (bytes.size() > std::numeric_limits<int>::max()) {
      result.detail = "the file is larger than 2 GiB";
      return result;
    }
    if (bytes[0] == 'G') {
      try {
        return decode_gif(bytes);
      } catch (const std::bad_alloc&) {
        result.detail = "not enough memory for the image";
        return result;
      }
    }
    if (cut_off_jpeg(bytes)) {  // the library would fill up with grey
      result.detail = "the JPEG is cut off: it has no end marker";
      return result;
    }
    const cv::Mat encoded(1, static_cast<int>(bytes.size()), CV_8U, const_cast<std::uint8_t*>(bytes.data()));
    cv::Mat pixels;
    try {
      pixels = cv::imdecode(encoded, cv::IMREAD_UNCHANGED | cv::IMREAD_IGNORE_ORIENTATION);
    } catch (const cv::Exception& error) {
      result.detail = error.err.empty() ? "the image is damaged" : error.err;
      return result;
    } catch (const std::bad_alloc&) {
      result.detail = "not enough memory for the image";
      return result;
    }
    if (pixels.empty()) {
      result.detail = "the image is damaged";
      return result;
    }
    if (pixels.depth() == CV_16U && pixels.channels() == 1) {
      cv::min(pixels, 255, pixels);
      pixels.convertTo(pixels, CV_8U);
      result.detail = "16-bit grey clipped at 255";
    } else if (pixels.depth() == CV_16U) {
      cv::Mat upper(pixels.size(), CV_8UC(pixels.channels()));
      const int count = pixels.cols * pixels.channels();
      for (int y = 0; y < pixels.rows; ++y) {
        const auto* from = pixels.ptr<std::uint16_t>(y);
        auto* to = upper.ptr<std::uint8_t>(y);
        for (int x = 0; x < count; ++x) to[x] = static_cast<std::uint8_t>(from[x] >> 8);
      }
      pixels = upper;
      result.detail = "16 bits a channel cut to the upper 8";
    } else if (pixels.depth() != CV_8U) {
      result.detail = "pixels are neither 8 nor 16 bits a channel";
      return result;
    }
    cv::Mat rgb;
    switch (pixels.channels()) {
      case 1: cv::cvtColor(pixels, rgb, cv::COLOR_GRAY2RGB); break;
      case 2: cv::extractChannel(pixels, pixels, 0); cv::cvtColor(pixels, rgb, cv::COLOR_GRAY2RGB); break;
      case 3: cv::cvtColor(pixels, rgb, cv::COLOR_BGR2RGB); break;
      case 4:
        cv::cvtColor(pixels, rgb, cv::COLOR_BGRA2RGB);
        result.detail += result.detail.empty() ? "transparency dropped" : ", transparency dropped";
        break;
      default: result.detail = fmt::format("{} channels", pixels.channels()); return result;
    }
    result.status = Status::ok;
    result.image.width = rgb.cols;
    result.image.height = rgb.rows;
    result.image.rgb.assign(rgb.data, rgb.data + rgb.total() * 3);
    return result;
  }

  Bytes encode_png(const Image& image) override {
    const std::size_t expected = std::size_t{3} * static_cast<std::size_t>(image.width) *
                                 static_cast<std::size_t>(image.height);
    if (image.width <= 0 || image.height <= 0 || image.rgb.size() != expected)
      throw DataError(fmt::format("an image of {} x {} must have {} bytes of pixels, not {}", image.width,
                                  image.height, expected, image.rgb.size()));
    const cv::Mat rgb(image.height, image.width, CV_8UC3, const_cast<std::uint8_t*>(image.rgb.data()));
    cv::Mat bgr;
    cv::cvtColor(rgb, bgr, cv::COLOR_RGB2BGR);
    Bytes bytes;
    if (!cv::imencode(".png", bgr, bytes)) throw DataError("the image cannot be written as PNG");
    return bytes;
  }
};

}  // namespace

DT2IT_PLUGIN("codecs/opencv", "1.0.0", registrar) {
  registrar.add<Codec, OpenCvCodec>("opencv", "JPEG, PNG, WEBP, BMP and TIFF by OpenCV; the first frame of a GIF.");
}
