// SPDX-License-Identifier: Apache-2.0
#include "request_body.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <string_view>

#include "dt2it/error.hpp"
#include "json_out.hpp"

namespace dt2it::openai {
namespace {

// By the first bytes; empty for what chat services do not promise to read.
std::string_view sent_type(const Bytes& bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("\x89PNG\r\n\x1a\n")) return "image/png";
  if (text.starts_with("\xff\xd8\xff")) return "image/jpeg";
  if (text.starts_with("GIF8")) return "image/gif";
  if (text.starts_with("RIFF") && text.substr(0, 12).ends_with("WEBP")) return "image/webp";
  return "";
}

class Writer {
 public:
  Writer(const BodySettings& settings, MediaStore& media) : settings_(settings), media_(media) {}

  Body finish() && {
    for (const auto& [name, value] : settings_.extra) member(name, value);
    body_.json += '}';
    return std::move(body_);
  }
  Body failed() && { return std::move(body_); }

  // False: body_ says why.
  bool messages(const std::vector<Message>& messages) {
    begin_member("messages");
    body_.json += '[';
    for (std::size_t i = 0; i < messages.size(); ++i) {
      if (i > 0) body_.json += ',';
      if (!message(messages[i])) return false;
    }
    body_.json += ']';
    return true;
  }

  // Ours, unless the extra body has one of that name.
  void own(std::string_view name, std::string_view value) {
    const bool replaced = std::any_of(settings_.extra.begin(), settings_.extra.end(),
                                      [&](const auto& extra) { return extra.first == name; });
    if (!replaced) member(name, value);
  }

 private:
  void begin_member(std::string_view name) {
    body_.json += body_.json.empty() ? '{' : ',';
    append_json_string(body_.json, name);
    body_.json += ':';
  }
  void member(std::string_view name, std::string_view value) {
    begin_member(name);
    body_.json += value;
  }

  bool message(const Message& message) {
    body_.json += message.role == Message::Role::system      ? R"({"role":"system","content":)"
                  : message.role == Message::Role::assistant ? R"({"role":"assistant","content":)"
                                                             : R"({"role":"user","content":)";
    const bool words_only =
        std::all_of(message.content.begin(), message.content.end(),
                    [](const Part& part) { return part.kind == Part::Kind::text; });
    if (words_only) {  // as one string: some servers take no lists for system and assistant
      std::string text;
      for (const Part& part : message.content) text += part.text;
      append_json_string(body_.json, text);
    } else {
      body_.json += '[';
      first_part_ = true;
      for (const Part& part : message.content)
        if (!this->part(part)) return false;
      body_.json += ']';
    }
    body_.json += '}';
    return true;
  }

  bool part(const Part& part) {
    if (part.kind == Part::Kind::text) {
      begin_part();
      body_.json += R"({"type":"text","text":)";
      append_json_string(body_.json, part.text);
      body_.json += '}';
      return true;
    }
    if (part.media.frames.empty()) {
      if (part.kind == Part::Kind::video && part.media.present())
        return missing(part.media, "a video file cannot be sent, only one given as frames");
      return image(part.media);
    }
    for (const std::string& id : part.media.frames) {
      Media frame;
      frame.id = id;
      frame.source = part.media.source;
      if (!image(frame)) return false;
    }
    return true;
  }

  bool image(const Media& media) {
    if (!media.present()) return missing(media, "it is absent");
    Bytes bytes;
    std::string_view type;
    try {
      bytes = media_.bytes(media);
      type = sent_type(bytes);
      if (type.empty()) {
        const DecodedImage decoded = media_.decode(media);
        if (decoded.status != Status::ok) return missing(media, decoded.detail);
        bytes = media_.bytes(media_.put_image(decoded.image, media.source));
        type = "image/png";
      }
    } catch (const DataError& error) {
      return missing(media, error.what());
    }
    begin_part();
    body_.json += R"({"type":"image_url","image_url":{"url":"data:)";
    body_.json += type;
    body_.json += ";base64,";
    append_base64(body_.json, bytes);
    body_.json += '"';
    if (settings_.image_detail)
      body_.json += fmt::format(R"(,"detail":"{}")", *settings_.image_detail);
    body_.json += "}}";
    return true;
  }

  void begin_part() {
    if (!first_part_) body_.json += ',';
    first_part_ = false;
  }

  bool missing(const Media& media, const std::string& why) {
    body_.status = Status::missing_media;
    body_.detail = valid_utf8(
        fmt::format("image '{}': {}", media.source.empty() ? media.id : media.source, why));
    return false;
  }

  const BodySettings& settings_;
  MediaStore& media_;
  Body body_;
  bool first_part_ = true;
};

// How the answer's form is asked for; empty: not at all.
std::string response_format(const ChatRequest& request, JsonForm form) {
  if (request.format != ResponseFormat::json || form == JsonForm::none) return {};
  if (form == JsonForm::schema && !request.json_schema.empty()) {
    simdjson::dom::parser parser;
    simdjson::dom::element schema;
    // Minified: a schema that is no JSON must not get into the body.
    if (!parser.parse(request.json_schema).get(schema) && schema.is_object())
      return fmt::format(
          R"({{"type":"json_schema","json_schema":{{"name":"reply","strict":true,"schema":{}}}}})",
          simdjson::minify(schema));
  }
  return R"({"type":"json_object"})";
}

}  // namespace

Body request_body(const ChatRequest& request, const BodySettings& settings, const WireForm& form,
                  MediaStore& media) {
  Writer writer(settings, media);
  std::string model;
  append_json_string(model, settings.model);
  writer.own("model", model);
  if (!writer.messages(request.messages)) return std::move(writer).failed();
  const Sampling& sampling = request.sampling;
  if (const auto limit = sampling.max_tokens ? sampling.max_tokens : settings.max_tokens)
    writer.own(form.completion_tokens ? "max_completion_tokens" : "max_tokens",
               fmt::format("{}", *limit));
  if (form.temperature && sampling.temperature)
    writer.own("temperature", fmt::format("{}", *sampling.temperature));
  if (form.top_p && sampling.top_p) writer.own("top_p", fmt::format("{}", *sampling.top_p));
  if (form.seed && settings.seed)
    writer.own("seed", fmt::format("{}", *settings.seed + sampling.sample));
  if (const std::string format = response_format(request, form.json); !format.empty())
    writer.own("response_format", format);
  return std::move(writer).finish();
}

std::vector<std::pair<std::string, std::string>> read_extra_body(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> members;
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return members;
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  if (parser.parse(text).get(object))
    throw ConfigError(
        "extra_body must be a JSON object, for example '{\"reasoning_effort\": \"low\"}'");
  for (const auto& [key, value] : object) {
    if (key == "messages" || key == "stream")
      throw ConfigError(fmt::format("extra_body must not contain \"{}\"", key));
    members.emplace_back(std::string(key), simdjson::minify(value));
  }
  return members;
}

}  // namespace dt2it::openai
