// SPDX-License-Identifier: Apache-2.0
#include "core/media/media_type.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace dt2it {
namespace {

using View = std::span<const std::uint8_t>;

bool has(View bytes, std::size_t at, std::string_view text) {
  return bytes.size() >= at + text.size() &&
         std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

std::uint32_t big(View bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | bytes[at + static_cast<std::size_t>(i)];
  return value;
}

std::uint32_t little(View bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = count; i-- > 0;) value = value << 8 | bytes[at + static_cast<std::size_t>(i)];
  return value;
}

MediaType sized(std::string_view mime, std::uint64_t width, std::uint64_t height) {
  constexpr std::uint64_t kLargest = 1u << 30;
  if (width > kLargest || height > kLargest) return {mime, 0, 0};
  return {mime, static_cast<int>(width), static_cast<int>(height)};
}

// Walks the segments to the first start of scan. Of several frame headers the largest counts: which one a decoder takes is
// its own business.
MediaType jpeg(View bytes) {
  std::size_t at = 2;
  MediaType found{"image/jpeg", 0, 0};
  while (at + 4 <= bytes.size()) {
    if (bytes[at] != 0xFF) break;
    const std::uint8_t marker = bytes[at + 1];
    if (marker == 0xFF) {  // padding
      ++at;
      continue;
    }
    if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {  // without a length
      at += 2;
      continue;
    }
    const std::size_t length = big(bytes, at + 2, 2);
    const bool frame =
        marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (frame && at + 9 <= bytes.size()) {
      const MediaType one = sized("image/jpeg", big(bytes, at + 7, 2), big(bytes, at + 5, 2));
      if (std::int64_t{one.width} * one.height > std::int64_t{found.width} * found.height)
        found = one;
    }
    if (length < 2 || marker == 0xDA || marker == 0xD9) break;
    at += 2 + length;
  }
  return found;
}

MediaType webp(View bytes) {
  if (has(bytes, 12, "VP8X") && bytes.size() >= 30)
    return sized("image/webp", little(bytes, 24, 3) + 1u, little(bytes, 27, 3) + 1u);
  if (has(bytes, 12, "VP8L") && bytes.size() >= 25 && bytes[20] == 0x2F) {
    const std::uint32_t bits = little(bytes, 21, 4);
    return sized("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1);
  }
  if (has(bytes, 12, "VP8 ") && bytes.size() >= 30 && bytes[23] == 0x9D && bytes[24] == 0x01 &&
      bytes[25] == 0x2A)
    return sized("image/webp", little(bytes, 26, 2) & 0x3FFF, little(bytes, 28, 2) & 0x3FFF);
  return {"image/webp", 0, 0};
}

MediaType bmp(View bytes) {
  if (bytes.size() < 26) return {"image/bmp", 0, 0};
  if (little(bytes, 14, 4) == 12)
    return sized("image/bmp", little(bytes, 18, 2), little(bytes, 20, 2));
  const auto width = static_cast<std::int32_t>(little(bytes, 18, 4));
  const auto height =
      static_cast<std::int32_t>(little(bytes, 22, 4));  // negative: rows top to bottom
  return sized("image/bmp", static_cast<std::uint64_t>(std::llabs(width)),
               static_cast<std::uint64_t>(std::llabs(height)));
}

// The first image directory.
MediaType tiff(View bytes, bool big_endian) {
  MediaType type{"image/tiff", 0, 0};
  auto number = [&](std::size_t at, int count) {
    return big_endian ? big(bytes, at, count) : little(bytes, at, count);
  };
  const std::size_t directory = number(4, 4);
  if (directory > bytes.size() - 2) return type;
  const std::size_t entries = number(directory, 2);
  std::uint64_t width = 0, height = 0;
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * 12;
    if (entry + 12 > bytes.size()) return type;
    const std::uint32_t tag = number(entry, 2);
    const std::uint32_t value =
        number(entry + 2, 2) == 3 ? number(entry + 8, 2) : number(entry + 8, 4);
    if (tag == 256)
      width = std::max<std::uint64_t>(width, value);  // of several the largest, as above
    if (tag == 257) height = std::max<std::uint64_t>(height, value);
  }
  return sized("image/tiff", width, height);
}

// ISO base media: the brand tells still pictures from films.
MediaType iso(View bytes) {
  for (const std::string_view brand : {"avif", "avis"})
    if (has(bytes, 8, brand)) return {"image/avif", 0, 0};
  for (const std::string_view brand : {"heic", "heix", "mif1", "msf1", "hevc"})
    if (has(bytes, 8, brand)) return {"image/heic", 0, 0};
  return {has(bytes, 8, "qt  ") ? "video/quicktime" : "video/mp4", 0, 0};
}

}  // namespace

MediaType sniff_media(View bytes) {
  if (has(bytes, 0, "\xFF\xD8\xFF")) return jpeg(bytes);
  if (has(bytes, 0, "\x89PNG\r\n\x1A\n"))
    return bytes.size() >= 24 ? sized("image/png", big(bytes, 16, 4), big(bytes, 20, 4))
                              : MediaType{"image/png", 0, 0};
  if (has(bytes, 0, "RIFF") && has(bytes, 8, "WEBP")) return webp(bytes);
  if (has(bytes, 0, "RIFF") && has(bytes, 8, "AVI ")) return {"video/x-msvideo", 0, 0};
  if (has(bytes, 0, "GIF87a") || has(bytes, 0, "GIF89a"))
    return bytes.size() >= 10 ? sized("image/gif", little(bytes, 6, 2), little(bytes, 8, 2))
                              : MediaType{"image/gif", 0, 0};
  if (bytes.size() >= 8 && has(bytes, 0, "II\x2A") && bytes[3] == 0) return tiff(bytes, false);
  if (bytes.size() >= 8 && has(bytes, 0, "MM") && bytes[2] == 0 && bytes[3] == 0x2A)
    return tiff(bytes, true);
  if (has(bytes, 4, "ftyp")) return iso(bytes);
  if (has(bytes, 0, "\x1A\x45\xDF\xA3")) return {"video/webm", 0, 0};
  // Two letters prove little: the sizes in the header must fit too.
  if (has(bytes, 0, "BM") && bytes.size() >= 26 && little(bytes, 14, 4) >= 12 &&
      little(bytes, 14, 4) <= 124)
    return bmp(bytes);
  return {};
}

}  // namespace dt2it
