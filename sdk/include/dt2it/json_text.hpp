// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace dt2it {

// Appends a JSON string with its quotes. The text must be UTF-8: its bytes are taken as they are.
inline void append_json_text(std::string& json, std::string_view text) {
  json += '"';
  std::size_t plain = 0;  // start of what needs no escape
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    json.append(text, plain, i - plain);
    plain = i + 1;
    if (c == '"' || c == '\\') {
      json += '\\';
      json += text[i];
    } else if (c == '\n') {
      json += "\\n";
    } else {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      json += escape;
    }
  }
  json.append(text, plain);
  json += '"';
}

inline std::string json_text(std::string_view text) {
  std::string json;
  append_json_text(json, text);
  return json;
}

}  // namespace dt2it
