// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/request_key.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

ChatRequest request() {
  ChatRequest made;
  Media image;
  image.id = "abc";
  made.messages = {{Message::Role::system, {Part::of_text("Be brief.")}},
                   {Message::Role::user, {Part::of_image(image), Part::of_text("What?")}}};
  made.sampling.temperature = 0.5;
  return made;
}

struct Bench {
  FakeContext context;
  std::shared_ptr<Mllm> mllm;
  explicit Bench(const std::string& lines, Table more = {}) {
    const auto path = context.scratch() / "calls.jsonl";
    std::ofstream(path, std::ios::binary) << lines;
    more["file"] = value_of(path.string());
    mllm = PluginLibrary("mllms/replay").make<Mllm>("replay", more, context);
  }
};

}  // namespace

TEST_CASE("a recorded call is answered as it was") {
  Bench bench(
      "\n{\"key\":\"" + request_key(request()) +
      R"(","text":"A ring.\nRed.","model":"m-1","prompt_tokens":12,"completion_tokens":3})" +
      "\r\n");
  const ChatReply reply = bench.mllm->chat(request());
  CHECK(reply.status == Status::ok);
  CHECK(reply.text == "A ring.\nRed.");
  CHECK(reply.finish_reason == "stop");
  CHECK(reply.model == "m-1");
  CHECK(reply.usage.prompt_tokens == 12);
  CHECK(reply.usage.completion_tokens == 3);

  Bench failed("{\"key\":\"" + request_key(request()) +
               R"(","text":"","status":"refused","finish_reason":"content_filter"})");
  CHECK(failed.mllm->chat(request()).status == Status::refused);
  CHECK(failed.mllm->chat(request()).finish_reason == "content_filter");
}

TEST_CASE("what was not recorded is unavailable, and the key is named") {
  Bench bench("");
  ChatRequest other = request();
  other.purpose = "listwise";
  const ChatReply reply = bench.mllm->chat(other);
  CHECK(reply.status == Status::unavailable);
  CHECK(reply.detail.find(request_key(other)) != std::string::npos);
  CHECK(reply.detail.find("listwise") != std::string::npos);
}

TEST_CASE("the key depends on all that decides the answer and on nothing else") {
  const std::string key = request_key(request());
  CHECK(key.size() == 32);
  const std::vector<std::function<void(ChatRequest&)>> matters{
      [](ChatRequest& r) { r.messages[1].content[1].text = "What? "; },
      [](ChatRequest& r) { r.messages[0].role = Message::Role::user; },
      [](ChatRequest& r) { r.messages[1].content[0].media.id = "abd"; },
      [](ChatRequest& r) { r.messages[1].content[0].media.frames = {"x"}; },
      [](ChatRequest& r) { std::swap(r.messages[1].content[0], r.messages[1].content[1]); },
      [](ChatRequest& r) { r.messages[1].content.push_back(Part::of_text("")); },
      [](ChatRequest& r) { r.messages.push_back({}); },
      [](ChatRequest& r) { r.sampling.temperature = 0.6; },
      [](ChatRequest& r) { r.sampling.temperature.reset(); },
      [](ChatRequest& r) { r.sampling.top_p = 0.5; },
      [](ChatRequest& r) { r.sampling.max_tokens = 5; },
      [](ChatRequest& r) { r.sampling.sample = 1; },
      [](ChatRequest& r) { r.format = ResponseFormat::json; },
      [](ChatRequest& r) { r.json_schema = "{}"; }};
  for (std::size_t i = 0; i < matters.size(); ++i) {
    INFO(i);
    ChatRequest changed = request();
    matters[i](changed);
    CHECK(request_key(changed) != key);
  }
  ChatRequest same = request();
  same.purpose = "elsewhere";
  same.messages[1].content[0].media.source = "other.png";
  CHECK(request_key(same) == key);
}

TEST_CASE("a recording of several models or seeds answers as one of them") {
  const auto line = [](const std::string& model, int seed) {
    return "{\"key\":\"" + request_key(request()) + "\",\"text\":\"" + model +
           std::to_string(seed) + "\",\"model_asked\":\"" + model +
           R"(","identity":"{\"model\":\")" + model + R"(\",\"seed\":)" + std::to_string(seed) +
           "}\"}\n";
  };
  const std::string lines = line("a", 1) + line("a", 2) + line("b", 1);
  const auto said = [&](const Table& more) {
    return Bench(lines, more).mllm->chat(request()).text;
  };
  CHECK(said({{"model", value_of("b")}}) == "b1");
  CHECK(said({{"identity", value_of(R"({"model":"a","seed":2})")}}) == "a2");
  CHECK(said({{"model", value_of("a")}, {"identity", value_of(R"({"model":"a","seed":1})")}}) ==
        "a1");
  CHECK_THROWS_WITH(Bench(lines, {{"model", value_of("a")}}),
                    Catch::Contains("calls.jsonl:2: ") && Catch::Contains("stands in line 1") &&
                        Catch::Contains("parameter 'identity'") &&
                        Catch::Contains(R"('{"model":"a","seed":2}')"));
  CHECK_THROWS_WITH(Bench(line("a", 1) + line("b", 1)),
                    Catch::Contains("parameter 'model', 'a' or 'b'"));
}

TEST_CASE("a broken recording is named by file and line") {
  const std::string good = "{\"key\":\"" + std::string(32, 'a') + "\",\"text\":\"x\"}\n";
  const std::vector<std::string> wrong{
      "not json",
      "[1]",
      R"({"text":"x"})",
      R"({"key":"short","text":"x"})",
      "{\"key\":\"" + std::string(32, 'b') + "\"}",
      "{\"key\":\"" + std::string(32, 'b') + R"(","text":5})",
      "{\"key\":\"" + std::string(32, 'b') + R"(","text":"x","status":"fine"})",
      "{\"key\":\"" + std::string(32, 'b') + R"(","text":"x","prompt_tokens":-1})",
      "{\"key\":\"" + std::string(32, 'a') + R"(","text":"again"})"};
  for (const std::string& line : wrong) {
    INFO(line);
    CHECK_THROWS_WITH(Bench(good + line + "\n"), Catch::Contains("calls.jsonl:2: "));
  }
  FakeContext context;
  CHECK_THROWS_AS(PluginLibrary("mllms/replay")
                      .make<Mllm>("replay", {{"file", value_of("nowhere.jsonl")}}, context),
                  DataError);
}

TEST_CASE("replay keeps the contract of MLLMs") {
  Bench bench("{\"key\":\"" + request_key(request()) + R"(","text":"A ring."})");
  check_mllm_contract(*bench.mllm, request());
}
