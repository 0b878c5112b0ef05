// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace dt2it {

// What the first bytes of a file say, without decoding.
struct MediaType {
  std::string_view mime;  // empty when unknown
  int width =
      0;  // pixels, as stored (EXIF orientation not applied); 0 when the header does not say
  int height = 0;
  bool video() const { return mime.starts_with("video/"); }
};

// Knows JPEG, PNG, WEBP, GIF, BMP, TIFF (with sizes), AVIF and HEIC, MP4, WEBM/MKV and AVI (without).
// Never throws: damaged headers give a type without a size, or none.
MediaType sniff_media(std::span<const std::uint8_t> bytes);

}  // namespace dt2it
