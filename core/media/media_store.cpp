// SPDX-License-Identifier: Apache-2.0
#include "core/media/media_store.hpp"

#include <fmt/format.h>

#include <fstream>
#include <optional>
#include <set>

#include "core/media/media_type.hpp"
#include "core/util/files.hpp"
#include "core/util/sha256.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

namespace {

std::optional<Bytes> load_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  if (!stream || error) return std::nullopt;
  Bytes bytes(size);
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (stream.bad() || static_cast<std::uintmax_t>(stream.gcount()) != size) return std::nullopt;
  return bytes;
}

}  // namespace

FileMediaStore::FileMediaStore(fs::path root, std::function<std::shared_ptr<Codec>()> make_codec)
    : FileMediaStore(std::move(root), std::move(make_codec), Limits{}) {}

FileMediaStore::FileMediaStore(fs::path root, std::function<std::shared_ptr<Codec>()> make_codec,
                               Limits limits)
    : root_(std::move(root)), make_codec_(std::move(make_codec)), limits_(limits) {}

fs::path FileMediaStore::path_of(std::string_view id) const {
  if (id.size() != 64 || id.find_first_not_of("0123456789abcdef") != std::string_view::npos)
    throw DataError(fmt::format("'{}' is no media id (64 lower-case hexadecimal digits)", id));
  return root_ / id.substr(0, 2) / id;
}

Bytes FileMediaStore::load(const std::string& id) const {
  std::optional<Bytes> bytes = load_file(path_of(id));
  if (!bytes) throw DataError(fmt::format("media {} is not in the store {}", id, root_.string()));
  return *std::move(bytes);
}

Media FileMediaStore::put(std::span<const std::uint8_t> bytes, std::string_view source) {
  Media media;
  media.id = sha256_hex(bytes);
  media.source = source;
  const MediaType type = sniff_media(bytes);
  media.mime = type.mime;
  media.kind = type.video() ? Media::Kind::video : Media::Kind::image;
  media.width = type.width;
  media.height = type.height;
  const fs::path file = path_of(media.id);
  // Not flushed to disk, which would take longer than all else: a power cut may leave a short file, which
  // the next put mends.
  std::error_code absent;
  if (fs::file_size(file, absent) != bytes.size() || absent) {
    fs::create_directories(file.parent_path());
    write_file_atomically(file, {reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                          Flush::no);
  }
  return media;
}

Media FileMediaStore::put_file(const fs::path& path, std::string_view source) {
  Media absent;
  absent.source = source;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    absent.kind = Media::Kind::video;
    std::set<fs::path> names;
    fs::directory_iterator entries(path, error);
    for (; !error && entries != fs::directory_iterator(); entries.increment(error))
      if (std::error_code ignored; entries->is_regular_file(ignored)) names.insert(entries->path());
    Media video = absent;
    for (const fs::path& name : names) {
      const std::optional<Bytes> bytes = load_file(name);
      if (!bytes || !sniff_media(*bytes).mime.starts_with("image/"))
        continue;  // notes, checksums ...
      const Media frame = put(*bytes, name.string());
      if (video.frames.empty()) {
        video.width = frame.width;
        video.height = frame.height;
      }
      video.frames.push_back(frame.id);
    }
    return video.frames.empty() ? absent : video;
  }
  if (!fs::is_regular_file(path, error)) return absent;  // opening a pipe would wait for its writer
  const std::optional<Bytes> bytes = load_file(path);
  return bytes ? put(*bytes, source) : absent;
}

Bytes FileMediaStore::bytes(const Media& media) {
  if (media.id.empty()) throw DataError(fmt::format("media '{}' is absent", media.source));
  return load(media.id);
}

Codec& FileMediaStore::codec() {
  std::lock_guard lock(codec_mutex_);
  if (!codec_) codec_ = make_codec_();
  return *codec_;
}

DecodedImage FileMediaStore::decode(const Media& media) {
  DecodedImage result;
  const std::string& id =
      media.id.empty() && !media.frames.empty() ? media.frames.front() : media.id;
  if (id.empty()) {
    result.detail = fmt::format("'{}' is absent", media.source);
    return result;
  }
  if (cached(id, result)) return result;
  Bytes bytes;
  try {
    bytes = load(id);
  } catch (const DataError& error) {
    result.detail = error.what();
    return result;
  }
  const MediaType type = sniff_media(bytes);
  if (!type.mime.starts_with("image/")) {
    result.detail = type.mime.empty() ? "neither an image nor a video of a known type"
                                      : fmt::format("{} is no image", type.mime);
    return result;
  }
  if (type.width == 0 || type.height == 0) {
    result.detail = fmt::format("{}: the header is damaged, or the type is not decoded", type.mime);
    return result;
  }
  if (std::uint64_t(type.width) * std::uint64_t(type.height) > limits_.max_pixels) {
    result.detail = fmt::format("{} x {} pixels are more than the {} that are decoded", type.width,
                                type.height, limits_.max_pixels);
    return result;
  }
  result = codec().decode(bytes);
  if (result.status == Status::ok) keep(id, result);
  return result;
}

DecodedVideo FileMediaStore::decode_video(const Media& media, const VideoReading& reading) {
  DecodedVideo result;
  if (!media.id.empty()) {
    const fs::path file = path_of(media.id);
    std::error_code absent;
    if (!fs::is_regular_file(file, absent)) {
      result.detail = fmt::format("media {} is not in the store {}", media.id, root_.string());
      return result;
    }
    return codec().decode_video(file, reading);
  }
  if (media.frames.empty()) {
    result.detail = fmt::format("'{}' is absent", media.source);
    return result;
  }
  VideoInfo info;
  info.frames = static_cast<std::int64_t>(media.frames.size());
  info.width = media.width;
  info.height = media.height;
  try {
    for (const std::int64_t number : result.chosen = reading.choose(info)) {
      Media frame;
      frame.id = media.frames.at(static_cast<std::size_t>(number));
      DecodedImage decoded = decode(frame);
      if (decoded.status != Status::ok)
        throw DataError(fmt::format("frame {}: {}", number, decoded.detail));
      reading.take(std::move(decoded.image));
    }
  } catch (const DataError& error) {
    result.detail = error.what();
    return result;
  }
  result.info = info;
  result.status = Status::ok;
  return result;
}

Media FileMediaStore::put_image(const Image& image, std::string_view source) {
  const Bytes bytes = codec().encode_png(image);
  return put(bytes, source);
}

bool FileMediaStore::cached(const std::string& id, DecodedImage& image) {
  std::lock_guard lock(cache_mutex_);
  const auto it = cache_index_.find(id);
  if (it == cache_index_.end()) return false;
  cache_.splice(cache_.begin(), cache_, it->second);
  image = it->second->decoded;
  return true;
}

void FileMediaStore::keep(const std::string& id, const DecodedImage& decoded) {
  std::lock_guard lock(cache_mutex_);
  if (cache_index_.contains(id) || decoded.image.rgb.size() > limits_.cache_bytes) return;
  cache_.push_front({id, decoded});
  cache_index_[id] = cache_.begin();
  cache_size_ += decoded.image.rgb.size();
  while (cache_size_ > limits_.cache_bytes) {
    cache_size_ -= cache_.back().decoded.image.rgb.size();
    cache_index_.erase(cache_.back().id);
    cache_.pop_back();
  }
}

}  // namespace dt2it
