// SPDX-License-Identifier: Apache-2.0
// Decodes with OpenCV what Hugging Face processors decode with Pillow, to the same pixels:
// orientation tags ignored, alpha and palette transparency dropped, 16-bit grey clipped at 255,
// other 16-bit channels cut to their upper byte.
#include <fmt/format.h>

#include <cstdlib>
#include <limits>
#include <new>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>
#include <vector>

#include "core/media/media_type.hpp"
#include "dt2it/error.hpp"
#include "dt2it/media.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/codecs/opencv/gif.hpp"
#include "plugins/codecs/opencv/video.hpp"

#if defined(__x86_64__)
#include <tmmintrin.h>
#endif

namespace {

using namespace dt2it;

constexpr std::int64_t kMaxPixels =
    49'000'000;  // of a picture or a frame; the media store's own limit

bool decodes(std::string_view mime) {
  for (const std::string_view known :
       {"image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff"})
    if (mime == known) return true;
  return false;
}

// A JPEG without an end marker behind its last start of scan (so past any thumbnail).
bool cut_off_jpeg(std::span<const std::uint8_t> bytes) {
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
  for (std::size_t i = bytes.size(); i-- > at + 1;)  // mostly the last two bytes
    if (bytes[i] == 0xD9 && bytes[i - 1] == 0xFF) return false;
  return true;
}

// Lets OpenCV decode 8-bit BGR straight into the vector that becomes the result; other types get
// memory of OpenCV's own.
class VectorAllocator final : public cv::MatAllocator {
 public:
  explicit VectorAllocator(std::vector<std::uint8_t>& pixels) : pixels_(pixels) {}
  cv::UMatData* allocate(int dims, const int* sizes, int type, void* data, std::size_t* step,
                         cv::AccessFlag flags, cv::UMatUsageFlags usage) const override {
    if (dims != 2 || type != CV_8UC3 || data || !pixels_.empty())
      return cv::Mat::getStdAllocator()->allocate(dims, sizes, type, data, step, flags, usage);
    step[1] = 3;
    step[0] = 3 * static_cast<std::size_t>(sizes[1]);
    pixels_.resize(step[0] * static_cast<std::size_t>(sizes[0]));
    auto* made = new cv::UMatData(this);
    made->data = made->origdata = pixels_.data();
    made->size = pixels_.size();
    return made;
  }
  bool allocate(cv::UMatData*, cv::AccessFlag, cv::UMatUsageFlags) const override { return false; }
  void deallocate(cv::UMatData* made) const override { delete made; }  // the pixels stay

 private:
  std::vector<std::uint8_t>& pixels_;
};

#if defined(__x86_64__)
// Five pixels at a time; the sixteenth byte stays as it is. The next ones are loaded before these are stored, which
// otherwise would have to wait for each other. How many bytes are done.
__attribute__((target("ssse3"))) std::size_t swap_many(std::uint8_t* pixels, std::size_t size) {
  const __m128i order = _mm_setr_epi8(2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9, 14, 13, 12, 15);
  if (size < 16) return 0;
  const auto place = [&](std::size_t at) { return reinterpret_cast<__m128i*>(pixels + at); };
  std::size_t at = 0;
  __m128i these = _mm_loadu_si128(place(0));
  for (; at + 31 <= size; at += 15) {
    const __m128i next = _mm_loadu_si128(place(at + 15));
    _mm_storeu_si128(place(at), _mm_shuffle_epi8(these, order));
    these = next;
  }
  return at;
}
#endif

void swap_red_and_blue(std::vector<std::uint8_t>& pixels) {
  std::size_t at = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("ssse3")) at = swap_many(pixels.data(), pixels.size());
#endif
  for (; at + 3 <= pixels.size(); at += 3) std::swap(pixels[at], pixels[at + 2]);
}

Image rgb_image(const cv::Mat& pixels, int conversion) {
  Image image{pixels.cols, pixels.rows, {}};
  image.rgb.resize(pixels.total() * 3);
  cv::Mat rgb(pixels.rows, pixels.cols, CV_8UC3, image.rgb.data());
  cv::cvtColor(pixels, rgb, conversion);
  return image;
}

class OpenCvCodec final : public Codec {
 public:
  struct Params {
    static void describe(Schema<Params>&) {}
  };
  OpenCvCodec(const Params&, Context&) {
    cv::setNumThreads(0);  // images are worked on side by side already
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);  // `detail` says it
    ::setenv("OPENCV_FFMPEG_LOGLEVEL", "-8", 0);                            // the same for FFmpeg
  }

  DecodedImage decode(std::span<const std::uint8_t> bytes) override {
    DecodedImage result;
    // Debian's imgcodecs reads dozens of formats, some of which open other files: only these get
    // through.
    const MediaType type = sniff_media(bytes);
    if (!decodes(type.mime)) {
      result.detail = "not an image of a type that is decoded (JPEG, PNG, WEBP, GIF, BMP, TIFF)";
      return result;
    }
    if (bytes.size() > std::numeric_limits<int>::max()) {
      result.detail = "the file is larger than 2 GiB";
      return result;
    }
    if (type.width < 1 || type.height < 1) {
      result.detail = "the header of the image is damaged";
      return result;
    }
    if (std::int64_t{type.width} * type.height > kMaxPixels) {
      result.detail = fmt::format("{} x {} pixels are more than the {} that are decoded",
                                  type.width, type.height, kMaxPixels);
      return result;
    }
    if (type.mime == "image/gif") {
      try {
        return decode_gif(bytes);
      } catch (const std::bad_alloc&) {
        result.detail = "not enough memory for the image";
        return result;
      }
    }
    if (type.mime == "image/jpeg" && cut_off_jpeg(bytes)) {  // the library would fill up with grey
      result.detail = "the JPEG is cut off: it has no end marker";
      return result;
    }
    const cv::Mat encoded(1, static_cast<int>(bytes.size()), CV_8U,
                          const_cast<std::uint8_t*>(bytes.data()));
    std::vector<std::uint8_t> straight;
    const VectorAllocator allocator(straight);
    cv::Mat pixels;
    pixels.allocator = const_cast<VectorAllocator*>(&allocator);
    try {
      cv::imdecode(encoded, cv::IMREAD_UNCHANGED | cv::IMREAD_IGNORE_ORIENTATION, &pixels);
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
    switch (pixels.channels()) {
      case 1: result.image = rgb_image(pixels, cv::COLOR_GRAY2RGB); break;
      case 2: {
        cv::Mat grey;
        cv::extractChannel(pixels, grey, 0);
        result.image = rgb_image(grey, cv::COLOR_GRAY2RGB);
        break;
      }
      case 3:
        if (pixels.data == straight.data()) {
          swap_red_and_blue(straight);
          result.image = {pixels.cols, pixels.rows, {}};
          pixels.release();
          result.image.rgb = std::move(straight);
        } else {
          result.image = rgb_image(pixels, cv::COLOR_BGR2RGB);
        }
        break;
      case 4:
        result.image = rgb_image(pixels, cv::COLOR_BGRA2RGB);
        result.detail += result.detail.empty() ? "transparency dropped" : ", transparency dropped";
        break;
      default: result.detail = fmt::format("{} channels", pixels.channels()); return result;
    }
    result.status = Status::ok;
    return result;
  }

  DecodedVideo decode_video(const std::filesystem::path& file,
                            const VideoReading& reading) override {
    return read_video(file, reading, kMaxPixels);
  }

  Bytes encode_png(const Image& image) override {
    const std::size_t expected = std::size_t{3} * static_cast<std::size_t>(image.width) *
                                 static_cast<std::size_t>(image.height);
    if (image.width <= 0 || image.height <= 0 || image.rgb.size() != expected)
      throw DataError(fmt::format("an image of {} x {} must have {} bytes of pixels, not {}",
                                  image.width, image.height, expected, image.rgb.size()));
    const cv::Mat rgb(image.height, image.width, CV_8UC3,
                      const_cast<std::uint8_t*>(image.rgb.data()));
    cv::Mat bgr;
    cv::cvtColor(rgb, bgr, cv::COLOR_RGB2BGR);
    Bytes bytes;
    if (!cv::imencode(".png", bgr, bytes)) throw DataError("the image cannot be written as PNG");
    return bytes;
  }
};

}  // namespace

DT2IT_PLUGIN("codecs/opencv", "1.1.0", registrar) {
  registrar.add<Codec, OpenCvCodec>(
      "opencv", "JPEG, PNG, WEBP, BMP, TIFF and videos by OpenCV; the first frame of a GIF.");
}
