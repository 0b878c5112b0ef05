// SPDX-License-Identifier: Apache-2.0
#include "core/calls/request_text.hpp"

#include <simdjson.h>

#include <string>

#include "core/data/names.hpp"

namespace dt2it {

namespace {

using simdjson::dom::element;

std::string text_of(const element& object, const char* key) {
  std::string_view text;
  return object.at_key(key).get(text) ? std::string() : std::string(text);
}

Part part_of(const element& part) {
  if (part.at_key("image").error() && part.at_key("video").error())
    return Part::of_text(text_of(part, "text"));
  Part result;
  const bool is_image = !part.at_key("image").error();
  result.kind = is_image ? Part::Kind::image : Part::Kind::video;
  result.media.id = text_of(part, is_image ? "image" : "video");
  simdjson::dom::array ids;
  std::string_view id;
  if (!part.at_key("frames").get(ids))
    for (const element one : ids)
      if (!one.get(id)) result.media.frames.emplace_back(id);
  return result;
}

}  // namespace

ChatRequest request_of(std::string_view request_text) {
  ChatRequest request;
  simdjson::dom::parser parser;
  element root;
  simdjson::dom::array messages, parts;
  if (parser.parse(simdjson::padded_string(request_text)).get(root) ||
      root.at_key("messages").get(messages))
    return request;
  for (const element one : messages) {
    Message message;
    message.role =
        value_named<Message::Role>(kRoleNames, text_of(one, "role")).value_or(Message::Role::user);
    if (!one.at_key("content").get(parts))
      for (const element part : parts) message.content.push_back(part_of(part));
    request.messages.push_back(std::move(message));
  }
  Sampling& sampling = request.sampling;
  double number = 0;
  std::int64_t count = 0;
  if (!root.at_key("temperature").get(number)) sampling.temperature = number;
  if (!root.at_key("top_p").get(number)) sampling.top_p = number;
  if (!root.at_key("max_tokens").get(count)) sampling.max_tokens = count;
  if (!root.at_key("sample").get(count)) sampling.sample = count;
  if (text_of(root, "format") == "json") request.format = ResponseFormat::json;
  request.json_schema = text_of(root, "schema");
  return request;
}

}  // namespace dt2it
