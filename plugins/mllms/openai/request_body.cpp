// SPDX-License-Identifier: Apache-2.0
#include "request_body.hpp"

#include <fmt/format.h>
#include <simdjson.h>
#include <strings.h>

#include <algorithm>
#include <string_view>

#include "dt2it/error.hpp"
#include "plugins/common/json_out.hpp"

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

std::string joined_text(const Message& message) {
  std::string text;
  for (const Part& part : message.content) text += part.text;
  return text;
}

// A body in pieces: JSON text, with images spliced in between.
class Writer {
 public:
  enum class Wire { openai, anthropic };
  Writer(Wire wire, const BodySettings& settings, EncodedImages& images)
      : wire_(wire), settings_(settings), images_(images) {}

  Body finish() && {
    for (const auto& [name, value] : settings_.extra) member(name, value);
    json_ += '}';
    cut();
    return std::move(body_);
  }
  Body failed() && {
    body_.pieces.clear();
    return std::move(body_);
  }

  // False: body_ says why.
  bool messages(const std::vector<Message>& messages) {
    begin_member("messages");
    json_ += '[';
    bool first = true;
    for (const Message& message : messages) {
      if (wire_ == Wire::anthropic && message.role == Message::Role::system) continue;
      if (!std::exchange(first, false)) json_ += ',';
      if (!this->message(message)) return false;
    }
    json_ += ']';
    return true;
  }

  // Ours, unless the extra body has one of that name.
  void own(std::string_view name, std::string_view value) {
    const bool replaced = std::any_of(settings_.extra.begin(), settings_.extra.end(),
                                      [&](const auto& extra) { return extra.first == name; });
    if (!replaced) member(name, value);
  }
  void own_text(std::string_view name, std::string_view text) {
    std::string value;
    json_out::append_json_string(value, text);
    own(name, value);
  }

 private:
  void begin_member(std::string_view name) {
    json_ += first_member_ ? '{' : ',';
    first_member_ = false;
    json_out::append_json_string(json_, name);
    json_ += ':';
  }
  void member(std::string_view name, std::string_view value) {
    begin_member(name);
    json_ += value;
  }
  void cut() {
    body_.pieces.push_back(std::make_shared<const std::string>(std::move(json_)));
    json_.clear();
  }

  bool message(const Message& message) {
    json_ += message.role == Message::Role::system      ? R"({"role":"system","content":)"
             : message.role == Message::Role::assistant ? R"({"role":"assistant","content":)"
                                                        : R"({"role":"user","content":)";
    const bool words_only =
        std::all_of(message.content.begin(), message.content.end(),
                    [](const Part& part) { return part.kind == Part::Kind::text; });
    if (words_only) {  // as one string: some servers take no lists for system and assistant
      json_out::append_json_string(json_, joined_text(message));
    } else {
      json_ += '[';
      first_part_ = true;
      for (const Part& part : message.content)
        if (!this->part(part)) return false;
      json_ += ']';
    }
    json_ += '}';
    return true;
  }

  bool part(const Part& part) {
    if (part.kind == Part::Kind::text) {
      begin_part();
      json_ += R"({"type":"text","text":)";
      json_out::append_json_string(json_, part.text);
      json_ += '}';
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
    const EncodedImages::Encoded encoded = images_.get(media);
    if (!encoded.base64) return missing(media, encoded.problem);
    begin_part();
    if (wire_ == Wire::anthropic) {
      json_ += R"({"type":"image","source":{"type":"base64","media_type":")" + encoded.mime +
               R"(","data":")";
    } else {
      json_ += R"({"type":"image_url","image_url":{"url":"data:)" + encoded.mime + ";base64,";
    }
    cut();
    body_.pieces.push_back(encoded.base64);
    json_ += '"';
    if (wire_ == Wire::openai && settings_.image_detail)
      json_ += fmt::format(R"(,"detail":"{}")", *settings_.image_detail);
    json_ += "}}";
    return true;
  }

  void begin_part() {
    if (!first_part_) json_ += ',';
    first_part_ = false;
  }

  bool missing(const Media& media, const std::string& why) {
    body_.status = Status::missing_media;
    body_.detail = json_out::valid_utf8(
        fmt::format("image '{}': {}", media.source.empty() ? media.id : media.source, why));
    return false;
  }

  const Wire wire_;
  const BodySettings& settings_;
  EncodedImages& images_;
  Body body_;
  std::string json_;
  bool first_member_ = true, first_part_ = true;
};

// Asked for an object, servers refuse a prompt without the word.
bool says_json(const ChatRequest& request) {
  for (const Message& message : request.messages)
    for (const Part& part : message.content)
      for (std::size_t at = 0; (at = part.text.find_first_of("jJ", at)) != std::string::npos; ++at)
        if (part.text.size() - at >= 4 && strncasecmp(&part.text[at], "json", 4) == 0) return true;
  return false;
}

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
  return says_json(request) ? R"({"type":"json_object"})" : "";
}

}  // namespace

std::shared_ptr<EncodedImages> EncodedImages::of(MediaStore& media) {
  // One that lives is held by a model whose store lives, so that no other can have its address.
  static std::mutex mutex;
  static std::unordered_map<MediaStore*, std::weak_ptr<EncodedImages>> known;
  std::lock_guard lock(mutex);
  std::erase_if(known, [](const auto& one) { return one.second.expired(); });
  std::shared_ptr<EncodedImages> images = known[&media].lock();
  if (!images) known[&media] = images = std::make_shared<EncodedImages>(media);
  return images;
}

EncodedImages::Encoded EncodedImages::get(const Media& media) {
  {
    std::lock_guard lock(mutex_);
    if (const auto known = found_.find(media.id); known != found_.end()) {
      recent_.splice(recent_.begin(), recent_, known->second);
      return known->second->second;
    }
  }
  Encoded encoded;
  try {
    encoded = encode(media);
  } catch (const DataError& error) {
    encoded.problem = error.what();
  }
  if (!encoded.base64 || encoded.base64->size() > most_ / 4) return encoded;
  std::lock_guard lock(mutex_);
  if (found_.contains(media.id)) return encoded;
  recent_.emplace_front(media.id, encoded);
  found_[media.id] = recent_.begin();
  bytes_ += encoded.base64->size();
  while (bytes_ > most_) {
    bytes_ -= recent_.back().second.base64->size();
    found_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return encoded;
}

EncodedImages::Encoded EncodedImages::encode(const Media& media) {
  Encoded encoded;
  Bytes bytes = media_.bytes(media);
  encoded.mime = sent_type(bytes);
  if (encoded.mime.empty()) {
    const DecodedImage decoded = media_.decode(media);
    if (decoded.status != Status::ok) {
      encoded.problem = decoded.detail;
      return encoded;
    }
    bytes = media_.bytes(media_.put_image(decoded.image, media.source));
    encoded.mime = "image/png";
  }
  std::string base64;
  json_out::append_base64(base64, bytes);
  encoded.base64 = std::make_shared<const std::string>(std::move(base64));
  return encoded;
}

Body request_body(const ChatRequest& request, const BodySettings& settings, const WireForm& form,
                  EncodedImages& images) {
  Writer writer(Writer::Wire::openai, settings, images);
  writer.own_text("model", settings.model);
  if (!writer.messages(request.messages)) return std::move(writer).failed();
  const Sampling& sampling = request.sampling;
  if (const auto limit = sampling.max_tokens ? sampling.max_tokens : settings.max_tokens)
    writer.own(form.completion_tokens ? "max_completion_tokens" : "max_tokens",
               fmt::format("{}", *limit));
  const auto temperature = sampling.temperature ? sampling.temperature : settings.temperature;
  if (form.temperature && temperature) writer.own("temperature", fmt::format("{}", *temperature));
  if (form.top_p && sampling.top_p) writer.own("top_p", fmt::format("{}", *sampling.top_p));
  if (form.seed && settings.seed)
    writer.own("seed", fmt::format("{}", *settings.seed + sampling.sample));
  if (const std::string format = response_format(request, form.json); !format.empty())
    writer.own("response_format", format);
  return std::move(writer).finish();
}

Body anthropic_body(const ChatRequest& request, const BodySettings& settings, const WireForm& form,
                    EncodedImages& images) {
  Writer writer(Writer::Wire::anthropic, settings, images);
  writer.own_text("model", settings.model);
  const Sampling& sampling = request.sampling;
  writer.own("max_tokens", fmt::format("{}", sampling.max_tokens.value_or(
                                                 settings.max_tokens.value_or(kAnthropicLimit))));
  std::string system;
  for (const Message& message : request.messages)
    if (message.role == Message::Role::system)
      system += (system.empty() ? "" : "\n\n") + joined_text(message);
  if (!system.empty()) writer.own_text("system", system);
  if (!writer.messages(request.messages)) return std::move(writer).failed();
  const auto temperature = sampling.temperature ? sampling.temperature : settings.temperature;
  if (form.temperature && temperature)
    writer.own("temperature", fmt::format("{}", std::min(*temperature, 1.0)));
  if (form.top_p && sampling.top_p) writer.own("top_p", fmt::format("{}", *sampling.top_p));
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
