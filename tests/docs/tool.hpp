// SPDX-License-Identifier: Apache-2.0
#pragma once

// The built program, and files of the source tree, for the tests in this folder.

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "tests/paths.hpp"

namespace dt2it::docs_test {

inline const std::filesystem::path kSource = source_path();

inline std::string read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error(file.string() + ": cannot be read");
  return {std::istreambuf_iterator<char>(in), {}};
}

// Standard output of `dt2it ARGUMENTS`, with the plugins of this build only.
inline std::string tool(const std::string& arguments) {
  const std::string command = "cd '" + kSource.string() + "' && env -u DT2IT_PLUGIN_PATH '" +
                              build_path("/bin/dt2it") + "' " + arguments;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot start: " + command);
  std::string output;
  std::array<char, 4096> buffer;
  for (std::size_t size; (size = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    output.append(buffer.data(), size);
  if (const int status = pclose(pipe); status != 0)
    throw std::runtime_error("status " + std::to_string(status) + " of: " + command);
  return output;
}

}  // namespace dt2it::docs_test
