// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "core/data/names.hpp"
#include "core/data/records.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

namespace dom = simdjson::dom;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw DataError(where + ": " + what);
}

template <std::size_t N>
std::size_t index_of(const std::array<std::string_view, N>& names, std::string_view name,
                     const std::string& where, std::string_view key) {
  for (std::size_t i = 0; i < N; ++i)
    if (names[i] == name) return i;
  fail(where, fmt::format("'{}' is '{}' (allowed: {})", key, name, fmt::join(names, ", ")));
}

dom::object object_from(const dom::element& json, const std::string& where, std::string_view what) {
  dom::object object;
  if (json.get(object) != simdjson::SUCCESS)
    fail(where, fmt::format("'{}' must be a JSON object", what));
  return object;
}

dom::array array_from(const dom::element& json, const std::string& where, std::string_view key) {
  dom::array array;
  if (json.get(array) != simdjson::SUCCESS) fail(where, fmt::format("'{}' must be a list", key));
  return array;
}

std::string text_from(const dom::element& json, const std::string& where, std::string_view key) {
  std::string_view text;
  if (json.get(text) != simdjson::SUCCESS) fail(where, fmt::format("'{}' must be a string", key));
  return std::string(text);
}

double number_from(const dom::element& json, const std::string& where, std::string_view key) {
  double number = 0;
  if (json.get(number) != simdjson::SUCCESS) fail(where, fmt::format("'{}' must be a number", key));
  return number;
}

int int_from(const dom::element& json, const std::string& where, std::string_view key) {
  std::int64_t number = 0;
  if (json.get(number) != simdjson::SUCCESS || number < 0 || number > 1'000'000'000)
    fail(where, fmt::format("'{}' must be an integer from 0 to 1,000,000,000", key));
  return static_cast<int>(number);
}

// Collects the keys that a record does not know.
class Extra {
 public:
  void add(std::string_view key, const dom::element& value) {
    json_ += json_.empty() ? '{' : ',';
    append_json_string(json_, key);
    json_ += ':';
    json_ += simdjson::minify(value);
  }
  std::string take() {
    if (!json_.empty()) json_ += '}';
    return std::move(json_);
  }

 private:
  std::string json_;
};

Media media_from(const dom::element& json, const std::string& where) {
  Media media;
  for (const auto& [key, value] : object_from(json, where, "media")) {
    if (key == "kind") {
      media.kind = text_from(value, where, key) == "video" ? Media::Kind::video : Media::Kind::image;
    } else if (key == "id") {
      media.id = text_from(value, where, key);
      if (media.id.size() != 64 || media.id.find_first_not_of("0123456789abcdef") != std::string::npos)
        fail(where, "a media 'id' must be 64 lower-case hexadecimal digits");
    } else if (key == "mime") {
      media.mime = text_from(value, where, key);
    } else if (key == "width") {
      media.width = int_from(value, where, key);
    } else if (key == "height") {
      media.height = int_from(value, where, key);
    } else if (key == "source") {
      media.source = text_from(value, where, key);
    } else if (key == "frames") {
      for (const dom::element frame : array_from(value, where, key))
        media.frames.push_back(text_from(frame, where, "frames"));
    } else {
      fail(where, fmt::format("unknown key '{}' in a media (allowed: kind, id, mime, width, height, source, "
                              "frames)", key));
    }
  }
  return media;
}

Part part_from(const dom::element& json, const std::string& where) {
  Part part;
  bool typed = false;
  bool filled = false;
  for (const auto& [key, value] : object_from(json, where, "content")) {
    if (key == "type") {
      part.kind = static_cast<Part::Kind>(index_of(kPartNames, text_from(value, where, key), where, key));
      typed = true;
    } else if (key == "text") {
      part.text = text_from(value, where, key);
      filled = true;
    } else if (key == "image" || key == "video") {
      part.media = media_from(value, where);
      filled = true;
    } else {
      fail(where, fmt::format("unknown key '{}' in a message's content (allowed: type, text, image, video)", key));
    }
  }
  if (!typed || !filled) fail(where, "a message's content must have 'type' and what it names");
  return part;
}

Message message_from(const dom::element& json, const std::string& where) {
  Message message;
  for (const auto& [key, value] : object_from(json, where, "message")) {
    if (key == "role") {
      message.role =
          static_cast<Message::Role>(index_of(kRoleNames, text_from(value, where, key), where, key));
    } else if (key == "content") {
      for (const dom::element part : array_from(value, where, key))
        message.content.push_back(part_from(part, where));
    } else {
      fail(where, fmt::format("unknown key '{}' in a message (allowed: role, content)", key));
    }
  }
  return message;
}

}  // namespace

std::string_view to_string(Status status) { return kStatusNames[static_cast<std::size_t>(status)]; }

std::string_view to_string(Decision::Action action) {
  return kActionNames[static_cast<std::size_t>(action)];
}

Status status_from(std::string_view name, const std::string& where) {
  return static_cast<Status>(index_of(kStatusNames, name, where, "status"));
}

Prompt prompt_from(const dom::element& json, const std::string& where) {
  Prompt prompt;
  Extra extra;
  bool has_messages = false;
  for (const auto& [key, value] : object_from(json, where, "prompt")) {
    if (key == "id") {
      prompt.id = text_from(value, where, key);
    } else if (key == "messages") {
      has_messages = true;
      for (const dom::element message : array_from(value, where, key))
        prompt.messages.push_back(message_from(message, where));
    } else if (key == "reference") {
      prompt.reference = text_from(value, where, key);
    } else if (key == "source") {
      prompt.source = text_from(value, where, key);
    } else if (key == "domain") {
      prompt.domain = text_from(value, where, key);
    } else {
      extra.add(key, value);
    }
  }
  if (!has_messages) fail(where, "a prompt must have 'messages'");
  prompt.extra = extra.take();
  return prompt;
}

Response response_from(const dom::element& json, const std::string& where) {
  Response response;
  Extra extra;
  bool has_text = false;
  for (const auto& [key, value] : object_from(json, where, "response")) {
    if (key == "id") {
      response.id = text_from(value, where, key);
    } else if (key == "text") {
      response.text = text_from(value, where, key);
      has_text = true;
    } else if (key == "mllm") {
      response.mllm = text_from(value, where, key);
    } else if (key == "origin") {
      response.origin = text_from(value, where, key);
    } else if (key == "status") {
      response.status = status_from(text_from(value, where, key), where);
    } else if (key == "finish_reason") {
      response.finish_reason = text_from(value, where, key);
    } else if (key == "noised_image") {
      response.noised_image = media_from(value, where);
    } else {
      extra.add(key, value);
    }
  }
  if (!has_text) fail(where, "a response must have 'text'");
  response.extra = extra.take();
  return response;
}

Score score_from(const dom::element& json, const std::string& where) {
  Score score;
  for (const auto& [key, value] : object_from(json, where, "score")) {
    if (key == "status") {
      score.status = status_from(text_from(value, where, key), where);
    } else if (key == "overall") {
      score.overall = number_from(value, where, key);
    } else if (key == "stated_overall") {
      score.stated_overall = number_from(value, where, key);
    } else if (key == "criteria") {
      for (const dom::element item : array_from(value, where, key)) {
        Criterion criterion;
        for (const auto& [name, part] : object_from(item, where, "criteria")) {
          if (name == "name") criterion.name = text_from(part, where, name);
          if (name == "weight") criterion.weight = number_from(part, where, name);
          if (name == "score") criterion.score = number_from(part, where, name);
          if (name == "analysis") criterion.analysis = text_from(part, where, name);
        }
        score.criteria.push_back(std::move(criterion));
      }
    } else if (key == "judge_reference") {
      score.judge_reference = text_from(value, where, key);
    } else if (key == "detail") {
      score.detail = text_from(value, where, key);
    } else if (key == "reply") {
      score.reply = text_from(value, where, key);
    }
  }
  return score;
}

PreferencePair pair_from(const dom::element& json, const std::string& where) {
  PreferencePair pair;
  Extra extra;
  bool has_prompt = false, has_chosen = false, has_rejected = false;
  for (const auto& [key, value] : object_from(json, where, "pair")) {
    if (key == "id") {
      pair.id = text_from(value, where, key);
    } else if (key == "prompt") {
      pair.prompt = prompt_from(value, where);
      has_prompt = true;
    } else if (key == "rejected_prompt") {
      pair.rejected_prompt = prompt_from(value, where);
    } else if (key == "chosen") {
      pair.chosen = response_from(value, where);
      has_chosen = true;
    } else if (key == "rejected") {
      pair.rejected = response_from(value, where);
      has_rejected = true;
    } else if (key == "source") {
      pair.source = text_from(value, where, key);
    } else if (key == "group") {
      pair.group = text_from(value, where, key);
    } else if (key == "strength") {
      pair.strength = number_from(value, where, key);
    } else if (key == "strengths") {
      for (const dom::element item : array_from(value, where, key))
        pair.strengths.push_back(number_from(item, where, key));
    } else {
      extra.add(key, value);
    }
  }
  if (!has_prompt || !has_chosen || !has_rejected)
    fail(where, "a preference pair must have 'prompt', 'chosen' and 'rejected'");
  pair.extra = extra.take();
  return pair;
}

ImagePreference image_preference_from(const dom::element& json, const std::string& where) {
  ImagePreference preference;
  Extra extra;
  bool has_text = false, has_better = false, has_worse = false;
  for (const auto& [key, value] : object_from(json, where, "image preference")) {
    if (key == "id") {
      preference.id = text_from(value, where, key);
    } else if (key == "text") {
      preference.text = text_from(value, where, key);
      has_text = true;
    } else if (key == "better") {
      preference.better = media_from(value, where);
      has_better = true;
    } else if (key == "worse") {
      preference.worse = media_from(value, where);
      has_worse = true;
    } else if (key == "source") {
      preference.source = text_from(value, where, key);
    } else {
      extra.add(key, value);
    }
  }
  if (!has_text || !has_better || !has_worse)
    fail(where, "an image preference must have 'text', 'better' and 'worse'");
  preference.extra = extra.take();
  return preference;
}

bool JsonLineReader::next(dom::element& element) {
  std::string_view line;
  do {
    if (!lines_.next(line)) return false;
  } while (line.find_first_not_of(" \t\r") == std::string_view::npos);
  const auto error = parser_.parse(line.data(), line.size()).get(element);
  if (error != simdjson::SUCCESS)
    fail(where(), fmt::format("not valid JSON: {}", simdjson::error_message(error)));
  return true;
}

bool PairReader::next(PreferencePair& pair) {
  dom::element element;
  if (!lines_.next(element)) return false;
  pair = pair_from(element, lines_.where());
  return true;
}

std::vector<Prompt> read_prompts(const std::filesystem::path& file) {
  std::vector<Prompt> prompts;
  JsonLineReader lines(file);
  for (dom::element element; lines.next(element);) prompts.push_back(prompt_from(element, lines.where()));
  return prompts;
}

}  // namespace dt2it
