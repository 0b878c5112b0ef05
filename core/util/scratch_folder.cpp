// SPDX-License-Identifier: Apache-2.0
#include "core/util/scratch_folder.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include <cerrno>
#include <cstring>

#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

ScratchFolder::ScratchFolder(std::string_view name) {
  std::string made = (fs::temp_directory_path() / fmt::format("dt2it-{}-XXXXXX", name)).string();
  if (!::mkdtemp(made.data()))
    throw Error(fmt::format("{}: cannot be made: {}", made, std::strerror(errno)));
  path_ = made;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace dt2it
