// SPDX-License-Identifier: Apache-2.0
#include "json_out.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <simdjson.h>
#include <utf8proc.h>

#include <algorithm>

namespace dt2it::openai {

std::string valid_utf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return std::string(text);
  std::string clean;
  clean.reserve(text.size());
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t point = 0;
    const utf8proc_ssize_t length =
        utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &point);
    if (length > 0) {
      clean.append(text, at, static_cast<std::size_t>(length));
      at += static_cast<std::size_t>(length);
    } else {
      clean += "\xef\xbf\xbd";
      ++at;
    }
  }
  return clean;
}

void append_json_string(std::string& json, std::string_view text) {
  std::string clean;
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    clean = valid_utf8(text);
    text = clean;
  }
  json += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(json), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      json += c;
    }
  }
  json += '"';
}

void append_base64(std::string& to, std::span<const std::uint8_t> bytes) {
  constexpr std::size_t kBlock =
      3 << 20;  // a multiple of 3: padding only at the end; lengths are int there
  const std::size_t start = to.size(), letters = (bytes.size() + 2) / 3 * 4;
  to.resize(start + letters + 1);  // EVP_EncodeBlock ends with a zero byte
  std::size_t at = start;
  for (std::size_t i = 0; i < bytes.size(); i += kBlock) {
    const std::size_t part = std::min(kBlock, bytes.size() - i);
    at += static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(&to[at]),
                                                   bytes.data() + i, static_cast<int>(part)));
  }
  to.resize(at);
}

}  // namespace dt2it::openai
