// SPDX-License-Identifier: Apache-2.0
#include <ATen/core/Tensor.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "dt2it/mllm.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/plugins/mllms/mllm_contract.hpp"
#include "tests/plugins/mllms/scripted_backbone.hpp"
#include "tests/plugins/trainers/tiny_models.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

ChatRequest ask(const std::string& text, std::int64_t sample = 0) {
  ChatRequest request;
  request.messages.push_back({Message::Role::user, {Part::of_text(text)}});
  request.sampling.sample = sample;
  return request;
}

struct Bench {
  FakeContext context;
  std::shared_ptr<ScriptedBackbone> backbone;
  std::shared_ptr<Mllm> mllm;

  explicit Bench(Table params = {}, ScriptedBackbone::Script script = ScriptedBackbone::echo)
      : backbone(std::make_shared<ScriptedBackbone>(std::move(script))) {
    context.add<Backbone>("base", backbone);
    mllm = make(std::move(params));
  }
  std::shared_ptr<Mllm> make(Table params) {
    static const PluginLibrary plugin("mllms/local");
    params.try_emplace("backbone", value_of("base"));
    return plugin.make<Mllm>("local", params, context);
  }
};

// All at once, each in a thread of its own.
std::vector<ChatReply> together(Mllm& mllm, const std::vector<ChatRequest>& requests) {
  std::vector<std::future<ChatReply>> replies;
  for (const ChatRequest& request : requests)
    replies.push_back(
        std::async(std::launch::async, [&mllm, &request] { return mllm.chat(request); }));
  std::vector<ChatReply> all;
  for (auto& reply : replies) all.push_back(reply.get());
  return all;
}

// Batches begin as soon as they are full, and not long before.
Table full_batches(int size) { return {{"max_batch", value_of(size)}, {"max_wait", value_of(60)}}; }

}  // namespace

TEST_CASE("A local model's answers keep the contract") {
  Bench bench;
  check_mllm_contract_apart(*bench.mllm, ask("Tell me."));
}

TEST_CASE("A checkpoint's answers keep the contract, pictures included") {
  FakeContext context;
  add_backbone(context);
  static const PluginLibrary plugin("mllms/local");
  const auto mllm = plugin.make<Mllm>(
      "local", {{"backbone", value_of("base")}, {"max_tokens", value_of(6)}}, context);
  ChatRequest request = ask("Is there a ring in the picture?");
  request.messages[0].content.insert(
      request.messages[0].content.begin(),
      Part::of_image(context.media().put_image(sample_image(64, 48, 1), "drawn")));
  check_mllm_contract_apart(*mllm, request);
}

TEST_CASE("An answer says how it ended and what it took") {
  Bench bench({{"max_tokens", value_of(20)}});
  const ChatReply reply = bench.mllm->chat(ask("héllo"));
  CHECK(reply.status == Status::ok);
  CHECK(reply.text == "héllo");
  CHECK(reply.finish_reason == "stop");
  CHECK(reply.model == "scripted");
  CHECK(reply.usage.prompt_tokens == 6);
  CHECK(reply.usage.completion_tokens == 7);  // with the end token
  ChatRequest brief = ask("héllo");
  brief.sampling.max_tokens = 2;  // within the é
  const ChatReply cut = bench.mllm->chat(brief);
  CHECK(cut.status == Status::truncated);
  CHECK(cut.text == "h");
  CHECK(cut.finish_reason == "length");
  CHECK_FALSE(cut.detail.empty());
  CHECK(cut.usage.completion_tokens == 2);
  CHECK(bench.mllm->chat(ask(std::string(30, 'x'))).text == std::string(20, 'x'));
}

TEST_CASE("Stop strings end an answer and free its place") {
  Bench bench({{"stop", names({"</answer>", "Question:"})}});
  const ChatReply reply = bench.mllm->chat(ask("It is red.</answer> And so on."));
  CHECK(reply.status == Status::ok);
  CHECK(reply.finish_reason == "stop");
  CHECK(reply.text == "It is red.");
  CHECK(bench.mllm->chat(ask("</answe")).text == "</answe");
  const ChatReply silent = bench.mllm->chat(ask("Question: why?"));
  CHECK(silent.status == Status::unparsed);
  CHECK(silent.text.empty());
  CHECK(silent.finish_reason == "stop");
}

TEST_CASE("Samples that wait together share one prefill") {
  Bench bench(full_batches(4));
  bench.backbone->random = true;
  std::vector<ChatRequest> requests;
  for (int k = 0; k < 4; ++k) {
    requests.push_back(ask("The same for all", k));
    requests.back().sampling.max_tokens = 10;
  }
  const auto replies = together(*bench.mllm, requests);
  CHECK(bench.backbone->encodes == 1);
  CHECK(bench.backbone->decodes == 1);
  CHECK(bench.backbone->prefills == 1);
  CHECK(bench.backbone->steps == 9);
  std::set<std::string> texts;
  for (const ChatReply& reply : replies) {
    CHECK(reply.text.size() == 10);
    texts.insert(reply.text);
  }
  CHECK(texts.size() == 4);
}

TEST_CASE("More samples than a batch holds are answered batch by batch") {
  Bench bench({{"max_batch", value_of(2)}, {"max_wait", value_of(0.3)}});
  std::vector<ChatRequest> requests;
  for (int k = 0; k < 7; ++k) requests.push_back(ask("Seven", k));
  for (const ChatReply& reply : together(*bench.mllm, requests)) CHECK(reply.text == "Seven");
  CHECK(bench.backbone->most_live == 2);
}

TEST_CASE("Who waits joins while others are being answered") {
  std::atomic<bool> released = false;
  Bench bench({{"max_tokens", value_of(1 << 30)}},
              [&](const std::string& prompt, const std::string& answer) -> std::int64_t {
                if (prompt == "long")
                  return released && answer.size() > 3 ? ScriptedBackbone::kEnd : 'x';
                return ScriptedBackbone::echo(prompt, answer);
              });
  auto slow = std::async(std::launch::async, [&] { return bench.mllm->chat(ask("long")); });
  while (bench.backbone->steps < 3) std::this_thread::yield();
  const ChatReply quick = bench.mllm->chat(ask("short"));
  CHECK(quick.text == "short");
  released = true;
  CHECK(slow.get().text.starts_with("xxxx"));
  CHECK(bench.backbone->decodes == 1);
  CHECK(bench.backbone->joins == 1);
}

TEST_CASE("Many callers get each their own answer") {
  Bench bench({{"max_batch", value_of(8)}, {"max_wait", value_of(0.001)}});
  std::vector<std::future<int>> callers;
  for (int c = 0; c < 24; ++c)
    callers.push_back(std::async(std::launch::async, [&bench, c] {
      int right = 0;
      for (int i = 0; i < 30; ++i) {
        const std::string text = std::string(static_cast<std::size_t>(1 + (c * 7 + i) % 19), 'a') +
                                 std::to_string(c % 12 * 100 + i);
        right += bench.mllm->chat(ask(text, c)).text == text;
      }
      return right;
    }));
  for (auto& caller : callers) CHECK(caller.get() == 30);
  CHECK(bench.backbone->most_live <= 8);
  CHECK(bench.backbone->most_live > 1);
}

TEST_CASE("Models that share a backbone take turns") {
  Bench bench;
  const auto other = bench.make({{"temperature", value_of(0)}});
  std::vector<std::future<void>> callers;
  std::atomic<int> right = 0;
  for (int c = 0; c < 8; ++c)
    callers.push_back(std::async(std::launch::async, [&, c] {
      for (int i = 0; i < 20; ++i)
        right += (c % 2 ? *other : *bench.mllm).chat(ask("turn about")).text == "turn about";
    }));
  for (auto& caller : callers) caller.get();
  CHECK(right == 160);
}

TEST_CASE("An answer depends on its request and the seed, not on its company") {
  FakeContext context;
  add_backbone(context);
  static const PluginLibrary plugin("mllms/local");
  const auto model = [&](Table params) {
    params["backbone"] = value_of("base");
    params.try_emplace("max_tokens", value_of(40));
    return plugin.make<Mllm>("local", params, context);
  };
  ChatRequest mine = ask("Is there a ring in the picture?", 3);
  mine.messages[0].content.push_back(
      Part::of_image(context.media().put_image(sample_image(64, 48, 7), "drawn")));
  const std::string alone = model({})->chat(mine).text;
  CHECK_FALSE(alone.empty());
  CHECK(model({})->chat(mine).text == alone);

  std::vector<ChatRequest> company{mine};
  for (int i = 0; i < 7; ++i) {
    company.push_back(i < 2 ? mine
                            : ask("How many things are red or blue " +
                                      std::string(static_cast<std::size_t>(i), '?'),
                                  i));
    company.back().sampling.sample = i < 2 ? 10 + i : i;
    company.back().sampling.max_tokens = 5 + 9 * i;  // they leave one by one
  }
  for (const bool last : {false, true}) {
    if (last) std::reverse(company.begin(), company.end());
    const auto replies = together(*model(full_batches(8)), company);
    CHECK((last ? replies.back() : replies.front()).text == alone);
  }
  CHECK(model({{"seed", value_of(1)}})->chat(mine).text != alone);
  mine.sampling.sample = 4;
  CHECK(model({})->chat(mine).text != alone);
  mine.sampling.temperature = 0;  // the request's values go first; no draw, so no seed
  CHECK(model({})->chat(mine).text ==
        model({{"seed", value_of(1)}, {"temperature", value_of(2)}})->chat(mine).text);
}

TEST_CASE("What cannot be answered is a status with a reason") {
  Bench bench;
  const auto check = [&](const ChatRequest& request, Status status, const std::string& part) {
    const ChatReply reply = bench.mllm->chat(request);
    CHECK(reply.status == status);
    CHECK_THAT(reply.detail, Catch::Contains(part));
    CHECK(reply.text.empty());
  };
  ChatRequest request = ask("x");
  request.sampling.temperature = -1;
  check(request, Status::invalid, "temperature");
  request = ask("x");
  request.sampling.top_p = 1.5;
  check(request, Status::invalid, "top_p");
  request = ask("x");
  request.sampling.max_tokens = 0;
  check(request, Status::invalid, "max_tokens");
  Media absent;
  absent.source = "gone.png";
  request = ask("x");
  request.messages[0].content.push_back(Part::of_image(absent));
  check(request, Status::missing_media, "gone.png");
  bench.backbone->cut = true;
  check(ask("x"), Status::truncated, "cutoff_len");
}

TEST_CASE("An error reaches all it concerns, and the next request is answered") {
  Bench bench(full_batches(3));
  using Catch::Matchers::Message;
  CHECK_THROWS_MATCHES(bench.mllm->chat(ask("explode")), ModelError,
                       Message("scripted: generation failed: encoding broke"));
  bench.backbone->fail_at = 2;
  std::atomic<int> failed = 0;
  std::vector<std::future<void>> callers;
  for (int k = 0; k < 3; ++k)
    callers.push_back(std::async(std::launch::async, [&, k] {
      try {
        bench.mllm->chat(ask("abcdef", k));
      } catch (const ModelError& error) {
        failed += std::string(error.what()) == "scripted: generation failed: no memory left";
      }
    }));
  for (auto& caller : callers) caller.get();
  CHECK(failed == 3);
  for (const ChatReply& reply : together(*bench.mllm, {ask("a"), ask("b"), ask("c")}))
    CHECK(reply.text.size() == 1);
}

TEST_CASE("Parameters that can never work are refused") {
  Bench bench;
  CHECK_THROWS_AS(bench.make({{"backbone", value_of("")}}), ConfigError);
  CHECK_THROWS_AS(bench.make({{"stop", names({"x", ""})}}), ConfigError);
}
