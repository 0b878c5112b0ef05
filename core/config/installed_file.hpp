// SPDX-License-Identifier: Apache-2.0
#pragma once

// Files that come with the program (experiments/demo.toml, examples/one_pair.toml, profiles), from wherever
// they are asked for.

#include <filesystem>
#include <string>

namespace dt2it {

// `file` as it is when it is there; else the one of that name in the program's ../share/dt2it, or in the tree that the
// program was built in; else `file`.
std::filesystem::path installed_file(const std::filesystem::path& file);

// The file that `child` names by extends = "TEXT": relative to `child`, else where installed_file looks (but for the
// current folder, which says nothing of a file elsewhere). Where neither is there, the former.
std::filesystem::path parent_file(const std::filesystem::path& child, const std::string& text);

}  // namespace dt2it
