// SPDX-License-Identifier: Apache-2.0
#include "reply.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <initializer_list>

#include "plugins/common/json_out.hpp"

namespace dt2it::openai {
namespace {

using simdjson::dom::element;

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// A member's text; numbers are written out, everything else is nothing.
std::string text_of(const element& object, const char* key) {
  element value;
  if (object.at_key(key).get(value)) return {};
  std::string_view text;
  if (!value.get(text)) return std::string(text);
  if (value.is_number()) return simdjson::minify(value);
  return {};
}

// Counts come as integers, floats or strings.
std::int64_t count_of(const element& object, const char* key) {
  element value;
  if (object.at_key(key).get(value)) return 0;
  double number = 0;
  std::string_view text;
  if (!value.get(text)) {
    if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc{}) return 0;
  } else if (value.get(number)) {
    return 0;
  }
  return number >= 0 && number < 1e15 ? std::llround(number) : 0;
}

void fill(ServerError& error, const element& object) {
  error.message = text_of(object, "message");
  error.type = text_of(object, "type");
  error.code = text_of(object, "code");
  error.param = text_of(object, "param");
  // Google's details say when it is the day's limit.
  simdjson::dom::array details;
  if (object.at_key("details").get(details)) return;
  for (const element detail : details) {
    simdjson::dom::array violations;
    if (detail.at_key("violations").get(violations)) continue;
    for (const element violation : violations)
      if (text_of(violation, "quotaId").find("PerDay") != std::string::npos) error.per_day = true;
  }
}

// Mostly one character or blanks over and over: a grammar that loops.
bool loops(std::string_view text) {
  if (text.size() < 64) return false;
  const std::string_view tail = text.substr(text.size() / 2);
  const auto idle = std::count_if(tail.begin(), tail.end(), [&](char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == tail.back();
  });
  return static_cast<std::size_t>(idle) * 10 >= tail.size() * 9;
}

// One a thread, so that its buffers serve many answers; not those of a giant.
simdjson::dom::parser& shared_parser() {
  thread_local simdjson::dom::parser parser;
  if (parser.capacity() > (1 << 20)) parser = simdjson::dom::parser();
  return parser;
}

// Parses also what holds bytes that are no UTF-8: they become U+FFFD.
bool parse(std::string_view body, simdjson::dom::parser& parser, element& root) {
  if (!parser.parse(simdjson::padded_string(body)).get(root)) return true;
  return !simdjson::validate_utf8(body.data(), body.size()) &&
         !parser.parse(simdjson::padded_string(json_out::valid_utf8(body))).get(root);
}

bool contains_any(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
    const auto same = [](unsigned char a, unsigned char b) { return std::tolower(a) == b; };
    return std::search(text.begin(), text.end(), word.begin(), word.end(), same) != text.end();
  });
}

bool names(const ServerError& error, std::string_view field) {
  if (!error.param.empty())
    return error.param == field || error.param.starts_with(std::string(field) + ".");
  return error.message.find(field) != std::string::npos;
}

// The text without the model's thinking, which some servers leave in front of the answer.
std::string without_thinking(std::string_view text) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  const std::string_view rest = trimmed(text);
  const std::size_t close = text.find(kClose), open = text.find(kOpen);
  if (rest.starts_with(kOpen))
    return close == std::string_view::npos
               ? ""
               : std::string(trimmed(text.substr(close + kClose.size())));
  // Chat templates may put the opening tag into the prompt.
  if (close != std::string_view::npos && open == std::string_view::npos)
    return std::string(trimmed(text.substr(close + kClose.size())));
  return std::string(text);
}

std::string content_of(const element& message) {
  element content;
  if (message.at_key("content").get(content)) return {};
  std::string_view text;
  if (!content.get(text)) return std::string(text);
  std::string joined;
  simdjson::dom::array parts;
  if (!content.get(parts))
    for (const element part : parts)
      if (const std::string type = text_of(part, "type");
          type.empty() || type == "text" || type == "output_text")
        joined += text_of(part, "text");
  return joined;
}

Usage usage_of(const element& root, bool& known) {
  Usage usage;
  element given, details;
  known = !root.at_key("usage").get(given) && given.is_object();
  if (!known) return usage;
  usage.prompt_tokens = count_of(given, "prompt_tokens");
  usage.completion_tokens = count_of(given, "completion_tokens");
  if (!given.at_key("prompt_tokens_details").get(details))
    usage.cached_tokens = std::min(count_of(details, "cached_tokens"), usage.prompt_tokens);
  return usage;
}

ReadReply unreadable(std::string why, std::string_view body) {
  ReadReply read;
  read.reply.status = Status::unparsed;
  read.reply.detail =
      fmt::format("{}: {}", why, json_out::valid_utf8(trimmed(body).substr(0, 200)));
  return read;
}

}  // namespace

ServerError read_error(std::string_view body) {
  ServerError error;
  simdjson::dom::parser parser;
  element root;
  if (parse(body, parser, root)) {
    simdjson::dom::array list;
    if (!root.get(list) && list.size() > 0) root = list.at(0);
    element inner;
    std::string_view text;
    if (root.at_key("error").get(inner))
      fill(error, root);  // flat
    else if (!inner.get(text))
      error.message = text;
    else
      fill(error, inner);
    if (error.message.empty()) error.message = text_of(root, "detail");
  }
  if (error.message.empty()) error.message = std::string(trimmed(body).substr(0, 2048));
  error.message = json_out::valid_utf8(error.message);
  return error;
}

Meaning judge_answer(long status, const ServerError& error, std::string_view should_retry) {
  if (status >= 200 && status < 300) return Meaning::answer;
  if (error.code == "content_filter" || error.type == "content_filter") return Meaning::refused;
  // A key without credit is told by the words only, the status is that of a passing limit.
  if (status == 429 &&
      (error.per_day ||
       contains_any(error.code, {"insufficient_quota", "billing", "credit", "spend"}) ||
       contains_any(error.type, {"insufficient_quota", "billing"})))
    return Meaning::stop;
  if (status == 400 &&
      contains_any(error.message, {"credit balance is too low", "API key not valid"}))
    return Meaning::stop;
  if (status < 400 || status == 401 || status == 402 || status == 403 || status == 404 ||
      status == 405)
    return Meaning::stop;
  if (should_retry == "false" && (status == 408 || status == 409 || status == 429 || status >= 500))
    return Meaning::give_up;
  if (status == 408 || status == 409 || status == 429 || status >= 500 || should_retry == "true")
    return Meaning::retry;
  return Meaning::invalid;
}

namespace {

// An answer that came without a form that could be read. Without `member`, which all answers have, and without what it
// cost it is none of the model's: {"message": "upstream is starting"}.
ReadReply formless(const element& root, std::string_view body, const char* why,
                   const char* member) {
  ReadReply read = unreadable(why, body);
  element error, answer, usage;
  read.damaged = (root.at_key(member).get(answer) || answer.is_null()) &&
                 (root.at_key("usage").get(usage) || !usage.is_object());
  if (!root.at_key("error").get(error) && !error.is_null()) {
    const std::string code = text_of(error, "code");
    long number = 0;
    std::from_chars(code.data(), code.data() + code.size(), number);
    read.error_status = number >= 400 && number < 600 ? number : 502;
    read.damaged = false;
  }
  return read;
}

ReadReply damaged(std::string_view body) {
  ReadReply read = unreadable("the answer is not JSON", body);
  read.damaged = true;
  return read;
}

enum class Ending { stop, limit, filter, tool, other };

// By the names that services and servers give them, in any case.
Ending ending_of(std::string reason) {
  for (char& c : reason) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto is = [&](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), reason) != names.end();
  };
  if (is({"", "stop", "eos", "end_turn", "stop_sequence"})) return Ending::stop;
  if (is({"length", "max_tokens", "model_context_window_exceeded"})) return Ending::limit;
  if (is({"content_filter", "safety", "recitation", "prohibited_content", "blocklist", "spii",
          "refusal"}))
    return Ending::filter;
  if (is({"tool_calls", "function_call", "tool_use"})) return Ending::tool;
  return Ending::other;
}

// The reading order of all wires, once content, refusal and reason are known.
void conclude(ChatReply& reply, const std::string& content, const std::string& refusal) {
  reply.text = without_thinking(content);
  const auto end_as = [&](Status status, const std::string& detail) {
    reply.status = status;
    reply.detail = json_out::valid_utf8(detail);
  };
  if (!refusal.empty())
    return end_as(Status::refused, "the model declined: " + refusal.substr(0, 500));
  switch (ending_of(reply.finish_reason)) {
    case Ending::filter: return end_as(Status::refused, "stopped by the content filter");
    case Ending::limit:
      return end_as(Status::truncated, trimmed(content).empty()
                                           ? content.size() < 64
                                                 ? "the token limit was reached before any text"
                                                 : "the token limit was reached in a loop of blanks"
                                       : loops(content) ? "the token limit was reached in a loop"
                                                        : "the token limit was reached");
    case Ending::tool:
      return end_as(Status::unparsed, "the model called a tool instead of answering");
    case Ending::other:
      return end_as(Status::unavailable,
                    "the server ended the answer with '" + reply.finish_reason + "'");
    case Ending::stop: break;
  }
  if (trimmed(reply.text).empty())
    return end_as(Status::unparsed,
                  content.empty() ? "the answer is empty" : "the answer holds thinking only");
  reply.finish_reason = "stop";
  reply.status = Status::ok;
}

}  // namespace

ReadReply read_reply(std::string_view body) {
  simdjson::dom::parser& parser = shared_parser();
  element root;
  if (!parse(trimmed(body), parser, root)) return damaged(body);
  simdjson::dom::array choices;
  element choice, message;
  if (root.at_key("choices").get(choices) || choices.size() == 0 || choices.at(0).get(choice) ||
      choice.at_key("message").get(message))
    return formless(root, body, "the answer has no choices", "choices");
  ReadReply read;
  read.reply.model = text_of(root, "model");
  read.reply.usage = usage_of(root, read.usage_known);
  read.reply.finish_reason = text_of(choice, "finish_reason");
  conclude(read.reply, content_of(message), text_of(message, "refusal"));
  return read;
}

ReadReply read_anthropic_reply(std::string_view body) {
  simdjson::dom::parser& parser = shared_parser();
  element root;
  if (!parse(trimmed(body), parser, root)) return damaged(body);
  simdjson::dom::array parts;
  if (root.at_key("content").get(parts))
    return formless(root, body, "the answer has no content", "content");
  ReadReply read;
  read.reply.model = text_of(root, "model");
  read.reply.finish_reason = text_of(root, "stop_reason");
  element usage;
  read.usage_known = !root.at_key("usage").get(usage) && usage.is_object();
  if (read.usage_known) {  // here the cached tokens are no part of the input
    read.reply.usage.cached_tokens = count_of(usage, "cache_read_input_tokens");
    read.reply.usage.prompt_tokens = count_of(usage, "input_tokens") +
                                     read.reply.usage.cached_tokens +
                                     count_of(usage, "cache_creation_input_tokens");
    read.reply.usage.completion_tokens = count_of(usage, "output_tokens");
  }
  conclude(read.reply, content_of(root), "");
  return read;
}

bool learn(WireForm& form, const ChatRequest& request, const ServerError& error,
           bool token_name_fixed) {
  if (request.format == ResponseFormat::json && form.json != JsonForm::none &&
      (error.param.starts_with("response_format") ||
       contains_any(error.message,
                    {"response_format", "json_schema", "json_object", "schema", "grammar"}))) {
    form.json = form.json == JsonForm::schema ? JsonForm::object : JsonForm::none;
    return true;
  }
  // Else a value that is merely too large would teach us a wrong name.
  if (!contains_any(error.code, {"unsupported", "unknown", "unrecognized"}) &&
      !contains_any(error.message,
                    {"unsupported", "not support", "unknown", "unrecognized", "not permitted",
                     "not allowed", "extra", "unexpected", "only the default"}))
    return false;
  const auto drop = [&](bool& field, bool given, std::string_view name) {
    if (!field || !given || !names(error, name)) return false;
    field = false;
    return true;
  };
  if (!token_name_fixed && form.completion_tokens && names(error, "max_completion_tokens"))
    return form.completion_tokens = false, true;
  return drop(form.temperature, request.sampling.temperature.has_value(), "temperature") ||
         drop(form.top_p, request.sampling.top_p.has_value(), "top_p") ||
         drop(form.seed, true, "seed");
}

}  // namespace dt2it::openai
