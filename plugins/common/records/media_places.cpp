// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/media_places.hpp"

namespace dt2it::records {

namespace fs = std::filesystem;

Media MediaPlaces::put_file(const fs::path& path, std::string_view source) {
  if (names_only_) return store_.put_file(root_ / path.filename(), source);
  std::error_code ignored;
  if (!fs::exists(path, ignored) && !only_folder().empty()) {
    const fs::path inside = path.lexically_relative(root_);
    if (!inside.empty() && *inside.begin() != ".." && fs::exists(*only_ / inside, ignored))
      return store_.put_file(*only_ / inside, source);
  }
  return store_.put_file(path, source);
}

const fs::path& MediaPlaces::only_folder() {
  if (only_) return *only_;
  only_.emplace();
  std::error_code error;
  for (fs::directory_iterator entry(root_, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!only_->empty() || !entry->is_directory(error)) {
      only_->clear();
      break;
    }
    *only_ = entry->path();
  }
  return *only_;
}

}  // namespace dt2it::records
