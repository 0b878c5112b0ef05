// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>

#include "dt2it/media.hpp"

namespace dt2it::records {

// A store for the media of one folder whose records name them a little differently. What is not where its path says is looked for
// below the only thing in the folder, where that is a folder: archives are packed both ways. names_only: by its file name alone,
// in the folder itself. Not thread-safe.
class MediaPlaces final : public MediaStore {
 public:
  MediaPlaces(MediaStore& store, std::filesystem::path root, bool names_only)
      : store_(store), root_(std::move(root)), names_only_(names_only) {}

  Media put(std::span<const std::uint8_t> bytes, std::string_view source) override {
    return store_.put(bytes, source);
  }
  Media put_file(const std::filesystem::path& path, std::string_view source) override;
  Bytes bytes(const Media& media) override { return store_.bytes(media); }
  DecodedImage decode(const Media& media) override { return store_.decode(media); }
  DecodedVideo decode_video(const Media& media, const VideoReading& reading) override {
    return store_.decode_video(media, reading);
  }
  Media put_image(const Image& image, std::string_view source) override {
    return store_.put_image(image, source);
  }

 private:
  const std::filesystem::path& only_folder();

  MediaStore& store_;
  const std::filesystem::path root_;
  const bool names_only_;
  std::optional<std::filesystem::path> only_;  // empty path: there is none
};

}  // namespace dt2it::records
