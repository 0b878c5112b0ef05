// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/record_parser.hpp"

#include <array>
#include <utility>

#include "dt2it/error.hpp"
#include "dt2it/names.hpp"
#include "plugins/common/records/record_fields.hpp"

namespace dt2it::records {

namespace {

using simdjson::dom::element;
using simdjson::dom::object;

[[noreturn]] void fail(const std::string& where, std::string_view name, const std::string& what) {
  throw DataError(where + ": field '" + std::string(name) + "' " + what);
}

object required_object(const object& record, std::string_view name, const std::string& where) {
  const auto value = records::find(record, name);
  object result;
  if (!value || value->get(result)) fail(where, name, "must be an object");
  return result;
}

std::optional<double> optional_number(const object& record, std::string_view name,
                                      const std::string& where) {
  const auto value = records::find(record, name);
  if (!value) return std::nullopt;
  double number = 0;
  if (value->get(number)) fail(where, name, "must be a number");
  return number;
}

template <class Enum, std::size_t N>
Enum choice(const std::string& text, const std::array<std::string_view, N>& names,
            std::string_view field, const std::string& where) {
  if (const auto value = value_named<Enum>(names, text)) return *value;
  std::string allowed;
  for (const std::string_view name : names)
    allowed += (allowed.empty() ? "" : ", ") + std::string(name);
  fail(where, field, "is '" + text + "' (allowed: " + allowed + ")");
}

int pixels(const object& record, std::string_view name, const std::string& where) {
  const double number = optional_number(record, name, where).value_or(0);
  if (!(number >= 0 && number <= 1 << 24)) fail(where, name, "is no size in pixels");
  return static_cast<int>(number);
}

Media parse_media(const element& value, const Source& source, const std::string& where) {
  Media media;
  std::string_view path;
  object record;
  if (!value.get(path)) {
    media.source = std::string(path);
  } else if (!value.get(record)) {
    const std::string kind = records::optional_text(record, "kind", where);
    if (!kind.empty()) media.kind = choice<Media::Kind>(kind, kMediaNames, "kind", where);
    media.id = records::optional_text(record, "id", where);
    media.mime = records::optional_text(record, "mime", where);
    media.source = records::optional_text(record, "source", where);
    media.width = pixels(record, "width", where);
    media.height = pixels(record, "height", where);
    if (const auto frames = records::find(record, "frames")) {
      simdjson::dom::array list;
      if (frames->get(list)) fail(where, "frames", "must be a list of media ids");
      for (const auto& frame : list) {
        std::string_view id;
        if (frame.get(id)) fail(where, "frames", "must be a list of media ids");
        media.frames.emplace_back(id);
      }
    }
  } else {
    throw DataError(where + ": an image or video must be an object or a path");
  }
  if (media.present() || media.source.empty() || media.source.find('\0') != std::string::npos ||
      media.source.starts_with("http://") || media.source.starts_with("https://"))
    return media;
  Media found = source.store.put_file(source.root / media.source, media.source);
  return found.present() ? found : media;
}

Part parse_part(const element& value, const Source& source, const std::string& where) {
  object record;
  if (value.get(record)) throw DataError(where + ": a message's content must be a list of objects");
  const std::string type = records::required_text(record, "type", where);
  Part part;
  part.kind = choice<Part::Kind>(type, kPartNames, "type", where);
  if (part.kind == Part::Kind::text) {
    part.text = records::required_text(record, "text", where);
    return part;
  }
  const auto media = records::find(record, type);
  if (!media) fail(where, type, "is missing");
  part.media = parse_media(*media, source, where);
  if (part.kind == Part::Kind::video) part.media.kind = Media::Kind::video;
  return part;
}

Message parse_message(const element& value, const Source& source, const std::string& where) {
  object record;
  if (value.get(record)) throw DataError(where + ": 'messages' must be a list of objects");
  Message message;
  message.role = choice<Message::Role>(records::required_text(record, "role", where), kRoleNames,
                                       "role", where);
  const auto content = records::find(record, "content");
  if (!content) fail(where, "content", "is missing");
  std::string_view text;
  simdjson::dom::array parts;
  if (!content->get(text)) {
    message.content.push_back(Part::of_text(std::string(text)));
  } else if (!content->get(parts)) {
    for (const auto& part : parts) message.content.push_back(parse_part(part, source, where));
  } else {
    fail(where, "content", "must be a string or a list of parts");
  }
  return message;
}

Response parse_response(const object& record, const Source& source, const std::string& where) {
  Response response;
  response.id = records::optional_text(record, "id", where);
  response.text = records::optional_text(record, "text", where);
  response.mllm = records::optional_text(record, "mllm", where);
  response.origin = records::optional_text(record, "origin", where);
  response.finish_reason = records::optional_text(record, "finish_reason", where);
  if (const std::string status = records::optional_text(record, "status", where); !status.empty())
    response.status = choice<Status>(status, kStatusNames, "status", where);
  if (const auto media = records::find(record, "noised_image"))
    response.noised_image = parse_media(*media, source, where);
  response.extra = records::other_fields(
      record, {"id", "text", "mllm", "origin", "finish_reason", "status", "noised_image"});
  return response;
}

}  // namespace

Prompt parse_prompt(const object& record, const Source& source, const std::string& where) {
  Prompt prompt;
  prompt.id = records::required_text(record, "id", where);
  const auto messages = records::find(record, "messages");
  simdjson::dom::array list;
  if (!messages || messages->get(list)) fail(where, "messages", "must be a list of messages");
  for (const auto& message : list) prompt.messages.push_back(parse_message(message, source, where));
  if (prompt.messages.empty() || prompt.messages.back().role != Message::Role::user)
    fail(where, "messages", "must end with a message of the user");
  prompt.reference = records::optional_text(record, "reference", where);
  prompt.source = records::optional_text(record, "source", where);
  prompt.domain = records::optional_text(record, "domain", where);
  prompt.extra = records::other_fields(record, {"id", "messages", "reference", "source", "domain"});
  return prompt;
}

PreferencePair parse_pair(const object& record, const Source& source, const std::string& where) {
  PreferencePair pair;
  pair.id = records::required_text(record, "id", where);
  pair.prompt = parse_prompt(required_object(record, "prompt", where), source, where);
  if (records::find(record, "rejected_prompt"))
    pair.rejected_prompt =
        parse_prompt(required_object(record, "rejected_prompt", where), source, where);
  pair.chosen = parse_response(required_object(record, "chosen", where), source, where);
  pair.rejected = parse_response(required_object(record, "rejected", where), source, where);
  pair.source = records::optional_text(record, "source", where);
  pair.group = records::optional_text(record, "group", where);
  pair.strength = optional_number(record, "strength", where);
  if (const auto strengths = records::find(record, "strengths")) {
    simdjson::dom::array list;
    if (strengths->get(list)) fail(where, "strengths", "must be a list of numbers");
    for (const auto& value : list) {
      double number = 0;
      if (value.get(number)) fail(where, "strengths", "must be a list of numbers");
      pair.strengths.push_back(number);
    }
  }
  pair.extra =
      records::other_fields(record, {"id", "prompt", "rejected_prompt", "chosen", "rejected",
                                     "source", "group", "strength", "strengths"});
  return pair;
}

ImagePreference parse_image_preference(const object& record, const Source& source,
                                       const std::string& where) {
  ImagePreference preference;
  preference.id = records::required_text(record, "id", where);
  preference.text = records::required_text(record, "text", where);
  for (const auto& [name, media] :
       {std::pair{"better", &preference.better}, std::pair{"worse", &preference.worse}}) {
    const auto value = records::find(record, name);
    if (!value) fail(where, name, "is missing");
    *media = parse_media(*value, source, where);
  }
  preference.source = records::optional_text(record, "source", where);
  preference.extra = records::other_fields(record, {"id", "text", "better", "worse", "source"});
  return preference;
}

}  // namespace dt2it::records
