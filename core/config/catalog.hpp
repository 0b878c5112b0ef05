// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dt2it/params.hpp"

namespace dt2it {

// What can be configured: one component type, as data. Comes from the description beside a plugin
// library, or from the host's own stages (kind "stages"); no library is loaded for it.
struct ComponentDescription {
  std::string kind;
  std::string name;
  std::string help;
  std::vector<ParamSpec> params;
  std::string plugin;   // "scorers/pointwise"; empty for stages
  std::string version;  // of the plugin; part of stage keys
};

class Catalog {
 public:
  virtual ~Catalog() = default;
  // Null when there is none.
  virtual const ComponentDescription* find(std::string_view kind, std::string_view type) const = 0;
  // All types of a kind, by name: for error messages ("allowed: ...") and listings.
  virtual std::vector<const ComponentDescription*> of_kind(std::string_view kind) const = 0;
  virtual std::vector<std::string> kinds() const = 0;
};

}  // namespace dt2it
