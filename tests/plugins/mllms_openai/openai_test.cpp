// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/calls/call_service.hpp"
#include "dt2it/error.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "scripted_server.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

constexpr const char* kKey = "secret-4711-key";

std::string said(const std::string& content, const std::string& reason = "stop") {
  return R"({"id":"c1","model":"served-1","choices":[{"index":0,"finish_reason":")" + reason +
         R"(","message":{"role":"assistant","content":")" + content +
         R"(","refusal":null}}],"usage":{"prompt_tokens":12,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":8}}})";
}
std::string error(const std::string& message, const std::string& type, const std::string& code,
                  const std::string& param = "") {
  return R"({"error":{"message":")" + message + R"(","type":")" + type + R"(","param":)" +
         (param.empty() ? "null" : '"' + param + '"') + R"(,"code":)" +
         (code.empty() ? "null" : '"' + code + '"') + "}}";
}

// The plugin and what the host puts around it, with a store of its own.
struct Asked {
  dt2it::testing::TemporaryFolder folder;
  FakeContext& context;
  CallService calls{{folder.path() / "calls.sqlite"},
                    [this](LogLevel level, std::string_view text) { context.log(level, text); }};
  std::shared_ptr<Mllm> mllm;

  Asked(FakeContext& context, Table params) : context(context) {
    setenv("DT2IT_TEST_KEY", kKey, 1);
    params.try_emplace("model", value_of("judge-1"));
    params.try_emplace("api_key_env", value_of("DT2IT_TEST_KEY"));
    params.try_emplace("retry_delay_seconds", value_of(0.01));
    params.try_emplace("timeout_seconds", value_of(5));
    mllm = calls.manage(PluginLibrary("mllms/openai").make<Mllm>("openai", params, context),
                        "stage", "it");
  }
  ChatReply chat(const ChatRequest& request) { return mllm->chat(request); }
};

struct Bench {
  ScriptedServer server;
  FakeContext context;
  std::unique_ptr<Asked> asked_by;
  std::shared_ptr<Mllm> mllm;
  std::atomic<int> number = 0;  // each question is another, else the store would answer

  explicit Bench(std::vector<Answer> script, Table more = {}) : server(std::move(script)) {
    more.try_emplace("endpoint", value_of(server.endpoint()));
    asked_by = make(context, std::move(more));
    mllm = asked_by->mllm;
  }
  static std::unique_ptr<Asked> make(FakeContext& context, Table params) {
    return std::make_unique<Asked>(context, std::move(params));
  }
  ChatReply ask(const std::string& text = "What is it?") {
    ChatRequest request;
    request.messages = {{Message::Role::user, {Part::of_text(text)}}};
    request.sampling.sample = number++;
    return mllm->chat(request);
  }
  std::size_t asked() const { return server.requests().size(); }
  std::string body(std::size_t i) const { return server.requests().at(i).body; }
};

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("an answer, and what was sent for it") {
  Bench bench({http(200, said("A ring."))});
  const ChatReply reply = bench.ask("Say \"x\"\n\x01 and \xc3\xa9, not \xff");
  CHECK(reply.status == Status::ok);
  CHECK(reply.text == "A ring.");
  CHECK(reply.finish_reason == "stop");
  CHECK(reply.model == "served-1");
  CHECK(reply.usage.prompt_tokens == 12);
  CHECK(reply.usage.cached_tokens == 8);
  CHECK(reply.usage.completion_tokens == 3);
  const auto request = bench.server.requests().at(0);
  CHECK(holds(request.head, "POST /v1/chat/completions HTTP/1.1\r\n"));
  CHECK(holds(request.head, std::string("Authorization: Bearer ") + kKey + "\r\n"));
  CHECK_FALSE(holds(request.head, "Expect"));
  CHECK(request.body ==
        "{\"model\":\"judge-1\",\"messages\":[{\"role\":\"user\",\"content\":"
        "\"Say \\\"x\\\"\\u000a\\u0001 and \xc3\xa9, not \xef\xbf\xbd\"}]}");
}

TEST_CASE("messages, images and sampling go out in order") {
  Bench bench({http(200, said("{}"))},
              {{"image_detail", value_of("high")},
               {"seed", value_of(7)},
               {"extra_body", value_of(R"({ "reasoning_effort" : "low", "top_p": 0.25 })")}});
  MediaStore& store = bench.context.media();
  const std::string jpeg = "\xff\xd8\xff\xe0 body of it";
  const Media photo = store.put({reinterpret_cast<const std::uint8_t*>(jpeg.data()), jpeg.size()},
                                "wrong_name.png");
  const Media drawn = store.put_image({1, 1, {1, 2, 3}}, "drawn");
  Media film;
  film.kind = Media::Kind::video;
  film.frames = {drawn.id, photo.id};
  Part video;
  video.kind = Part::Kind::video;
  video.media = film;
  ChatRequest request;
  request.messages = {{Message::Role::system, {Part::of_text("Be "), Part::of_text("brief.")}},
                      {Message::Role::user,
                       {Part::of_text("1:"), Part::of_image(photo), Part::of_text("2:"), video}},
                      {Message::Role::assistant, {Part::of_text("Hm.")}},
                      {Message::Role::user, {Part::of_text("So? In JSON.")}}};
  request.sampling = {0.5, 0.9, 64, 3};
  request.format = ResponseFormat::json;
  CHECK(bench.mllm->chat(request).status == Status::ok);
  const std::string body = bench.body(0);
  const std::string jpeg_part =
      R"({"type":"image_url","image_url":{"url":"data:image/jpeg;base64,/9j/4CBib2R5IG9mIGl0","detail":"high"}})";
  const std::string start =
      R"({"model":"judge-1","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"1:"},)" +
      jpeg_part +
      R"(,{"type":"text","text":"2:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo)";
  CHECK(body.substr(0, start.size()) == start);
  CHECK(holds(
      body,
      "," + jpeg_part +
          R"(]},{"role":"assistant","content":"Hm."},{"role":"user","content":"So? In JSON."}])" +
          R"(,"max_completion_tokens":64,"temperature":0.5,"seed":10,"response_format":{"type":"json_object"})" +
          R"(,"reasoning_effort":"low","top_p":0.25})"));
}

TEST_CASE("endings other than a whole answer are statuses") {
  const std::string refused =
      R"({"choices":[{"finish_reason":"stop","message":{"content":null,"refusal":"I cannot help."}}]})";
  const std::string spent =
      R"({"choices":[{"finish_reason":"length","message":{"content":null}}],"usage":{"completion_tokens":64}})";
  Bench bench({http(200, refused), http(200, spent), http(200, said("half an", "length")),
               http(200, said("", "content_filter")), http(200, said(" \\n")),
               http(400, error("blocked", "", "content_filter")),
               http(400, error("too many tokens", "invalid_request_error",
                               "context_length_exceeded", "messages"))});
  ChatReply reply = bench.ask();
  CHECK(reply.status == Status::refused);
  CHECK(holds(reply.detail, "I cannot help."));
  reply = bench.ask();
  CHECK(reply.status == Status::truncated);
  CHECK(reply.usage.completion_tokens == 64);
  CHECK(reply.usage.cached_tokens == 0);
  reply = bench.ask();
  CHECK(reply.status == Status::truncated);
  CHECK(reply.text == "half an");
  CHECK(bench.ask().status == Status::refused);
  CHECK(bench.ask().status == Status::unparsed);
  CHECK(bench.ask().status == Status::refused);
  reply = bench.ask();
  CHECK(reply.status == Status::invalid);
  CHECK(holds(reply.detail, "HTTP 400: too many tokens"));
  CHECK(bench.asked() == 7);  // none of them was asked again
}

TEST_CASE("what is no JSON is asked for again, and no answer in the end") {
  Bench bench({http(200, "{\"choices\":[{"), http(200, said("Yes.")),
               http(200, "<html>wrong address</html>")},
              {{"retries", value_of(1)}});
  CHECK(bench.ask().text == "Yes.");
  const ChatReply reply = bench.ask();
  CHECK(reply.status == Status::unavailable);
  CHECK(holds(reply.detail, "wrong address"));
  CHECK(bench.asked() == 4);
}

TEST_CASE(
    "what holds neither an answer nor its cost is asked for again, and no answer in the end") {
  Bench bench({http(200, R"({"message":"upstream is starting"})"), http(200, said("Yes.")),
               http(200, R"({"message":"upstream is starting"})")},
              {{"retries", value_of(1)}});
  CHECK(bench.ask().text == "Yes.");
  const ChatReply reply = bench.ask();
  CHECK(reply.status == Status::unavailable);
  CHECK(holds(reply.detail, "upstream is starting"));
  CHECK(bench.asked() == 4);
  CHECK(bench.asked_by->calls.store().count() == 1);
}

TEST_CASE("passing trouble is tried again on the same connection") {
  Bench bench(
      {http(429, error("slow", "requests", "rate_limit_exceeded"), "Retry-After: 0.2\r\n"),
       http(500, "<html>oops</html>"), http(503, error("busy", "", ""), "retry-after-ms: 20\r\n"),
       http(200, R"({"error":{"message":"upstream","code":502}})"), http(200, said("Yes."))});
  CHECK(bench.ask().text == "Yes.");
  const auto requests = bench.server.requests();
  REQUIRE(requests.size() == 5);
  CHECK(requests[1].at - requests[0].at >= std::chrono::milliseconds(200));
  CHECK(bench.server.connections() == 1);
  CHECK(requests[4].body == requests[0].body);
}

TEST_CASE("a limit holds back the other calls too") {
  Bench bench({http(429, error("slow", "requests", "rate_limit_exceeded"), "Retry-After: 0.4\r\n"),
               http(200, said("Yes."))});
  std::thread first([&] { CHECK(bench.ask().status == Status::ok); });
  while (bench.asked() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the refusal has arrived
  CHECK(bench.ask().status == Status::ok);
  first.join();
  const auto requests = bench.server.requests();
  REQUIRE(requests.size() == 3);
  CHECK(requests[1].at - requests[0].at >= std::chrono::milliseconds(400));
}

TEST_CASE("trouble that stays is unavailable, in bounded attempts") {
  SECTION("server errors") {
    Bench bench({http(500, error("oops", "server_error", ""), "x-request-id: r-9\r\n")},
                {{"retries", value_of(2)}});
    const ChatReply reply = bench.ask();
    CHECK(reply.status == Status::unavailable);
    CHECK(reply.detail == "3 attempts, the last: HTTP 500: oops (request r-9)");
    CHECK(bench.asked() == 3);
  }
  SECTION("no answer in time") {
    Bench bench({{"never", 30}}, {{"retries", value_of(1)}, {"timeout_seconds", value_of(0.1)}});
    const ChatReply reply = bench.ask();
    CHECK(reply.status == Status::unavailable);
    CHECK(holds(reply.detail, "time-out"));
    CHECK(bench.asked() == 2);
  }
  SECTION("closed before and in the middle of an answer") {
    Answer half = http(200, said("Yes."));
    half.bytes.resize(half.bytes.size() - 5);
    half.close = true;
    Bench bench({{""}, half, http(200, said("Yes."))});
    CHECK(bench.ask().text == "Yes.");
    CHECK(bench.asked() == 3);
  }
  SECTION("nobody listens") {
    FakeContext context;
    const std::string endpoint = ScriptedServer({http(200, "")}).endpoint();  // and is gone
    const auto mllm =
        Bench::make(context, {{"endpoint", value_of(endpoint)}, {"retries", value_of(1)}});
    ChatRequest request;
    request.messages = {{Message::Role::user, {Part::of_text("Hello?")}}};
    const ChatReply reply = mllm->chat(request);
    CHECK(reply.status == Status::unavailable);
    CHECK(holds(reply.detail, "2 attempts"));
  }
  SECTION("told not to ask again") {
    Bench bench({http(503, error("no use", "", ""), "x-should-retry: false\r\n")});
    CHECK(bench.ask().status == Status::unavailable);
    CHECK(bench.asked() == 1);
  }
  SECTION("told to wait for hours: the run stops and says so") {
    Bench bench({http(429, error("come back tomorrow", "requests", ""), "Retry-After: 7200\r\n")});
    CHECK_THROWS_WITH(bench.ask(),
                      Catch::Contains("asks to wait 7200 s") && Catch::Contains("run again then"));
    CHECK_THROWS_AS(bench.ask(), ModelError);
    CHECK(bench.asked() == 1);
  }
  SECTION("after so many calls in a row the run stops") {
    Bench bench({http(500, "")}, {{"retries", value_of(0)}, {"outage_limit", value_of(3)}});
    CHECK(bench.ask().status == Status::unavailable);
    CHECK(bench.ask().status == Status::unavailable);
    CHECK_THROWS_AS(bench.ask(), ModelError);
    CHECK_THROWS_AS(bench.ask(), ModelError);
    CHECK(bench.asked() == 3);
  }
}

TEST_CASE("what no call can mend stops at once and shows no key") {
  const auto status = GENERATE(0, 1, 2, 3, 4);
  const std::vector<Answer> answers{
      http(401, error(std::string("Incorrect API key provided: ") + kKey, "invalid_request_error",
                      "invalid_api_key")),
      http(429, error("You exceeded your quota", "insufficient_quota", "insufficient_quota")),
      http(404, error("no such model", "", "model_not_found")),
      http(403, R"({"detail":"not in your region"})"),
      http(302, "", "Location: http://127.0.0.1:1/elsewhere\r\n"),
  };
  Bench bench({answers[static_cast<std::size_t>(status)]});
  std::string problem;
  try {
    bench.ask();
  } catch (const ModelError& caught) {
    problem = caught.what();
  }
  CHECK(holds(problem, bench.server.endpoint()));
  CHECK(holds(problem, "HTTP "));
  CHECK_FALSE(holds(problem, kKey));
  CHECK_THROWS_AS(bench.ask(), ModelError);
  CHECK(bench.asked() == 1);
  for (const auto& line : bench.context.log_lines()) CHECK_FALSE(holds(line.message, kKey));
}

TEST_CASE("what a server refuses is learned once") {
  const auto unsupported = [](const std::string& name) {
    return http(400, error("Unsupported parameter: '" + name + "'", "invalid_request_error",
                           "unsupported_parameter", name));
  };
  Bench bench(
      {unsupported("max_completion_tokens"), unsupported("temperature"), unsupported("top_p"),
       http(400, error("'response_format' of type 'json_schema' is not supported", "", "",
                       "response_format")),
       http(422, R"({"detail":"response_format: extra fields not permitted"})"),
       http(200, said("{}"))},
      {{"json_mode", value_of("schema")}});
  ChatRequest request;
  request.messages = {{Message::Role::user, {Part::of_text("As JSON, please.")}}};
  request.sampling = {0.5, 0.9, 64, 0};
  request.format = ResponseFormat::json;
  request.json_schema = R"({"type": "object"})";
  CHECK(bench.mllm->chat(request).status == Status::ok);
  REQUIRE(bench.asked() == 6);
  CHECK(holds(bench.body(0), R"("strict":true,"schema":{"type":"object"})"));
  CHECK(holds(bench.body(1), R"("max_tokens":64)"));
  CHECK(holds(bench.body(4), R"({"type":"json_object"})"));
  request.sampling.sample = 1;
  CHECK(bench.mllm->chat(request).status == Status::ok);
  CHECK(bench.asked() == 7);
  const std::string body = bench.body(6);
  CHECK(holds(body, R"("max_tokens":64)"));
  for (const char* name : {"max_completion_tokens", "temperature", "top_p", "response_format"})
    CHECK_FALSE(holds(body, name));
}

TEST_CASE("a limit that is only too large teaches nothing") {
  Bench bench(
      {http(400, error("max_completion_tokens is too large: 900000", "invalid_request_error",
                       "invalid_value", "max_completion_tokens"))});
  ChatRequest request;
  request.messages = {{Message::Role::user, {Part::of_text("Hello?")}}};
  request.sampling.max_tokens = 900000;
  CHECK(bench.mllm->chat(request).status == Status::invalid);
  CHECK(bench.asked() == 1);
}

TEST_CASE("an absent image is a status, and nothing is sent") {
  Bench bench({http(200, said("Yes."))});
  ChatRequest request;
  Media absent;
  absent.source = "no/such.png";
  request.messages = {{Message::Role::user, {Part::of_image(absent)}}};
  ChatReply reply = bench.mllm->chat(request);
  CHECK(reply.status == Status::missing_media);
  CHECK(holds(reply.detail, "no/such.png"));
  absent.id = std::string(64, '0');  // named, but the store has lost it
  request.messages = {{Message::Role::user, {Part::of_image(absent)}}};
  CHECK(bench.mllm->chat(request).status == Status::missing_media);
  CHECK(bench.asked() == 0);
}

TEST_CASE("wrong configurations say so when the component is made") {
  FakeContext context;
  const auto problem = [&](const Table& params) {
    try {
      Bench::make(context, params);
    } catch (const Error& caught) {
      return std::string(caught.what());
    }
    return std::string("none");
  };
  unsetenv("DT2IT_TEST_NO_KEY");
  CHECK(holds(problem({{"api_key_env", value_of("DT2IT_TEST_NO_KEY")}}), "DT2IT_TEST_NO_KEY"));
  setenv("DT2IT_TEST_BAD_KEY", "abc\r\nX-Evil: 1", 1);
  const std::string bad = problem({{"api_key_env", value_of("DT2IT_TEST_BAD_KEY")}});
  CHECK(holds(bad, "DT2IT_TEST_BAD_KEY"));
  CHECK_FALSE(holds(bad, "Evil"));
  CHECK(holds(problem({{"endpoint", value_of("ftp://x/v1")}}), "https://"));
  CHECK(holds(problem({{"endpoint", value_of("https://user:word@x/v1")}}), "api_key_env"));
  CHECK(holds(problem({{"extra_body", value_of("[1]")}}), "JSON object"));
  CHECK(holds(problem({{"extra_body", value_of(R"({"stream":true})")}}), "\"stream\""));
  CHECK(holds(problem({{"api_key_header", value_of("a: b\r\nc")}}), "api_key_header"));
  CHECK(problem({{"api_key_env", value_of("")}}) == "none");
}

TEST_CASE("a key in another header, none at all, and a query behind the endpoint") {
  ScriptedServer server({http(200, said("Yes."))});
  FakeContext context;
  ChatRequest request;
  request.messages = {{Message::Role::user, {Part::of_text("Hello?")}}};
  Bench::make(context, {{"endpoint", value_of(server.endpoint() + "/?api-version=1")},
                        {"api_key_header", value_of("api-key")}})
      ->chat(request);
  Bench::make(context,
              {{"endpoint", value_of(server.endpoint() + "/")}, {"api_key_env", value_of("")}})
      ->chat(request);
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK(holds(requests[0].head, "POST /v1/chat/completions?api-version=1 HTTP"));
  CHECK(holds(requests[0].head, std::string("api-key: ") + kKey));
  CHECK_FALSE(holds(requests[0].head, "Bearer"));
  CHECK(holds(requests[1].head, "POST /v1/chat/completions HTTP"));
  CHECK_FALSE(holds(requests[1].head, kKey));
}

TEST_CASE("proxies of the environment are not used") {
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  Bench bench({http(200, said("Yes."))}, {{"retries", value_of(0)}});
  CHECK(bench.ask().text == "Yes.");
  unsetenv("http_proxy");
}

TEST_CASE("many threads share the open connections") {
  Bench bench({http(200, said("Yes."))});
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < 25; ++k) good += bench.ask().text == "Yes.";
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 200);
  CHECK(bench.asked() == 200);
  CHECK(bench.server.connections() <= 8);
}

TEST_CASE("the contract of MLLMs holds") {
  Bench bench({http(200, said("Yes."))});
  ChatRequest request;
  request.messages = {{Message::Role::user, {Part::of_text("Hello?")}}};
  check_mllm_contract(*bench.mllm, request);
}
