// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/export.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

using Bytes = std::vector<std::uint8_t>;

// Decoded pixels: 8-bit RGB, rows top to bottom, no padding: rgb[(y * width + x) * 3 + channel].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;
};

struct DecodedImage {
  Status status = Status::missing_media;
  Image image;         // only when status is ok
  std::string detail;  // why not ok; when ok: what was done (alpha dropped, 16 bit clipped ...)
};

// What is known of a video before its frames are read. Frames are numbered from 0 as they are shown.
struct VideoInfo {
  std::int64_t frames = 0;
  double fps = 0;      // mean rate; 0: unknown, a video given as chosen frames
  double seconds = 0;  // frames / fps
  int width = 0;
  int height = 0;
};

// How a caller says which frames it wants and takes them one by one, so that a long film never lies in memory. Where a
// container names more frames than it holds, `choose` is called again with the true number, and `take` starts over.
struct VideoReading {
  // Numbers below video.frames, never decreasing. Both may throw DataError: the video cannot be used.
  std::function<std::vector<std::int64_t>(const VideoInfo& video)> choose;
  std::function<void(Image frame)> take;  // once for each number
};

struct DecodedVideo {
  Status status = Status::missing_media;
  VideoInfo info;                    // only when status is ok, as `chosen`
  std::vector<std::int64_t> chosen;  // the numbers of the frames taken
  std::string detail;                // why not ok
};

// Content-addressed images and videos. Thread-safe. Bytes are kept as they came; an id is given once
// for the same bytes, whatever their name.
class DT2IT_API MediaStore {
 public:
  virtual ~MediaStore() = default;

  // Stores bytes; type and size are read from the header, nothing is decoded. Bytes of no known type
  // are stored too, with an empty mime. `source` is kept in the result only.
  virtual Media put(std::span<const std::uint8_t> bytes, std::string_view source) = 0;

  // As put, from a file; a folder of images is a video given as frames (names sorted). Absent or
  // unreadable: a Media with no id, and `source` set.
  virtual Media put_file(const std::filesystem::path& path, std::string_view source) = 0;

  // Throws DataError when the media is absent.
  virtual Bytes bytes(const Media& media) = 0;

  // RGB pixels as Hugging Face processors see them: EXIF rotation ignored, alpha and palette
  // transparency dropped, 16-bit grey clipped. Never throws for bad pixels: see status.
  virtual DecodedImage decode(const Media& media) = 0;

  // Frames of a video file, or of a video given as frames (info.fps is 0 there). Never throws for a bad video; what
  // `choose` and `take` throw, other than DataError, comes through.
  virtual DecodedVideo decode_video(const Media& media, const VideoReading& reading) = 0;

  // Encodes as PNG and stores.
  virtual Media put_image(const Image& image, std::string_view source) = 0;
};

// Turns bytes into pixels and back; the host's MediaStore asks the plugin that the configuration names
// (codecs/opencv unless told otherwise), loaded on first use. Thread-safe.
class DT2IT_API Codec {
 public:
  static constexpr const char* kKind = "codecs";
  virtual ~Codec() = default;
  virtual DecodedImage decode(std::span<const std::uint8_t> bytes) = 0;
  virtual DecodedVideo decode_video(const std::filesystem::path& file,
                                    const VideoReading& reading) = 0;
  virtual Bytes encode_png(const Image& image) = 0;
};

}  // namespace dt2it
