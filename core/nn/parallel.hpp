// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/util/workers.hpp"

namespace dt2it::nn {

// Also for plugins that link dt2it_nn.
using dt2it::parallel_for;

}  // namespace dt2it::nn
