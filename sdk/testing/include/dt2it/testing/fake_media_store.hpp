// SPDX-License-Identifier: Apache-2.0
#pragma once

// A MediaStore in memory, for tests of plugins. Ids are 64 hex digits of the content (not SHA-256: a
// test that compares ids across stores must use the real one). Type and size are read from PNG headers;
// of other known types only the type. Pictures made by put_image are real PNG files and decode without
// a codec; for other bytes give it one with use_codec().

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/media.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::testing {

namespace detail {

inline void put_u32(Bytes& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::uint8_t>(value >> shift));
}

inline std::uint32_t crc32(std::span<const std::uint8_t> bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
  }
  return ~crc;
}

inline void put_chunk(Bytes& out, std::string_view type, const Bytes& data) {
  put_u32(out, static_cast<std::uint32_t>(data.size()));
  Bytes body(type.begin(), type.end());
  body.insert(body.end(), data.begin(), data.end());
  out.insert(out.end(), body.begin(), body.end());
  put_u32(out, crc32(body));
}

// A PNG whose pixels are stored without compression: needs no library and every decoder reads it.
inline Bytes plain_png(const Image& image) {
  Bytes rows;
  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  for (int y = 0; y < image.height; ++y) {
    rows.push_back(0);  // no filter
    const auto begin =
        image.rgb.begin() + static_cast<std::ptrdiff_t>(stride * static_cast<std::size_t>(y));
    rows.insert(rows.end(), begin, begin + static_cast<std::ptrdiff_t>(stride));
  }
  Bytes packed = {0x78, 0x01};
  for (std::size_t at = 0; at < rows.size();) {
    const std::size_t length = std::min<std::size_t>(65535, rows.size() - at);
    packed.push_back(at + length == rows.size());
    for (std::size_t field : {length, ~length}) {
      packed.push_back(static_cast<std::uint8_t>(field));
      packed.push_back(static_cast<std::uint8_t>(field >> 8));
    }
    packed.insert(packed.end(), rows.begin() + static_cast<std::ptrdiff_t>(at),
                  rows.begin() + static_cast<std::ptrdiff_t>(at + length));
    at += length;
  }
  std::uint32_t a = 1, b = 0;  // Adler-32
  for (std::uint8_t byte : rows) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  put_u32(packed, (b << 16) | a);

  Bytes header;
  put_u32(header, static_cast<std::uint32_t>(image.width));
  put_u32(header, static_cast<std::uint32_t>(image.height));
  header.insert(header.end(), {8, 2, 0, 0, 0});  // 8 bit, RGB
  Bytes png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  put_chunk(png, "IHDR", header);
  put_chunk(png, "IDAT", packed);
  put_chunk(png, "IEND", {});
  return png;
}

}  // namespace detail

class FakeMediaStore final : public MediaStore {
 public:
  // Decodes what put_image did not make; usually codecs/opencv through a LoadedPlugin.
  void use_codec(std::shared_ptr<Codec> codec) {
    std::lock_guard lock(mutex_);
    codec_ = std::move(codec);
  }

  std::size_t size() const {
    std::lock_guard lock(mutex_);
    return bytes_.size();
  }

  Media put(std::span<const std::uint8_t> bytes, std::string_view source) override {
    Media media = describe(bytes, source);
    std::lock_guard lock(mutex_);
    bytes_.try_emplace(media.id, bytes.begin(), bytes.end());
    return media;
  }

  Media put_file(const std::filesystem::path& path, std::string_view source) override {
    Media media;
    media.source = source;
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) {
      std::vector<std::filesystem::path> files;
      for (const auto& entry : std::filesystem::directory_iterator(path))
        if (entry.is_regular_file()) files.push_back(entry.path());
      std::sort(files.begin(), files.end());
      media.kind = Media::Kind::video;
      for (const auto& file : files) {
        const Media frame = put_file(file, source);
        if (!frame.present()) continue;
        media.frames.push_back(frame.id);
        media.width = frame.width;
        media.height = frame.height;
      }
      return media;
    }
    std::ifstream file(path, std::ios::binary);
    if (!file) return media;
    const Bytes bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    return put(bytes, source);
  }

  Bytes bytes(const Media& media) override {
    std::lock_guard lock(mutex_);
    const auto found = bytes_.find(media.id);
    if (found == bytes_.end())
      throw DataError("media '" + media.id + "' (" + media.source + ") is absent");
    return found->second;
  }

  DecodedImage decode(const Media& media) override {
    std::shared_ptr<Codec> codec;
    Bytes copy;
    {
      std::lock_guard lock(mutex_);
      if (const auto known = pixels_.find(media.id); known != pixels_.end())
        return {Status::ok, known->second, ""};
      const auto found = bytes_.find(media.id);
      if (found == bytes_.end())
        return {Status::missing_media, {}, "no such media: " + media.source};
      if (!codec_) return {Status::missing_media, {}, "this FakeMediaStore has no codec"};
      codec = codec_;
      copy = found->second;
    }
    return codec->decode(copy);
  }

  // Only videos given as frames.
  DecodedVideo decode_video(const Media& media, const VideoReading& reading) override {
    if (media.frames.empty())
      return {Status::missing_media, {}, {}, "this FakeMediaStore reads no video files"};
    VideoInfo info;
    info.frames = static_cast<std::int64_t>(media.frames.size());
    info.width = media.width;
    info.height = media.height;
    DecodedVideo result{Status::ok, info, {}, ""};
    try {
      for (const std::int64_t number : result.chosen = reading.choose(info)) {
        Media frame;
        frame.id = media.frames.at(static_cast<std::size_t>(number));
        DecodedImage decoded = decode(frame);
        if (decoded.status != Status::ok) throw DataError(decoded.detail);
        reading.take(std::move(decoded.image));
      }
    } catch (const DataError& error) {
      return {Status::missing_media, {}, {}, error.what()};
    }
    return result;
  }

  Media put_image(const Image& image, std::string_view source) override {
    const Media media = put(detail::plain_png(image), source);
    std::lock_guard lock(mutex_);
    pixels_.try_emplace(media.id, image);
    return media;
  }

 private:
  static Media describe(std::span<const std::uint8_t> bytes, std::string_view source) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    Media media;
    media.source = source;
    for (std::uint64_t part = 0; part < 4; ++part) {
      std::array<char, 17> digits{};
      std::snprintf(digits.data(), digits.size(), "%016llx",
                    static_cast<unsigned long long>(stable_hash(text, part)));
      media.id += digits.data();
    }
    const auto number = [&](std::size_t at) {
      return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
    };
    if (text.starts_with("\x89PNG\r\n\x1a\n") && bytes.size() >= 24) {
      media.mime = "image/png";
      media.width = number(16);
      media.height = number(20);
    } else if (text.starts_with("\xff\xd8\xff")) {
      media.mime = "image/jpeg";
    } else if (text.starts_with("GIF8")) {
      media.mime = "image/gif";
    } else if (text.starts_with("BM")) {
      media.mime = "image/bmp";
    } else if (text.starts_with("RIFF") && text.size() > 12 && text.substr(8, 4) == "WEBP") {
      media.mime = "image/webp";
    }
    return media;
  }

  mutable std::mutex mutex_;
  std::map<std::string, Bytes> bytes_;
  std::map<std::string, Image> pixels_;
  std::shared_ptr<Codec> codec_;
};

}  // namespace dt2it::testing
