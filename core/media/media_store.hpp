// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "dt2it/media.hpp"

namespace dt2it {

// Of an image, by its header; larger ones are not decoded. Admits what 48-megapixel cameras make.
inline constexpr std::int64_t kMaxImagePixels = 49'000'000;

// The media of a runs folder: one file per content, ROOT/ab/abcdef..., named by its SHA-256. Several threads
// and several processes may put the same bytes at once. Decoded images are kept within a byte budget, the
// least recently used first out.
class FileMediaStore final : public MediaStore {
 public:
  struct Limits {
    std::uint64_t max_pixels = kMaxImagePixels;
    std::size_t cache_bytes = std::size_t{64} << 20;  // of decoded pixels
  };

  // `make_codec` is called once, when something is first decoded or encoded. `root` is made when needed.
  FileMediaStore(std::filesystem::path root, std::function<std::shared_ptr<Codec>()> make_codec);
  FileMediaStore(std::filesystem::path root, std::function<std::shared_ptr<Codec>()> make_codec,
                 Limits limits);

  Media put(std::span<const std::uint8_t> bytes, std::string_view source) override;
  Media put_file(const std::filesystem::path& path, std::string_view source) override;
  Bytes bytes(const Media& media) override;
  // A video given as frames: its first one.
  DecodedImage decode(const Media& media) override;
  DecodedVideo decode_video(const Media& media, const VideoReading& reading) override;
  Media put_image(const Image& image, std::string_view source) override;

  // Where the bytes of an id lie, whether they are there or not. Throws DataError when it is no id.
  std::filesystem::path path_of(std::string_view id) const;

 private:
  Bytes load(const std::string& id) const;
  Codec& codec();
  bool cached(const std::string& id, DecodedImage& found);
  void keep(const std::string& id, const DecodedImage& decoded);

  struct Cached {
    std::string id;
    DecodedImage decoded;
  };

  const std::filesystem::path root_;
  const std::function<std::shared_ptr<Codec>()> make_codec_;
  const Limits limits_;
  std::mutex codec_mutex_;
  std::shared_ptr<Codec> codec_;
  std::mutex cache_mutex_;
  std::list<Cached> cache_;  // most recently used first
  std::unordered_map<std::string, std::list<Cached>::iterator> cache_index_;
  std::size_t cache_size_ = 0;  // bytes of pixels
};

}  // namespace dt2it
