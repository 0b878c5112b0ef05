// SPDX-License-Identifier: Apache-2.0
#include "core/media/passing_media_store.hpp"

namespace dt2it {

Media PassingMediaStore::put(std::span<const std::uint8_t> bytes, std::string_view source) {
  std::lock_guard lock(mutex_);
  return keep(below_.put(bytes, source));
}

Media PassingMediaStore::put_file(const std::filesystem::path& path, std::string_view source) {
  std::lock_guard lock(mutex_);
  return keep(below_.put_file(path, source));
}

Media PassingMediaStore::put_image(const Image& image, std::string_view source) {
  std::lock_guard lock(mutex_);
  return keep(below_.put_image(image, source));
}

Media PassingMediaStore::keep(Media media) {
  if (!media.id.empty()) ++kept_[media.id];
  for (const std::string& frame : media.frames) ++kept_[frame];
  return media;
}

MediaStore& PassingMediaStore::store_of(const Media& media) const {
  if (!others_) return below_;
  const std::string& id =
      media.id.empty() && !media.frames.empty() ? media.frames.front() : media.id;
  std::lock_guard lock(mutex_);
  return kept_.contains(id) ? below_ : *others_;
}

void PassingMediaStore::release(const Media& media) {
  std::lock_guard lock(mutex_);
  if (!media.id.empty()) release_id(media.id);
  for (const std::string& frame : media.frames) release_id(frame);
}

void PassingMediaStore::release_id(const std::string& id) {
  const auto kept = kept_.find(id);
  if (kept == kept_.end() || --kept->second > 0) return;
  kept_.erase(kept);
  std::error_code ignored;
  std::filesystem::remove(folder_ / id.substr(0, 2) / id, ignored);
}

std::size_t PassingMediaStore::size() const {
  std::lock_guard lock(mutex_);
  return kept_.size();
}

}  // namespace dt2it
