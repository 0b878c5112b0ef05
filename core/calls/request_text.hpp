// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "dt2it/mllm.hpp"

namespace dt2it {

// The request that request_text() wrote down: media are known by their hash only. An empty one when the text is
// no such text.
ChatRequest request_of(std::string_view request_text);

}  // namespace dt2it
