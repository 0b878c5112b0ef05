// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/config/component_check.hpp"

namespace dt2it {

struct CheckedStage {
  CheckedComponent own;
  std::vector<CheckedComponent> with;
};

struct Declared {
  std::string kind;
  std::string name;
};

// Everything that is named must exist and be of the right kind, and neither components nor stages may
// depend on themselves. `declared` lists every [KIND.NAME] and [stages.NAME] table, also those that
// failed their own check.
void check_references(const std::vector<CheckedComponent>& components,
                      const std::vector<CheckedStage>& stages,
                      const std::vector<Declared>& declared, Diagnostics& diagnostics);

}  // namespace dt2it
