// SPDX-License-Identifier: Apache-2.0
#include "core/nn/text_file.hpp"

#include <fmt/format.h>

#include <fstream>
#include <system_error>

#include "dt2it/error.hpp"

namespace dt2it::nn {

std::string read_text_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw ModelError(fmt::format("{}: cannot be opened", path.string()));
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);  // fails for folders
  if (error)
    throw ModelError(fmt::format("{}: cannot be read: {}", path.string(), error.message()));
  std::string text(static_cast<std::size_t>(size), '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  if (static_cast<std::uintmax_t>(file.gcount()) != size)
    throw ModelError(fmt::format("{}: cannot be read", path.string()));
  return text;
}

void write_text_file(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::path temporary = path;
  temporary += ".partial";
  std::ofstream file(temporary, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (!file) throw ModelError(fmt::format("{}: cannot be written", path.string()));
  std::filesystem::rename(temporary, path);
}

}  // namespace dt2it::nn
