// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "tests/mock_endpoint/mock_endpoint.hpp"

namespace dt2it::mock {

// What goes out for one request.
struct Answer {
  std::string bytes;   // status line, headers, body
  double delay = 0;    // seconds of silence before
  double drip = 0;     // seconds between single bytes of the body
  bool close = false;  // hang up behind it
  bool never = false;  // keep the connection open without a byte
  int status = 200;
};

std::string chat_body(std::string_view content, std::string_view finish_reason = "stop");
std::string anthropic_body(std::string_view content, std::string_view stop_reason = "end_turn");
Answer plain(int status, std::string_view body, std::string_view headers = "",
             std::string_view type = "application/json");
// "ok" for names that are none.
Answer answer_of(std::string_view name, const Request& request, std::string_view content);

}  // namespace dt2it::mock
