// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/util/files.hpp"

namespace dt2it {

// Every file of a runs folder's store by name, but for what runs cost and how long their steps took.
inline std::map<std::string, std::string> stored_files(const std::filesystem::path& runs) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(runs / ".store")) {
    const std::string name = entry.path().lexically_relative(runs).string();
    const bool timed = name.ends_with(".cost.json") || name.ends_with("/timing.jsonl") ||
                       name.find("/tensorboard/") != std::string::npos;
    if (entry.is_regular_file() && !timed) files[name] = read_file(entry.path());
  }
  return files;
}

}  // namespace dt2it
