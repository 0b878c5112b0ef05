// SPDX-License-Identifier: Apache-2.0
#pragma once

// A request as one line of JSON that is the same for the same request, and the name made of it: what a
// stored call is found by, and what a recording names its lines with.

#include <charconv>
#include <string>
#include <string_view>

#include "dt2it/json_text.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/rng.hpp"

namespace dt2it {

namespace detail {

template <class Number>
void add_json_number(std::string& json, std::string_view name, Number number) {
  char digits[40];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  json.append(name).append(digits, end);
}

}  // namespace detail

// All that decides the answer and nothing else: roles, text, media by the hash of their bytes, sampling,
// format and schema; not the purpose, nor where media came from.
inline std::string request_text(const ChatRequest& request) {
  std::string json = R"({"messages":[)";
  for (const Message& message : request.messages) {
    if (json.back() == '}') json += ',';
    json += message.role == Message::Role::system ? R"({"role":"system","content":[)"
            : message.role == Message::Role::user ? R"({"role":"user","content":[)"
                                                  : R"({"role":"assistant","content":[)";
    for (const Part& part : message.content) {
      if (json.back() == '}') json += ',';
      if (part.kind == Part::Kind::text) {
        json += R"({"text":)";
        append_json_text(json, part.text);
        json += '}';
        continue;
      }
      json += part.kind == Part::Kind::image ? R"({"image":)" : R"({"video":)";
      append_json_text(json, part.media.id);
      for (std::size_t i = 0; i < part.media.frames.size(); ++i) {
        json += i == 0 ? R"(,"frames":[)" : ",";
        append_json_text(json, part.media.frames[i]);
      }
      json += part.media.frames.empty() ? "}" : "]}";
    }
    json += "]}";
  }
  json += ']';
  const Sampling& sampling = request.sampling;
  if (sampling.temperature)
    detail::add_json_number(json, R"(,"temperature":)", *sampling.temperature);
  if (sampling.top_p) detail::add_json_number(json, R"(,"top_p":)", *sampling.top_p);
  if (sampling.max_tokens) detail::add_json_number(json, R"(,"max_tokens":)", *sampling.max_tokens);
  if (sampling.sample != 0) detail::add_json_number(json, R"(,"sample":)", sampling.sample);
  if (request.format == ResponseFormat::json) json += R"(,"format":"json")";
  if (!request.json_schema.empty()) {
    json += R"(,"schema":)";
    append_json_text(json, request.json_schema);
  }
  json += '}';
  return json;
}

// 32 hex digits; no cryptographic use.
inline std::string request_key_of(std::string_view request_text) {
  char digits[40];
  std::snprintf(digits, sizeof digits, "%016llx%016llx",
                static_cast<unsigned long long>(stable_hash(request_text, 1)),
                static_cast<unsigned long long>(stable_hash(request_text, 2)));
  return digits;
}
inline std::string request_key(const ChatRequest& request) {
  return request_key_of(request_text(request));
}

}  // namespace dt2it
