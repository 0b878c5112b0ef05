// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "core/data/names.hpp"
#include "core/data/records.hpp"
#include "core/util/json.hpp"
#include "core/util/json_scan.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

namespace dom = simdjson::dom;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw DataError(where + ": " + what);
}

template <class Enum, std::size_t N>
Enum value_from(const std::array<std::string_view, N>& names, std::string_view name,
                const std::string& where, std::string_view key) {
  if (const auto value = value_named<Enum>(names, name)) return *value;
  fail(where, fmt::format("'{}' is '{}' (allowed: {})", key, name, fmt::join(names, ", ")));
}

// The members of an object; `known` ones that are null are left out, as if they were absent.
std::vector<std::pair<std::string, JsonRef>> members_of(const JsonRef& json,
                                                        const std::string& where,
                                                        std::string_view what,
                                                        std::span<const std::string_view> known) {
  if (!json.is_object()) fail(where, fmt::format("'{}' must be a JSON object", what));
  auto members = json.members();
  std::erase_if(members, [&](const auto& member) {
    return member.second.element.is_null() &&
           std::find(known.begin(), known.end(), member.first) != known.end();
  });
  return members;
}

std::vector<JsonRef> items_of(const JsonRef& json, const std::string& where, std::string_view key) {
  if (!json.is_array()) fail(where, fmt::format("'{}' must be a list", key));
  return json.items();
}

std::string text_from(const JsonRef& json, const std::string& where, std::string_view key) {
  std::string_view text;
  if (json.element.get(text) != simdjson::SUCCESS)
    fail(where, fmt::format("'{}' must be a string", key));
  return json.simplified ? unescape_json_string(json.raw) : std::string(text);
}

double number_from(const JsonRef& json, const std::string& where, std::string_view key) {
  double number = 0;
  if (json.element.get(number) != simdjson::SUCCESS)
    fail(where, fmt::format("'{}' must be a number", key));
  return number;
}

// null where a number has no value: what the writer makes of NaN.
double number_or_nan_from(const JsonRef& json, const std::string& where, std::string_view key) {
  return json.element.is_null() ? std::numeric_limits<double>::quiet_NaN()
                                : number_from(json, where, key);
}

int int_from(const JsonRef& json, const std::string& where, std::string_view key) {
  std::int64_t number = 0;
  if (json.element.get(number) != simdjson::SUCCESS || number < 0 || number > 1'000'000'000)
    fail(where, fmt::format("'{}' must be an integer from 0 to 1,000,000,000", key));
  return static_cast<int>(number);
}

bool is_media_id(std::string_view id) {
  return id.size() == 64 && id.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Collects the keys that a record does not know.
class Extra {
 public:
  void add(const std::string& key, const JsonRef& value) {
    json_ += json_.empty() ? '{' : ',';
    append_json_string(json_, key);
    json_ += ':';
    if (value.raw.empty())
      json_ += simdjson::minify(value.element);
    else
      json_ += value.raw;
  }
  std::string take() {
    if (!json_.empty()) json_ += '}';
    return std::move(json_);
  }

 private:
  std::string json_;
};

Media media_from(const JsonRef& json, const std::string& where) {
  Media media;
  for (const auto& [key, value] : members_of(json, where, "media", kMediaKeys)) {
    if (key == "kind") {
      media.kind = value_from<Media::Kind>(kMediaNames, text_from(value, where, key), where, key);
    } else if (key == "id") {
      media.id = text_from(value, where, key);
      if (!is_media_id(media.id))
        fail(where, fmt::format("'{}' of a media must be 64 lower-case hexadecimal digits", key));
    } else if (key == "mime") {
      media.mime = text_from(value, where, key);
    } else if (key == "width") {
      media.width = int_from(value, where, key);
    } else if (key == "height") {
      media.height = int_from(value, where, key);
    } else if (key == "source") {
      media.source = text_from(value, where, key);
    } else if (key == "frames") {
      for (const JsonRef& frame : items_of(value, where, key)) {
        media.frames.push_back(text_from(frame, where, key));
        if (!is_media_id(media.frames.back()))
          fail(where,
               fmt::format("'{}' of a media must be ids of 64 lower-case hexadecimal digits", key));
      }
    } else {
      fail(where, fmt::format("unknown key '{}' in a media (allowed: {})", key,
                              fmt::join(kMediaKeys, ", ")));
    }
  }
  return media;
}

Part part_from(const JsonRef& json, const std::string& where) {
  Part part;
  std::string kind;
  std::vector<std::string> filled;
  for (const auto& [key, value] : members_of(json, where, "content", kPartKeys)) {
    if (key == "type") {
      kind = text_from(value, where, key);
      part.kind = value_from<Part::Kind>(kPartNames, kind, where, key);
    } else if (key == "text") {
      part.text = text_from(value, where, key);
      filled.push_back(key);
    } else if (key == "image" || key == "video") {
      part.media = media_from(value, where);
      filled.push_back(key);
    } else {
      fail(where, fmt::format("unknown key '{}' in a message's content (allowed: {})", key,
                              fmt::join(kPartKeys, ", ")));
    }
  }
  if (kind.empty())
    fail(where,
         fmt::format("a message's content must have 'type' ({})", fmt::join(kPartNames, ", ")));
  if (filled.size() != 1 || filled.front() != kind)
    fail(where,
         fmt::format("a message's content of type '{0}' must have '{0}' and nothing else", kind));
  return part;
}

Message message_from(const JsonRef& json, const std::string& where) {
  Message message;
  bool has_role = false, has_content = false;
  for (const auto& [key, value] : members_of(json, where, "message", kMessageKeys)) {
    if (key == "role") {
      message.role =
          value_from<Message::Role>(kRoleNames, text_from(value, where, key), where, key);
      has_role = true;
    } else if (key == "content") {
      for (const JsonRef& part : items_of(value, where, key))
        message.content.push_back(part_from(part, where));
      has_content = true;
    } else {
      fail(where, fmt::format("unknown key '{}' in a message (allowed: {})", key,
                              fmt::join(kMessageKeys, ", ")));
    }
  }
  if (!has_role || !has_content) fail(where, "a message must have 'role' and 'content'");
  return message;
}

}  // namespace

std::string_view to_string(Status status) { return name_of(kStatusNames, status); }

std::string_view to_string(Decision::Action action) { return name_of(kActionNames, action); }

Status status_from(std::string_view name, const std::string& where) {
  return value_from<Status>(kStatusNames, name, where, "status");
}

Prompt prompt_from(const JsonRef& json, const std::string& where) {
  Prompt prompt;
  Extra extra;
  bool has_messages = false;
  for (const auto& [key, value] : members_of(json, where, "prompt", kPromptKeys)) {
    if (key == "id") {
      prompt.id = text_from(value, where, key);
    } else if (key == "messages") {
      has_messages = true;
      for (const JsonRef& message : items_of(value, where, key))
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

Response response_from(const JsonRef& json, const std::string& where) {
  Response response;
  Extra extra;
  bool has_text = false;
  for (const auto& [key, value] : members_of(json, where, "response", kResponseKeys)) {
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

Score score_from(const JsonRef& json, const std::string& where) {
  Score score;
  for (const auto& [key, value] : members_of(json, where, "score", kScoreKeys)) {
    if (key == "status") {
      score.status = status_from(text_from(value, where, key), where);
    } else if (key == "overall") {
      score.overall = number_from(value, where, key);
    } else if (key == "stated_overall") {
      score.stated_overall = number_from(value, where, key);
    } else if (key == "criteria") {
      for (const JsonRef& item : items_of(value, where, key)) {
        Criterion criterion;
        for (const auto& [name, part] : members_of(item, where, "criteria", kCriterionKeys)) {
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

PreferencePair pair_from(const JsonRef& json, const std::string& where) {
  PreferencePair pair;
  Extra extra;
  bool has_prompt = false, has_chosen = false, has_rejected = false;
  for (const auto& [key, value] : members_of(json, where, "pair", kPairKeys)) {
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
      for (const JsonRef& item : items_of(value, where, key))
        pair.strengths.push_back(number_or_nan_from(item, where, key));
    } else {
      extra.add(key, value);
    }
  }
  if (!has_prompt || !has_chosen || !has_rejected)
    fail(where, "a preference pair must have 'prompt', 'chosen' and 'rejected'");
  pair.extra = extra.take();
  return pair;
}

ImagePreference image_preference_from(const JsonRef& json, const std::string& where) {
  ImagePreference preference;
  Extra extra;
  bool has_text = false, has_better = false, has_worse = false;
  for (const auto& [key, value] : members_of(json, where, "image preference", kPreferenceKeys)) {
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

std::vector<std::pair<std::string, JsonRef>> JsonRef::members() const {
  std::vector<std::pair<std::string, JsonRef>> result;
  dom::object object;
  if (element.get(object) != simdjson::SUCCESS) return result;
  const std::vector<RawMember> written = raw_members(raw);
  std::size_t i = 0;
  for (const auto& [key, value] : object) {
    if (i < written.size())
      result.emplace_back(simplified ? unescape_json_string(written[i].key) : std::string(key),
                          JsonRef(value, written[i].value, simplified));
    else
      result.emplace_back(std::string(key), JsonRef(value));
    ++i;
  }
  return result;
}

std::vector<JsonRef> JsonRef::items() const {
  std::vector<JsonRef> result;
  dom::array array;
  if (element.get(array) != simdjson::SUCCESS) return result;
  const std::vector<std::string_view> written = raw_items(raw);
  std::size_t i = 0;
  for (const dom::element item : array) {
    result.push_back(i < written.size() ? JsonRef(item, written[i], simplified) : JsonRef(item));
    ++i;
  }
  return result;
}

std::optional<JsonRef> JsonRef::member(std::string_view key) const {
  std::optional<JsonRef> found;
  for (auto& [name, value] : members())
    if (name == key) found = value;
  return found;
}

JsonRef JsonParser::parse(std::string_view text, const std::string& where) {
  JsonRef json({}, text, false);
  // A surrogate escape is looked at by ourselves: simdjson 3.0 makes some text or other of a half pair.
  auto error = simdjson::SUCCESS;
  bool simplify =
      text.find("\\ud") != std::string_view::npos || text.find("\\uD") != std::string_view::npos;
  if (!simplify) {
    error = parser_.parse(text.data(), text.size()).get(json.element);
    simplify = error == simdjson::NUMBER_ERROR;
  }
  if (simplify) {
    simplified_ = simplify_json(text);
    json.simplified = simplified_ != text;
    error = parser_.parse(simplified_).get(json.element);
  }
  if (error != simdjson::SUCCESS)
    fail(where, fmt::format("not valid JSON: {}", simdjson::error_message(error)));
  return json;
}

bool JsonLineReader::next_line(std::string_view& line) {
  do {
    if (!lines_.next(line)) return false;
  } while (line.find_first_not_of(" \t\r") == std::string_view::npos);
  return true;
}

bool JsonLineReader::next(JsonRef& json) {
  std::string_view line;
  if (!next_line(line)) return false;
  json = parse(line);
  return true;
}

bool JsonLineReader::next(dom::element& element) {
  JsonRef json;
  if (!next(json)) return false;
  element = json.element;
  return true;
}

std::vector<Prompt> read_prompts(const std::filesystem::path& file) {
  std::vector<Prompt> prompts;
  PromptReader reader(file);
  for (Prompt prompt; reader.next(prompt);) prompts.push_back(std::move(prompt));
  return prompts;
}

}  // namespace dt2it
