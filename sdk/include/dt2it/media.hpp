// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
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
  virtual Bytes encode_png(const Image& image) = 0;
};

}  // namespace dt2it
