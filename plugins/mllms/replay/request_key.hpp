// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "dt2it/mllm.hpp"

namespace dt2it {

// 32 hex digits that name a request by all that decides its answer: roles, text, media ids,
// sampling, format and schema; not its purpose, nor where media came from. No cryptographic use.
std::string request_key(const ChatRequest& request);

}  // namespace dt2it
