// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace dt2it::json_out {

// Every byte that is not valid UTF-8 becomes U+FFFD: data of any origin ends up in bodies and
// records.
std::string valid_utf8(std::string_view text);

// Appends `text` as a JSON string with its quotes.
void append_json_string(std::string& json, std::string_view text);

// Appends standard base64 with padding and without line breaks.
void append_base64(std::string& to, std::span<const std::uint8_t> bytes);

}  // namespace dt2it::json_out
