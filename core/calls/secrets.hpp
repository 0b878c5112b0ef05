// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "dt2it/remote_mllm.hpp"

namespace dt2it {

// The key does not get further than here: it is replaced as it is, and as JSON may write it ("\/", "\u002f"),
// also in a string within a string. Keys of fewer than eight characters stay: they are no secrets.
void blot_out(std::string& text, const std::string& secret);
// What was read of an answer: a reader may have put together what the raw text did not show.
void blot_out(ChatReply& reply, const std::string& secret);
void blot_out(WireReading& reading, const std::string& secret);

}  // namespace dt2it
