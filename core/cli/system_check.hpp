// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace dt2it::cli {

struct Finding {
  enum class State { good, note, missing };  // missing: something that is documented will not work
  State state = State::good;
  std::string what, detail;
};

struct SystemOptions {
  std::vector<std::string> plugin_path;
  std::vector<std::string> endpoints;  // URLs to be tried
  std::filesystem::path runs = "runs";
};

// What this installation and machine have and lack.
std::vector<Finding> check_system(const SystemOptions& options);

}  // namespace dt2it::cli
