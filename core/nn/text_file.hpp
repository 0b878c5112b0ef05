// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace dt2it::nn {

// A whole text file; throws ModelError.
std::string read_text_file(const std::filesystem::path& path);
// Through a temporary file and a rename; throws ModelError.
void write_text_file(const std::filesystem::path& path, std::string_view text);

}  // namespace dt2it::nn
