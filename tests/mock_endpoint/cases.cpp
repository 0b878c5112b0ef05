// SPDX-License-Identifier: Apache-2.0
#include "tests/mock_endpoint/cases.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <boost/crc.hpp>
#include <cstdint>
#include <ctime>
#include <functional>

namespace dt2it::mock {

namespace {

std::string quoted(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') json += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      json += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      json += c;
  }
  return json + '"';
}

std::string error_body(std::string_view message, std::string_view type, std::string_view code,
                       std::string_view param = "") {
  return fmt::format(R"({{"error":{{"message":{},"type":"{}","param":{},"code":{}}}}})",
                     quoted(message), type, param.empty() ? "null" : quoted(param),
                     code.empty() ? "null" : quoted(code));
}

// One stored block: gzip without compression needs no library.
std::string gzipped(const std::string& text) {
  std::string packed("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x01", 11);
  const auto add = [&packed](std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) packed += static_cast<char>(value >> (8 * i) & 0xff);
  };
  const auto size = static_cast<std::uint32_t>(text.size());  // under 64 KiB here
  add(size, 2);
  add(~size, 2);
  packed += text;
  boost::crc_32_type crc;
  crc.process_bytes(text.data(), text.size());
  add(crc.checksum(), 4);
  add(size, 4);
  return packed;
}

constexpr std::string_view kUsage =
    R"("usage":{"prompt_tokens":120,"completion_tokens":9,"total_tokens":129,"prompt_tokens_details":{"cached_tokens":64}})";

std::string raw_chat(std::string_view choice, bool usage = true) {
  return fmt::format(
      R"({{"id":"chatcmpl-1","object":"chat.completion","model":"served-1","choices":[{}]{}{}}})",
      choice, usage ? "," : "", usage ? kUsage : "");
}

const std::string kRate = error_body("Rate limit reached", "requests", "rate_limit_exceeded");

using Make = std::function<Answer(const Request&, std::string_view content)>;

// Passing trouble: the first attempt meets it, the next one does not.
Make once(Answer answer) {
  return [answer](const Request& request, std::string_view content) {
    return request.before == 0 ? answer : plain(200, chat_body(content));
  };
}
Make always(Answer answer) {
  return [answer](const Request&, std::string_view) { return answer; };
}
Make body(std::string text) { return always(plain(200, text)); }
Make content_of(std::string text) { return body(chat_body(text)); }

Answer damaged(std::size_t declared_more, bool cut) {
  const std::string text = chat_body("whole");
  Answer answer = plain(200, text);
  answer.bytes = fmt::format(
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
      cut ? text.size() - 20 : text.size() + declared_more, text);
  answer.close = true;
  return answer;
}

Answer with(Answer answer, double delay, double drip, bool close, bool never) {
  answer.delay = delay;
  answer.drip = drip;
  answer.close = close;
  answer.never = never;
  return answer;
}

const std::map<std::string, Make, std::less<>>& table() {
  static const std::map<std::string, Make, std::less<>> kTable = [] {
    std::map<std::string, Make, std::less<>> t;
    t["ok"] = [](const Request&, std::string_view content) {
      return plain(200, chat_body(content));
    };
    // ---- endings
    t["refusal"] = body(raw_chat(
        R"({"index":0,"finish_reason":"stop","message":{"role":"assistant","content":null,"refusal":"I cannot help with that."}})"));
    t["length_null"] = body(raw_chat(
        R"({"index":0,"finish_reason":"length","message":{"role":"assistant","content":null}})"));
    t["length_loop"] = body(chat_body("{\"a\":" + std::string(500, ' '), "length"));
    t["content_filter_200"] = body(chat_body("", "content_filter"));
    t["content_filter_400"] = always(plain(
        400,
        R"({"error":{"message":"The prompt was filtered","type":null,"param":"prompt","code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}})"));
    t["tool_calls"] = body(raw_chat(
        R"({"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":null,"tool_calls":[]}})"));
    t["no_choices"] = body(raw_chat(""));
    t["empty"] = content_of(" \n");
    // ---- limits
    t["429_ms"] = once(plain(429, kRate, "retry-after-ms: 5\r\n"));
    t["429_seconds"] = once(plain(429, kRate, "Retry-After: 0.01\r\n"));
    t["429_long"] = once(plain(429, kRate, "retry-after-ms: 400\r\n"));
    t["429_date"] = [](const Request& request, std::string_view content) {
      if (request.before > 0) return plain(200, chat_body(content));
      return plain(429, kRate,
                   fmt::format("Retry-After: {:%a, %d %b %Y %H:%M:%S} GMT\r\n",
                               fmt::gmtime(std::time(nullptr) + 1)));
    };
    t["429_none"] = once(plain(429, kRate));
    t["429_words"] =
        once(plain(429, error_body("Please try again in 8ms.", "tokens", "rate_limit_exceeded")));
    t["429_slow_down"] = once(plain(429, error_body("Slow down", "rate_limit_error", "slow_down"),
                                    "retry-after-ms: 5\r\n"));
    t["429_quota"] = always(plain(429, error_body("You exceeded your current quota",
                                                  "insufficient_quota", "insufficient_quota")));
    t["rate_headers_minus"] = [](const Request&, std::string_view content) {
      return plain(200, chat_body(content),
                   "x-ratelimit-limit-requests: -1\r\nx-ratelimit-remaining-requests: "
                   "-1\r\nx-ratelimit-limit-tokens: 0\r\nx-ratelimit-remaining-tokens: "
                   "0\r\nx-ratelimit-reset-tokens: 1h2m3.5s\r\n");
    };
    t["reset_long"] = [](const Request&, std::string_view content) {
      return plain(200, chat_body(content),
                   "X-RateLimit-Limit-Requests: 100000\r\nX-RateLimit-Remaining-Requests: "
                   "12\r\nX-RateLimit-Reset-Requests: 1h2m3.5s\r\n");
    };
    // ---- configuration
    t["401"] = [](const Request& request, std::string_view) {
      return plain(401, error_body("Incorrect API key provided: " + request.authorization,
                                   "invalid_request_error", "invalid_api_key"));
    };
    t["404"] = always(plain(
        404, error_body("The model does not exist", "invalid_request_error", "model_not_found")));
    t["400_max_completion_tokens"] = [](const Request& request, std::string_view content) {
      if (request.body.find("\"max_completion_tokens\":") == std::string::npos)
        return plain(200, chat_body(content));
      return plain(400, error_body("Unrecognized request argument supplied: max_completion_tokens",
                                   "invalid_request_error", "", "max_completion_tokens"));
    };
    t["400_context"] = always(
        plain(400, error_body("This model's maximum context length is 8192 tokens",
                              "invalid_request_error", "context_length_exceeded", "messages")));
    t["413"] = always(plain(413, "<html>too large</html>", "", "text/html"));
    t["redirect"] = [](const Request&, std::string_view content) {  // to where the content says
      return plain(302, "", fmt::format("Location: {}/chat/completions\r\n", content));
    };
    // ---- servers in trouble
    t["500_html"] = once(plain(500, "<html>oops</html>", "", "text/html"));
    t["502_html"] = once(plain(502, "<html>bad gateway</html>", "", "text/html"));
    t["503_html"] =
        once(plain(503, "<html>unavailable</html>", "retry-after-ms: 5\r\n", "text/html"));
    t["503_loading"] = [](const Request& request, std::string_view content) {
      if (request.before >= 2) return plain(200, chat_body(content));
      return plain(503,
                   R"({"error":{"code":503,"message":"Loading model","type":"unavailable_error"}})",
                   "retry-after-ms: 5\r\n");
    };
    t["529"] = once(
        plain(529, R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})",
              "retry-after-ms: 5\r\n"));
    t["always_500"] = always(plain(500, error_body("The server had an error", "server_error", "")));
    t["500_flat"] = once(plain(
        500,
        R"({"object":"error","message":"flat words","type":"InternalServerError","param":null,"code":500})"));
    t["500_list"] =
        once(plain(500, R"([{"error":{"code":500,"message":"in a list","status":"INTERNAL"}}])"));
    t["error_in_200"] = once(plain(200, R"({"error":{"message":"upstream","code":502}})"));
    t["starting_in_200"] = once(plain(200, R"({"message":"upstream is starting"})"));
    // ---- the wire
    t["closed_before_headers"] = once(with(plain(0, ""), 0, 0, true, false));
    t["closed_in_body"] = [](const Request& request, std::string_view content) {
      Answer answer = plain(200, chat_body(content));
      if (request.before > 0) return answer;
      answer.bytes.resize(answer.bytes.size() - 10);
      answer.close = true;
      return answer;
    };
    t["length_too_long"] = once(damaged(50, false));
    t["length_too_short"] = once(damaged(0, true));
    t["drip"] = [](const Request&, std::string_view) {
      return with(plain(200, chat_body("slow")), 0, 0.002, false, false);
    };
    t["no_answer"] = once(with(plain(0, ""), 0, 0, false, true));
    t["chunked"] = [](const Request&, std::string_view content) {
      const std::string text = chat_body(content);
      Answer answer;
      answer.bytes = fmt::format(
          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: "
          "chunked\r\n\r\n{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
          std::size_t{10}, text.substr(0, 10), text.size() - 10, text.substr(10));
      return answer;
    };
    t["gzip"] = [](const Request&, std::string_view content) {
      return plain(200, gzipped(chat_body(content)), "Content-Encoding: gzip\r\n");
    };
    t["blank_lines"] = [](const Request&, std::string_view content) {
      return plain(200, "\n\n \n" + chat_body(content));
    };
    // ---- bodies
    t["no_usage"] = body(raw_chat(
        R"({"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"uncounted"}})",
        false));
    t["content_list"] = body(raw_chat(
        R"({"index":0,"finish_reason":"stop","message":{"role":"assistant","content":[{"type":"text","text":"in "},{"type":"text","text":"parts"}]}})"));
    t["think"] = content_of("<think>Hm, 40 + 2.</think>\n\nThe answer is 42.");
    t["fenced_json"] = content_of("Here it is:\n```json\n{\"winner\": \"A\"}\n```");
    t["trailing_text"] = content_of("{\"winner\": \"A\"} I hope this helps!");
    t["duplicate_keys"] = content_of("{\"winner\": \"A\", \"winner\": \"B\"}");
    t["nan"] = content_of("{\"score\": NaN, \"other\": Infinity}");
    t["invalid_utf8"] =
        always(plain(200, raw_chat("{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":"
                                   "\"assistant\",\"content\":\"bad \xff\xfe bytes\"}}")));
    t["code_number"] = always(plain(
        400,
        R"({"error":{"message":"a number","type":"BadRequestError","param":null,"code":400}})"));
    return t;
  }();
  return kTable;
}

}  // namespace

std::string chat_body(std::string_view content, std::string_view finish_reason) {
  return raw_chat(fmt::format(
      R"({{"index":0,"finish_reason":"{}","message":{{"role":"assistant","content":{},"refusal":null}}}})",
      finish_reason, quoted(content)));
}

std::string anthropic_body(std::string_view content, std::string_view stop_reason) {
  return fmt::format(
      R"({{"id":"msg_1","type":"message","role":"assistant","model":"served-1","content":[{{"type":"text","text":{}}}],"stop_reason":"{}","usage":{{"input_tokens":56,"cache_read_input_tokens":64,"cache_creation_input_tokens":0,"output_tokens":9}}}})",
      quoted(content), stop_reason);
}

Answer plain(int status, std::string_view body, std::string_view headers, std::string_view type) {
  Answer answer;
  answer.status = status;
  if (status > 0)
    answer.bytes = fmt::format(
        "HTTP/1.1 {} Said\r\nContent-Type: {}\r\nx-request-id: req-1\r\nContent-Length: "
        "{}\r\n{}\r\n{}",
        status, type, body.size(), headers, body);
  return answer;
}

Answer answer_of(std::string_view name, const Request& request, std::string_view content) {
  if (request.target.ends_with("/messages")) return plain(200, anthropic_body(content));
  const auto found = table().find(name);
  return found == table().end() ? plain(200, chat_body(content)) : found->second(request, content);
}

const std::vector<std::string>& cases() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const auto& [name, make] : table()) names.push_back(name);
    return names;
  }();
  return kNames;
}

}  // namespace dt2it::mock
