// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace dt2it::nn {

enum class Family : std::uint8_t { qwen2_5_vl, qwen3_vl };

}  // namespace dt2it::nn
