// SPDX-License-Identifier: Apache-2.0
#include "core/serve/reward_api.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <simdjson.h>

#include <cmath>
#include <ctime>

#include "core/data/records.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

[[noreturn]] void refuse(const std::string& message) { throw ApiError(400, message); }

std::string_view text_of(element value, const std::string& where) {
  std::string_view text;
  if (value.get(text)) refuse(where + ": a string is expected");
  return text;
}

Bytes decode_base64(std::string_view text, const std::string& where, std::size_t most) {
  if (text.size() / 4 * 3 > most + 3)
    throw ApiError(413, fmt::format("{}: is longer than {} bytes", where, most));
  if (text.size() % 4 != 0 || text.empty()) refuse(where + ": is no base64 with padding");
  Bytes bytes(text.size() / 4 * 3);
  const int length =
      EVP_DecodeBlock(bytes.data(), reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size()));
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  if (length < 0) refuse(where + ": is no base64");
  bytes.resize(static_cast<std::size_t>(length) - padding);
  return bytes;
}

class Reader {
 public:
  Reader(const ApiLimits& limits, const std::function<Media(std::span<const std::uint8_t>)>& store,
         const std::function<Bytes(const std::string&)>& fetch, RewardJob& job)
      : limits_(limits), store_(store), fetch_(fetch), job_(job) {}

  void messages(array list) {
    std::size_t number = 0;
    for (const element one : list) {
      const std::string where = fmt::format("messages[{}]", number++);
      job_.prompt.messages.emplace_back();
      object message;
      if (one.get(message)) refuse(where + ": an object is expected");
      Message& to = job_.prompt.messages.back();
      element role, content;
      if (message["role"].get(role)) refuse(where + ".role: is missing");
      const std::string_view name = text_of(role, where + ".role");
      if (name == "system" || name == "developer")
        to.role = Message::Role::system;
      else if (name == "user")
        to.role = Message::Role::user;
      else if (name == "assistant")
        to.role = Message::Role::assistant;
      else
        refuse(fmt::format("{}.role: '{}' is not known (system, user, assistant)", where, name));
      if (message["content"].get(content)) refuse(where + ".content: is missing");
      parts(content, where + ".content", to.content);
    }
    if (job_.prompt.messages.empty()) refuse("messages: is empty");
  }

  // A string, or parts of text.
  std::string plain(element content, const std::string& where) {
    std::string_view text;
    if (!content.get(text)) return std::string(text);
    array list;
    if (content.get(list)) refuse(where + ": a string or a list of parts is expected");
    std::string all;
    for (const element part : list) {
      std::string_view type;
      element words;
      if (part["type"].get(type) || type != "text" || part["text"].get(words))
        refuse(where + ": only parts of text are allowed in an answer");
      all += text_of(words, where);
    }
    return all;
  }

 private:
  void parts(element content, const std::string& where, std::vector<Part>& to) {
    std::string_view text;
    if (!content.get(text)) return to.push_back(Part::of_text(std::string(text)));
    array list;
    if (content.get(list)) refuse(where + ": a string or a list of parts is expected");
    std::size_t number = 0;
    for (const element part : list) {
      const std::string here = fmt::format("{}[{}]", where, number++);
      std::string_view type;
      if (part["type"].get(type)) refuse(here + ".type: is missing");
      if (type == "text") {
        element words;
        if (part["text"].get(words)) refuse(here + ".text: is missing");
        to.push_back(Part::of_text(std::string(text_of(words, here + ".text"))));
      } else if (type == "image_url" || type == "video_url") {
        element link;
        if (part[type].get(link)) refuse(fmt::format("{}.{}: is missing", here, type));
        element url = link;
        if (link.is_object() && link["url"].get(url))
          refuse(fmt::format("{}.{}.url: is missing", here, type));
        media(text_of(url, here), type == "video_url" ? Media::Kind::video : Media::Kind::image,
              here, to);
      } else {
        refuse(fmt::format("{}.type: '{}' is not known (text, image_url, video_url)", here, type));
      }
    }
  }

  void media(std::string_view url, Media::Kind kind, const std::string& where,
             std::vector<Part>& to) {
    if (++images_ > limits_.images)
      throw ApiError(413, fmt::format("{}: more than {} images", where, limits_.images));
    Bytes bytes;
    if (url.starts_with("data:")) {
      const std::size_t comma = url.find(',');
      if (comma == std::string_view::npos || !url.substr(0, comma).ends_with(";base64"))
        refuse(where + ": a data URL must be data:TYPE;base64,...");
      bytes = decode_base64(url.substr(comma + 1), where, limits_.image_bytes);
    } else if (url.starts_with("http://") || url.starts_with("https://")) {
      if (!limits_.remote_images)
        refuse(where + ": this server fetches no images; send them as data URLs");
      try {
        bytes = fetch_(std::string(url));
      } catch (const DataError& error) {
        refuse(fmt::format("{}: could not be fetched: {}", where, error.what()));
      }
    } else {
      refuse(where + ": is neither a data URL nor an http(s) address");
    }
    if (bytes.size() > limits_.image_bytes)
      throw ApiError(413, fmt::format("{}: is longer than {} bytes", where, limits_.image_bytes));
    Part part;
    part.media = store_(bytes);
    part.kind = part.media.kind == Media::Kind::video ? Part::Kind::video : Part::Kind::image;
    const Media stored = part.media;
    to.push_back(std::move(part));
    if (stored.mime.empty()) refuse(where + ": is in no known image or video format");
    if (stored.kind != kind)
      refuse(fmt::format("{}: is {} where {} is announced", where, stored.mime,
                         kind == Media::Kind::image ? "an image" : "a video"));
    const std::int64_t pixels = std::int64_t{stored.width} * stored.height;
    if (pixels > limits_.image_pixels)
      throw ApiError(413, fmt::format("{}: has more than {} pixels", where, limits_.image_pixels));
    job_.tokens += pixels > 0 ? static_cast<std::size_t>(pixels / 1024) + 1
                              : 1024;  // a patch of 32 x 32 is a token
  }

  const ApiLimits& limits_;
  const std::function<Media(std::span<const std::uint8_t>)>& store_;
  const std::function<Bytes(const std::string&)>& fetch_;
  RewardJob& job_;
  std::size_t images_ = 0;
};

Response response_of(std::string text) {
  Response response;
  response.text = std::move(text);
  response.origin = "dataset";
  return response;
}

void candidates(object root, const ApiLimits& limits, Reader& reader, RewardJob& job) {
  array list;
  if (root["candidates"].get(list))
    refuse("candidates: a list of answers is expected, each a string or a message");
  for (const element one : list) {
    const std::string where = fmt::format("candidates[{}]", job.responses.size());
    if (job.responses.size() == limits.candidates)
      throw ApiError(413, fmt::format("candidates: more than {}", limits.candidates));
    element content = one;
    if (one.is_object() && one["content"].get(content)) refuse(where + ".content: is missing");
    job.responses.push_back(response_of(reader.plain(content, where)));
  }
  if (job.responses.empty()) refuse("candidates: is empty");
}

}  // namespace

ApiRequest read_api_request(RewardRoute route, std::string_view body, const ApiLimits& limits,
                            const std::function<Media(std::span<const std::uint8_t>)>& store,
                            const std::function<Bytes(const std::string& url)>& fetch,
                            RewardJob& job) {
  ApiRequest request;
  request.route = route;
  simdjson::dom::parser parser;
  element document;
  if (const auto error = parser.parse(body.data(), body.size()).get(document))
    refuse(fmt::format("the body is no JSON: {}", simdjson::error_message(error)));
  object root;
  if (document.get(root)) refuse("the body: a JSON object is expected");
  if (element model; !root["model"].get(model) && !model.is_null())
    request.model = text_of(model, "model");
  array list;
  if (root["messages"].get(list)) {
    if (element input; !root["input"].get(input))
      refuse("input: rendered text is not taken; send messages");
    refuse("messages: a list is expected");
  }
  Reader reader(limits, store, fetch, job);
  reader.messages(list);
  std::vector<Message>& messages = job.prompt.messages;
  if (route == RewardRoute::rewards) {
    candidates(root, limits, reader, job);
  } else {
    // vLLM's form: the conversation ends with the answer.
    bool flag = false;
    if (!root["add_generation_prompt"].get(flag) && flag)
      refuse("add_generation_prompt: must be false, for the answer is the last message");
    request.sigmoid = route == RewardRoute::classify;
    if (!root["use_activation"].get(flag)) request.sigmoid = flag;
    if (messages.back().role != Message::Role::assistant)
      refuse("messages: the last one must be the assistant's answer");
    std::string answer;
    for (const Part& part : messages.back().content) {
      if (part.kind != Part::Kind::text) refuse("messages: the answer must be text");
      answer += part.text;
    }
    messages.pop_back();
    job.responses.push_back(response_of(std::move(answer)));
  }
  if (messages.empty() || messages.back().role != Message::Role::user)
    refuse("messages: the last one before the answer must be the user's");
  for (const Message& message : messages)
    for (const Part& part : message.content) job.tokens += part.text.size() / 4;
  for (const Response& response : job.responses) job.tokens += response.text.size() / 4 + 4;
  return request;
}

std::string api_answer(const ApiRequest& request, const RewardOutcome& outcome,
                       const std::string& model, std::uint64_t number) {
  if (outcome.kind == RewardOutcome::Kind::expired) throw ApiError(504, outcome.detail);
  if (outcome.kind == RewardOutcome::Kind::failed) throw ApiError(500, outcome.detail);
  JsonWriter json;
  json.begin_object();
  const auto head = [&](const char* kind) {
    json.key("id").value(fmt::format("{}-{}", kind, number)).key("object").value("list");
    json.key("created")
        .value(static_cast<std::int64_t>(std::time(nullptr)))
        .key("model")
        .value(model);
  };
  if (request.route == RewardRoute::rewards) {
    head("rewards");
    json.key("data").begin_array();
    for (std::size_t i = 0; i < outcome.rewards.size(); ++i) {
      const Reward& reward = outcome.rewards[i];
      json.begin_object()
          .key("index")
          .value(i)
          .key("status")
          .value(dt2it::to_string(reward.status))
          .key("reward");
      if (reward.ok())
        json.value(reward.value);
      else
        json.null();
      if (!reward.ok()) json.key("detail").value(reward.detail);
      json.end_object();
    }
    return json.end_array().end_object().text();
  }
  const Reward& reward = outcome.rewards.at(0);
  if (!reward.ok())
    throw ApiError(reward.status == Status::unavailable ? 503 : 422,
                   fmt::format("{}: {}", dt2it::to_string(reward.status), reward.detail));
  const double value = request.sigmoid ? 1 / (1 + std::exp(-reward.value)) : reward.value;
  const bool pooling = request.route == RewardRoute::pooling;
  head(pooling ? "pool" : "classify");
  json.key("data").begin_array().begin_object().key("index").value(0);
  if (pooling)
    json.key("object").value("pooling").key("data").begin_array().value(value).end_array();
  else
    json.key("label")
        .value("LABEL_0")
        .key("probs")
        .begin_array()
        .value(value)
        .end_array()
        .key("num_classes")
        .value(1);
  return json.end_object().end_array().end_object().text();
}

std::string api_error(int status, std::string_view message) {
  JsonWriter json;
  json.begin_object().key("error").begin_object().key("message").value(message);
  json.key("type")
      .value(status < 500 ? "invalid_request" : "server_error")
      .key("code")
      .value(status);
  return json.end_object().end_object().text();
}

}  // namespace dt2it
