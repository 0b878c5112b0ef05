// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/catalog.hpp"
#include "core/config/experiment.hpp"
#include "core/config/toml_tree.hpp"

namespace dt2it {

// Something a parameter names: a component of `kind`, or a stage (kind "stages").
struct Reference {
  std::string kind;
  std::string name;
  std::string parameter;
  Location at;
};

// One [KIND.NAME] or [stages.NAME] table, checked against its description.
struct CheckedComponent {
  std::string kind;
  std::string name;
  std::string type;
  Table params;
  Location where;
  std::map<std::string, Location> given;
  std::vector<Reference> references;
};

// The string with ${NAME} and ${NAME:-default} replaced from the environment and $${ unescaped. Nothing
// when a variable is unset or the form is broken: then `diagnostics` says so.
std::optional<std::string> expand_variables(const TomlNode& text, Diagnostics& diagnostics);

// "[judges.teacher]"
std::string header_of(std::string_view kind, std::string_view name);

// Checks keys, types, bounds, choices and required parameters, fills defaults in, makes paths absolute,
// and collects what it refers to (whether that exists is checked by the caller, who knows the rest).
// `default_type` is what a table without `type` means; empty: type is required.
CheckedComponent check_component(std::string_view kind, const TomlEntry& entry,
                                 std::string_view default_type, const Catalog& catalog,
                                 Diagnostics& diagnostics);

}  // namespace dt2it
