// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <string>
#include <unordered_map>

#include "dt2it/media.hpp"

namespace dt2it {

// A media store for records that pass by once: media are kept in a store below until they are given back as often as they
// were put. Media that were never put (records name them by id) are looked for in a second store, if there is one.
class PassingMediaStore final : public MediaStore {
 public:
  // `folder` is where `below` keeps its files: FOLDER/ab/abcd... Both must outlive this.
  PassingMediaStore(MediaStore& below, std::filesystem::path folder, MediaStore* others)
      : below_(below), folder_(std::move(folder)), others_(others) {}

  Media put(std::span<const std::uint8_t> bytes, std::string_view source) override;
  Media put_file(const std::filesystem::path& path, std::string_view source) override;
  Bytes bytes(const Media& media) override { return store_of(media).bytes(media); }
  DecodedImage decode(const Media& media) override { return store_of(media).decode(media); }
  DecodedVideo decode_video(const Media& media, const VideoReading& reading) override {
    return store_of(media).decode_video(media, reading);
  }
  Media put_image(const Image& image, std::string_view source) override;

  // Given back once for each time it was put: the last time its bytes go.
  void release(const Media& media);
  std::size_t size() const;  // how many are kept

 private:
  Media keep(Media media);
  MediaStore& store_of(const Media& media) const;
  void release_id(const std::string& id);

  MediaStore& below_;
  const std::filesystem::path folder_;
  MediaStore* const others_;
  mutable std::mutex
      mutex_;  // also held while bytes are put, so that nothing is removed in between
  std::unordered_map<std::string, std::size_t> kept_;
};

}  // namespace dt2it
