// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "dt2it/remote_mllm.hpp"
#include "dt2it/secrets.hpp"

namespace dt2it {

// What was read of an answer: a reader may have put together what the raw text did not show.
void blot_out(ChatReply& reply, const std::string& secret);
void blot_out(WireReading& reading, const std::string& secret);

}  // namespace dt2it
