// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/config/catalog.hpp"

namespace dt2it {

// Terminal help for one component type: `dt2it plugins KIND/NAME`. Plain text, at most 100 columns.
std::string component_help(const ComponentDescription& component);

// One line a component, by kind: `dt2it plugins`.
std::string component_list(const Catalog& catalog);

// docs/reference.md: every kind, component and parameter. Depends on the catalog only, so that a test can
// compare the page in the tree with what is generated.
std::string reference_markdown(const Catalog& catalog);

}  // namespace dt2it
