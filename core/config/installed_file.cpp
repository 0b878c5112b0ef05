// SPDX-License-Identifier: Apache-2.0
#include "core/config/installed_file.hpp"

#include <system_error>

namespace dt2it {

namespace fs = std::filesystem;

namespace {

// In the program's tree; empty where it is not there.
fs::path shipped(const fs::path& file) {
  std::error_code ignored;
  if (file.empty() || file.is_absolute()) return {};
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path().parent_path();
  if (fs::path installed = program / "share/dt2it" / file; fs::exists(installed, ignored))
    return installed;
  for (fs::path tree = program; tree != tree.parent_path(); tree = tree.parent_path()) {
    if (!fs::is_directory(tree / "configs" / "profiles", ignored)) continue;
    // Examples are installed beside the experiments, and kept with the pages.
    for (fs::path kept : {tree / file, tree / "docs" / file})
      if (fs::exists(kept, ignored)) return kept;
  }
  return {};
}

}  // namespace

fs::path installed_file(const fs::path& file) {
  std::error_code ignored;
  if (fs::exists(file, ignored)) return file;
  fs::path found = shipped(file);
  return found.empty() ? file : found;
}

fs::path parent_file(const fs::path& child, const std::string& text) {
  fs::path beside = (child.parent_path() / text).lexically_normal();
  std::error_code ignored;
  if (fs::exists(beside, ignored)) return beside;
  const fs::path found = shipped(text);
  return found.empty() ? beside : found.lexically_normal();
}

}  // namespace dt2it
