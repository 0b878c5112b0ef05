// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/config/experiment.hpp"
#include "core/config/toml_tree.hpp"

namespace dt2it {

// The experiment as one TOML file that needs no parents: every value with a comment that says where it
// came from, or "default". Strings with ${NAME} stay as written, so that no secret ends up in a file.
std::string resolved_text(const Experiment& experiment, const TomlNode& merged);

// One value in TOML syntax, on one line.
std::string toml_text(const Value& value);

}  // namespace dt2it
