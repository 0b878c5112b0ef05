// SPDX-License-Identifier: Apache-2.0
#pragma once

// What an HTTP answer means.

#include <string>
#include <string_view>

#include "dt2it/mllm.hpp"
#include "request_body.hpp"

namespace dt2it::openai {

// The error object of an answer in any of the shapes met in the wild; nothing is required.
struct ServerError {
  std::string message, type, code, param;
  bool per_day = false;  // the limit is the day's: waiting a little is no use
};
ServerError read_error(std::string_view body);

enum class Meaning {
  answer,   // read it with read_reply
  retry,    // passing
  give_up,  // passing, but the server says that asking again is no use
  refused,  // content filter
  invalid,  // this request will never do
  stop,     // no request will: bad key, no money, unknown model
};
// `should_retry` is the x-should-retry header: "true", "false" or anything else.
Meaning judge_answer(long status, const ServerError& error, std::string_view should_retry);

// An answer of status 200. A gateway's error in such an answer is told by `error_status`, 0 for
// none; `damaged`: it is no JSON at all, cut short perhaps, or holds neither an answer nor what one cost: nobody was asked.
struct ReadReply {
  ChatReply reply;
  long error_status = 0;
  bool damaged = false;
  bool usage_known = false;
};
ReadReply read_reply(std::string_view body);
ReadReply read_anthropic_reply(std::string_view body);

// Changes `form` so that the refused request can be sent again, as far as the refusal names a field
// that it had; false when it gives no such reason.
bool learn(WireForm& form, const ChatRequest& request, const ServerError& error,
           bool token_name_fixed);

}  // namespace dt2it::openai
