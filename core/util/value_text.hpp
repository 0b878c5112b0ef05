// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "dt2it/params.hpp"

namespace dt2it {

// JSON text of a configuration value; keys in order of their names, "not given" as null.
std::string to_json(const Value& value);

// Text that is equal for equal values and different for different ones (1 and 1.0 differ): for keys.
std::string canonical(const Value& value);

}  // namespace dt2it
