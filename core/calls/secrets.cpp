// SPDX-License-Identifier: Apache-2.0
#include "core/calls/secrets.hpp"

namespace dt2it {

void blot_out(ChatReply& reply, const std::string& secret) {
  for (std::string* text : {&reply.text, &reply.finish_reason, &reply.model, &reply.detail})
    blot_out(*text, secret);
}

void blot_out(WireReading& reading, const std::string& secret) {
  blot_out(reading.problem, secret);
  blot_out(reading.reply, secret);
}

}  // namespace dt2it
