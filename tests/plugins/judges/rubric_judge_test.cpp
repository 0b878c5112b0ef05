// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/judge.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

std::string report(std::vector<int> scores, const std::string& tail = "") {
  std::string text = R"({"weights":{"accuracy":1},"responses":[)";
  for (std::size_t i = 0; i < scores.size(); ++i)
    text += (i > 0 ? "," : "") + std::string("{\"id\":") + std::to_string(i + 1) +
            ",\"scores\":{\"accuracy\":" + std::to_string(scores[i]) + "}}";
  return text + "]" + tail + "}";
}

ChatReply reply(const std::string& text, Status status = Status::ok,
                const std::string& finish = "stop") {
  ChatReply made;
  made.status = status;
  made.text = text;
  made.finish_reason = finish;
  if (status != Status::ok) made.detail = "as the test wants";
  return made;
}

struct Bench {
  FakeContext context;
  std::shared_ptr<FakeMllm> mllm;
  std::shared_ptr<Judge> judge;
  explicit Bench(FakeMllm::Answer answer, Table params = {})
      : mllm(std::make_shared<FakeMllm>(std::move(answer))) {
    static const PluginLibrary library("judges/rubric");
    context.add<Mllm>("teacher", mllm);
    params.emplace("criteria", names({"accuracy"}));
    judge = library.make<Judge>("rubric", params, context);
  }
};

const Prompt kPrompt = sample_prompt("p", "What is it?");
const std::vector<Response> kThree{sample_response("a", "A"), sample_response("b", "B"),
                                   sample_response("c", "C")};

}  // namespace

TEST_CASE("a list is one call, one score each, in order") {
  Bench bench([](const ChatRequest&) { return reply(report({3, 9, 0})); },
              {{"max_tokens", value_of(500)}});
  const std::vector<Score> scores = bench.judge->score(kPrompt, kThree);
  REQUIRE(scores.size() == 3);
  CHECK(scores[0].overall == 3);
  CHECK(scores[1].overall == 9);
  CHECK(scores[2].overall == 0);
  CHECK(scores[1].reply == report({3, 9, 0}));
  const std::vector<ChatRequest> requests = bench.mllm->requests();
  REQUIRE(requests.size() == 1);
  CHECK(requests[0].purpose == "listwise");
  CHECK(requests[0].format == ResponseFormat::json);
  CHECK_FALSE(requests[0].json_schema.empty());
  CHECK(requests[0].sampling.temperature == 0.0);
  CHECK(requests[0].sampling.max_tokens == 500);
}

TEST_CASE("one response is pointwise, none asks nothing") {
  Bench bench([](const ChatRequest&) { return reply(report({6})); },
              {{"json_format", value_of(false)}});
  CHECK(bench.judge->score(kPrompt, {kThree.data(), 1})[0].overall == 6);
  CHECK(bench.judge->score(kPrompt, {}).empty());
  const std::vector<ChatRequest> requests = bench.mllm->requests();
  REQUIRE(requests.size() == 1);
  CHECK(requests[0].purpose == "pointwise");
  CHECK(requests[0].format == ResponseFormat::text);
}

TEST_CASE("an unreadable reply is drawn again, with another sample number") {
  Bench bench([](const ChatRequest& request) {
    return reply(request.sampling.sample == 0 ? "no report" : report({1, 2, 3}));
  });
  CHECK(bench.judge->score(kPrompt, kThree)[2].overall == 3);
  REQUIRE(bench.mllm->requests().size() == 2);
  CHECK(bench.mllm->requests()[1].sampling.sample == 1);
}

TEST_CASE("the draw with the most readable scores counts, and draws are not mixed") {
  Bench bench(
      [](const ChatRequest& request) {
        return reply(request.sampling.sample == 1 ? report({1, 2}) : report({7}));
      },
      {{"retries", value_of(2)}});
  const std::vector<Score> scores = bench.judge->score(kPrompt, kThree);
  CHECK(bench.mllm->requests().size() == 3);
  CHECK(scores[0].overall == 1);
  CHECK(scores[1].overall == 2);
  CHECK(scores[2].status == Status::unparsed);
}

TEST_CASE("no retries means one call") {
  Bench bench([](const ChatRequest&) { return reply("nothing"); }, {{"retries", value_of(0)}});
  CHECK(bench.judge->score(kPrompt, kThree)[0].status == Status::unparsed);
  CHECK(bench.mllm->requests().size() == 1);
}

TEST_CASE("what the model could not do is passed on and not asked again") {
  for (const Status status :
       {Status::refused, Status::unavailable, Status::truncated, Status::invalid}) {
    Bench bench([status](const ChatRequest&) { return reply(report({5, 5, 5}), status); });
    for (const Score& score : bench.judge->score(kPrompt, kThree)) {
      CHECK(score.status == status);
      CHECK(score.detail == "as the test wants");
    }
    CHECK(bench.mllm->requests().size() == 1);
  }
  Bench cut([](const ChatRequest&) {
    return reply(report({5, 5, 5}).substr(0, 60), Status::ok, "length");
  });
  CHECK(cut.judge->score(kPrompt, kThree)[0].status == Status::truncated);
}

TEST_CASE("a prompt whose image is absent is not judged") {
  Bench bench([](const ChatRequest&) { return reply(report({5, 5, 5})); });
  Media absent;
  absent.source = "lost.png";
  const std::vector<Score> scores =
      bench.judge->score(sample_prompt("p", "What is it?", {absent}), kThree);
  for (const Score& score : scores) CHECK(score.status == Status::missing_media);
  CHECK(scores[0].detail.find("lost.png") != std::string::npos);
  CHECK(bench.judge->compare(sample_prompt("p", "?", {absent}), kThree[0], kThree[1]).status ==
        Status::missing_media);
  CHECK(bench.mllm->requests().empty());
}

TEST_CASE("comparing two follows the scores") {
  const auto verdict = [](const std::string& text) {
    Bench bench([&](const ChatRequest&) { return reply(text); });
    const Verdict result = bench.judge->compare(kPrompt, kThree[0], kThree[1]);
    CHECK(bench.mllm->requests()[0].purpose == "pairwise");
    return result;
  };
  CHECK(verdict(report({8, 5})).winner == Verdict::Winner::first);
  CHECK(verdict(report({4, 5}, R"(,"better":"2")")).winner == Verdict::Winner::second);
  CHECK(verdict(report({5, 5}, R"(,"better":"tie")")).winner == Verdict::Winner::tie);
  CHECK(verdict(report({5, 5})).detail.empty());

  const Verdict contrary = verdict(report({8, 5}, R"(,"better":"2")"));
  CHECK(contrary.winner == Verdict::Winner::first);
  CHECK(contrary.detail.find("not what its scores say") != std::string::npos);

  const Verdict half = verdict(report({8}));
  CHECK(half.status == Status::unparsed);
  CHECK(half.first_score == 8.0);
  CHECK_FALSE(half.second_score);
  CHECK(verdict(R"({"better":"1"})").status == Status::unparsed);
}

TEST_CASE("what the first and second response are depends on the call") {
  Bench bench([](const ChatRequest& request) {
    const std::string& text = request.messages.back().content.back().text;
    return reply(text.find("id=\"1\">\nB") != std::string::npos ? report({9, 1}) : report({1, 9}));
  });
  CHECK(bench.judge->compare(kPrompt, kThree[0], kThree[1]).winner == Verdict::Winner::second);
  CHECK(bench.judge->compare(kPrompt, kThree[1], kThree[0]).winner == Verdict::Winner::first);
}

TEST_CASE("a rubric that cannot work is refused") {
  FakeContext context;
  context.add<Mllm>("teacher", std::make_shared<FakeMllm>("x"));
  const PluginLibrary library("judges/rubric");
  CHECK_THROWS_AS(library.make<Judge>("rubric", {{"criteria", names({"Two Words"})}}, context),
                  ConfigError);
  CHECK_THROWS_AS(library.make<Judge>("rubric", {{"mllm", value_of("nobody")}}, context),
                  ConfigError);
}

TEST_CASE("rubric keeps the contract of judges") {
  Bench good([](const ChatRequest& request) {
    return reply(request.purpose == "pointwise"  ? report({6})
                 : request.purpose == "pairwise" ? report({4, 8})
                                                 : report({3, 9, 5}));
  });
  check_judge_contract(*good.judge, kPrompt, kThree);
  Bench bad([](const ChatRequest&) { return reply("no report"); });
  check_judge_contract(*bad.judge, kPrompt, kThree);
  Bench gone([](const ChatRequest&) { return ChatReply{}; });
  check_judge_contract(*gone.judge, kPrompt, kThree);
}

TEST_CASE("repeats are means over what could be read, and further draws of the same") {
  Bench bench(
      [](const ChatRequest& request) {
        return reply(request.sampling.sample == 2
                         ? "no report at all"
                         : report({request.sampling.sample == 0 ? 4 : 7, 5, 5}));
      },
      {{"repeats", value_of(3)}, {"retries", value_of(0)}});
  const std::vector<Score> scores = bench.judge->score(kPrompt, kThree);
  REQUIRE(scores.size() == 3);
  CHECK(scores[0].overall == 5.5);
  CHECK(scores[0].detail == R"({"draws":[4,7],"unread":1})");
  CHECK(scores[1].overall == 5);
  REQUIRE(bench.mllm->requests().size() == 3);
  for (int i = 0; i < 3; ++i)
    CHECK(bench.mllm->requests()[static_cast<std::size_t>(i)].sampling.sample == i);
  Bench mute([](const ChatRequest&) { return reply("no report"); },
             {{"repeats", value_of(3)}, {"retries", value_of(0)}});
  CHECK(mute.judge->score(kPrompt, kThree)[0].status == Status::unparsed);
}

TEST_CASE("comparisons go by majority, abstentions have no vote") {
  // First, second, unreadable, first: two of three readable ones.
  Bench bench(
      [](const ChatRequest& request) {
        switch (request.sampling.sample) {
          case 1: return reply(report({2, 8}));
          case 2: return reply("", Status::refused);
          default: return reply(report({8, 2}));
        }
      },
      {{"repeats", value_of(4)}, {"retries", value_of(0)}});
  const Verdict verdict = bench.judge->compare(kPrompt, kThree[0], kThree[1]);
  CHECK(verdict.ok());
  CHECK(verdict.winner == Verdict::Winner::first);
  CHECK(verdict.detail == R"({"votes":{"first":2,"second":1,"tie":0},"unread":1})");
}

TEST_CASE("in both orders a judge that goes by the place gives a tie") {
  Bench by_place([](const ChatRequest&) { return reply(report({8, 2})); },
                 {{"both_orders", value_of(true)}});
  Verdict verdict = by_place.judge->compare(kPrompt, kThree[0], kThree[1]);
  CHECK(verdict.ok());
  CHECK(verdict.winner == Verdict::Winner::tie);
  CHECK(verdict.detail == "the orders disagree: first and second");
  CHECK(verdict.first_score == 5);
  CHECK(by_place.mllm->requests().size() == 2);
  // One that looks: the response with an A in its block, wherever it stands.
  Bench by_content(
      [](const ChatRequest& request) {
        const std::string& text = request.messages.back().content.back().text;
        return reply(text.find("\nA\n") < text.find("\nB\n") ? report({8, 2}) : report({2, 8}));
      },
      {{"both_orders", value_of(true)}});
  verdict = by_content.judge->compare(kPrompt, kThree[0], kThree[1]);
  CHECK(verdict.winner == Verdict::Winner::first);
  CHECK(verdict.first_score == 8);
}
