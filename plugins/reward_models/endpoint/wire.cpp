// SPDX-License-Identifier: Apache-2.0
#include "plugins/reward_models/endpoint/wire.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "dt2it/error.hpp"
#include "dt2it/names.hpp"
#include "dt2it/secrets.hpp"
#include "plugins/common/json_out.hpp"

namespace dt2it::endpoint {

using json_out::append_base64;
using json_out::append_json_string;
using json_out::valid_utf8;
using simdjson::dom::array;
using simdjson::dom::element;

namespace {

void append_media(std::string& json, const Media& media, Part::Kind kind, MediaStore& store) {
  if (media.id.empty())
    throw DataError(media.frames.empty()
                        ? fmt::format("'{}' is absent", media.source)
                        : fmt::format("'{}' is a video given as frames, which no endpoint takes",
                                      media.source));
  const char* type = kind == Part::Kind::video ? "video_url" : "image_url";
  json += fmt::format(R"({{"type":"{0}","{0}":{{"url":"data:{1};base64,)", type,
                      media.mime.empty() ? "application/octet-stream" : media.mime);
  append_base64(json, store.bytes(media));
  json += "\"}}";
}

constexpr std::size_t kLongestWords = 500;

Reward unparsed(std::string detail) {
  return {Status::unparsed, std::numeric_limits<double>::quiet_NaN(), std::move(detail)};
}

Reward number(element value) {
  double reward = 0;
  if (value.get(reward) || !std::isfinite(reward))
    return unparsed("the reward is no finite number");
  return {Status::ok, reward, {}};
}

// One number, or the last of a list; a list for each token ends with that of the answer's last one.
Reward last_number(element value) {
  array list;
  if (value.get(list)) return number(value);
  element last;
  bool some = false;
  std::size_t width = 0;
  for (const element one : list) last = one, some = true, ++width;
  if (!some) return unparsed("the answer has no reward");
  if (last.is_array()) return last_number(last);
  if (width > 1)
    return unparsed(fmt::format("{} numbers came where a reward model has one", width));
  return number(last);
}

Reward own_reward(element entry) {
  std::string_view status, detail;
  if (entry["status"].get(status)) return unparsed("a reward has no status");
  for (std::size_t i = 1; i < kStatusNames.size(); ++i)
    if (status == kStatusNames[i]) {
      if (entry["detail"].get(detail)) detail = {};
      return {static_cast<Status>(i), std::numeric_limits<double>::quiet_NaN(),
              std::string(detail)};
    }
  element value;
  if (status != "ok" || entry["reward"].get(value)) return unparsed("a reward has no value");
  return number(value);
}

// What is wrong with each field, as FastAPI says it: [{"loc":["body","messages"],"msg":"..."}].
std::string field_errors(array list) {
  std::string all;
  for (const element one : list) {
    std::string_view message;
    if (one["msg"].get(message)) continue;
    if (!all.empty()) all += "; ";
    array place;
    if (!one["loc"].get(place)) {
      std::string where;
      for (const element step : place) {
        std::string_view name;
        where += where.empty() ? "" : ".";
        where += step.get(name) ? simdjson::minify(step) : std::string(name);
      }
      all += where + ": ";
    }
    all += message;
  }
  return all;
}

// The forms of dt2it serve, vLLM, OpenAI, FastAPI; empty where it is none of them.
std::string words_of(std::string_view body) {
  simdjson::dom::parser parser;
  element root;
  if (parser.parse(body.data(), body.size()).get(root)) return {};
  std::string_view words;
  if (!root["error"]["message"].get(words) || !root["error"].get(words) ||
      !root["message"].get(words) || !root["detail"].get(words))
    return std::string(words);
  array list;
  return root["detail"].get(list) ? std::string() : field_errors(list);
}

// In one line and cut between two characters.
std::string in_short(const std::string& text) {
  std::string line;
  for (const char c : valid_utf8(text)) {
    const bool blank = static_cast<unsigned char>(c) <= 0x20 || c == 0x7f;
    if (!blank)
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  }
  std::size_t end = std::min(line.size(), kLongestWords);
  while (end < line.size() && end > 0 && (line[end] & 0xC0) == 0x80) --end;
  line.resize(end);
  while (line.ends_with(' ')) line.pop_back();
  return line;
}

}  // namespace

std::string write_messages(const Prompt& prompt, MediaStore& media) {
  constexpr std::array kRoles{"system", "user", "assistant"};
  std::string json;
  for (const Message& message : prompt.messages) {
    if (!json.empty()) json += ',';
    json +=
        fmt::format(R"({{"role":"{}","content":[)", kRoles[static_cast<std::size_t>(message.role)]);
    bool first = true;
    for (const Part& part : message.content) {
      if (!first) json += ',';
      first = false;
      if (part.kind == Part::Kind::text) {
        json += R"({"type":"text","text":)";
        append_json_string(json, part.text);
        json += '}';
      } else {
        append_media(json, part.media, part.kind, media);
      }
    }
    json += "]}";
  }
  return json;
}

std::string write_request(Api api, const std::string& model, const std::string& messages,
                          std::span<const Response> responses) {
  std::string json = "{";
  if (!model.empty()) {
    json += R"("model":)";
    append_json_string(json, model);
    json += ',';
  }
  json += R"("messages":[)" + messages;
  if (api == Api::rewards) {
    json += R"(],"candidates":[)";
    for (std::size_t i = 0; i < responses.size(); ++i) {
      if (i) json += ',';
      append_json_string(json, responses[i].text);
    }
    return json + "]}";
  }
  // Without its activation vLLM gives the head's own value; with it a single one goes through a
  // sigmoid.
  json += R"(,{"role":"assistant","content":)";
  append_json_string(json, responses.front().text);
  return json + R"(}],"add_generation_prompt":false,"use_activation":false})";
}

std::vector<Reward> read_answer(Api api, std::string_view body, std::size_t count) {
  simdjson::dom::parser parser;
  element root;
  array data;
  const auto all = [&](const std::string& detail) {
    return std::vector<Reward>(count, unparsed(detail));
  };
  if (parser.parse(body.data(), body.size()).get(root)) return all("the answer is no JSON");
  if (root["data"].get(data)) return all("the answer has no list 'data'");
  if (data.size() != count)
    return all(fmt::format("the answer has {} entries, {} were asked for", data.size(), count));
  std::vector<Reward> rewards(count, unparsed("the answer has no entry for this response"));
  std::size_t at = 0;
  for (const element entry : data) {
    std::uint64_t index = at++;
    if (element given; !entry["index"].get(given) && given.get(index))
      return all("an index is no number");
    if (index >= count) return all("an index is out of range");
    element value;
    if (api == Api::rewards)
      rewards[index] = own_reward(entry);
    else if (!entry[api == Api::pooling ? "data" : "probs"].get(value))
      rewards[index] = last_number(value);
  }
  return rewards;
}

std::string read_error(long status, std::string_view body, const std::string& key) {
  std::string words = words_of(body);
  if (words.empty()) words = body;
  // Behind the escapes of JSON, and before it is cut.
  blot_out(words, key);
  words = in_short(words);
  return words.empty() ? fmt::format("status {}", status)
                       : fmt::format("status {}: {}", status, words);
}

}  // namespace dt2it::endpoint
