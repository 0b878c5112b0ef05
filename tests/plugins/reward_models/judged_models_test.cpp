// SPDX-License-Identifier: Apache-2.0
// Reward models that say which of two is better, critiques before scores, and files of both.
#include <catch2/catch.hpp>
#include <fstream>

#include "dt2it/testing/contracts.hpp"
#include "dt2it/verdict_model.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

std::shared_ptr<RewardModel> make(const std::string& name, const Table& params,
                                  FakeContext& context) {
  return PluginLibrary("reward_models/" + name).make<RewardModel>(name, params, context);
}

const std::vector<PreferencePair> kPairs{sample_pair("a", "Q1", "a longer answer", "short"),
                                         sample_pair("b", "Q2", "yes", "no, never"),
                                         sample_pair("c", "Q3", "1", "2")};

std::string text_of(const ChatRequest& request) {
  std::string text;
  for (const Message& message : request.messages)
    for (const Part& part : message.content) text += part.text;
  return text;
}

std::string between(const std::string& text, const std::string& open, const std::string& close) {
  const std::size_t start = text.find(open);
  REQUIRE(start != text.npos);
  return text.substr(start + open.size(), text.find(close, start) - start - open.size());
}

// Says that the longer response is better, in the form asked for.
std::shared_ptr<FakeMllm> longer_is_better() {
  return std::make_shared<FakeMllm>([](const ChatRequest& request) {
    const std::string text = text_of(request);
    const bool second = between(text, "<response id=\"2\">\n", "\n</response>").size() >
                        between(text, "<response id=\"1\">\n", "\n</response>").size();
    ChatReply reply;
    reply.status = Status::ok;
    reply.text =
        text.find("<task>brackets</task>") != text.npos
            ? (second ? "So: [[B]]" : "So: [[A]]")
            : "Overall Judgment: Answer " + std::string(second ? "2" : "1") + " is better.";
    return reply;
  });
}

// The verdicts of a model on pairs, chosen first in each request unless `swapped`.
std::vector<std::vector<ShownVerdict>> verdicts_of(RewardModel& model,
                                                   const std::vector<PreferencePair>& pairs,
                                                   bool swapped = false) {
  auto* judge = dynamic_cast<VerdictModel*>(&model);
  REQUIRE(judge);
  REQUIRE(judge->gives_verdicts());
  static const std::vector<std::size_t> forwards{0, 1}, backwards{1, 0};
  std::vector<std::vector<Response>> responses;
  for (const PreferencePair& pair : pairs)
    responses.push_back(swapped ? std::vector{pair.rejected, pair.chosen}
                                : std::vector{pair.chosen, pair.rejected});
  std::vector<RewardRequest> requests;
  for (std::size_t i = 0; i < pairs.size(); ++i)
    requests.push_back({&pairs[i].prompt, responses[i], i, swapped ? backwards : forwards});
  return judge->verdicts(requests);
}

std::string write_file(FakeContext& context, const std::string& name, const std::string& text) {
  const auto file = context.scratch() / name;
  std::ofstream(file, std::ios::binary) << text;
  return file.string();
}

std::vector<PreferencePair> with_ids(std::vector<PreferencePair> pairs) {
  for (PreferencePair& pair : pairs) pair.prompt.id = pair.id;  // as benchmarks make them
  return pairs;
}

}  // namespace

TEST_CASE(
    "verdict: orders are drawn for each sample, from the texts alone, and the reply is kept") {
  FakeContext context;
  const auto mllm = longer_is_better();
  context.add<Mllm>("judge", mllm);
  for (const char* form : {"answers", "brackets"}) {
    const auto model = make(
        "verdict",
        {{"mllm", value_of("judge")}, {"form", value_of(form)}, {"samples", value_of(9)}}, context);
    const auto all = verdicts_of(*model, kPairs);
    const auto swapped = verdicts_of(*model, kPairs, true);
    int first = 0;
    for (std::size_t i = 0; i < kPairs.size(); ++i) {
      REQUIRE(all[i].size() == 9);
      for (std::size_t k = 0; k < 9; ++k) {
        const ShownVerdict& one = all[i][k];
        CHECK(one.form == form);
        CHECK(one.verdict.ok());
        CHECK_FALSE(one.verdict.reply.empty());
        first += one.shown[0] == 0;
        CHECK(swapped[i][k].shown[0] == 1 - one.shown[0]);  // the same text first
        if (kPairs[i].chosen.text.size() == kPairs[i].rejected.text.size()) continue;
        const std::size_t winner = one.shown[one.verdict.winner == Verdict::Winner::first ? 0 : 1];
        CHECK((winner == 0) == (kPairs[i].chosen.text.size() > kPairs[i].rejected.text.size()));
      }
    }
    CHECK(first > 5);
    CHECK(first < 22);
  }
  const ChatRequest asked = mllm->requests().front();
  CHECK(asked.purpose == "verdict");
  CHECK(asked.sampling.temperature == 0.2);  // several samples
  CHECK(text_of(asked).find("reference") == std::string::npos);

  const auto both =
      make("verdict",
           {{"mllm", value_of("judge")}, {"order", value_of("both")}, {"samples", value_of(2)}},
           context);
  const auto given = verdicts_of(*both, kPairs);
  REQUIRE(given[0].size() == 4);
  for (const std::size_t k : {0, 2}) CHECK(given[0][k].shown[0] == 1 - given[0][k + 1].shown[0]);
}

TEST_CASE("verdict: what it is as a reward model, and what cannot be had or read") {
  FakeContext context;
  context.add<Mllm>("judge", longer_is_better());
  const auto model =
      make("verdict", {{"mllm", value_of("judge")}, {"order", value_of("both")}}, context);
  check_reward_model_contract(*model, kPairs);
  const Prompt prompt = sample_prompt("p", "Which?");
  const std::vector<Response> three{sample_response("0", "ab"), sample_response("1", "abc"),
                                    sample_response("2", "a")};
  const RewardRequest request{&prompt, three, 0, {}};
  const auto rewards = model->rewards(std::span(&request, 1)).at(0);
  CHECK(rewards[0].value == 0.5);
  CHECK(rewards[1].value == 1);
  CHECK(rewards[2].value == 0);

  const auto with = [&](Status status, const std::string& text) {
    FakeContext other;
    other.add<Mllm>("judge", std::make_shared<FakeMllm>([=](const ChatRequest&) {
                      ChatReply reply;
                      reply.status = status;
                      reply.text = text;
                      return reply;
                    }));
    return verdicts_of(*make("verdict", {{"mllm", value_of("judge")}}, other), kPairs)[0][0]
        .verdict;
  };
  CHECK(with(Status::ok, "Both are fine.").status == Status::unparsed);
  CHECK(with(Status::ok, "Both are fine.").reply == "Both are fine.");
  CHECK(with(Status::unavailable, "").status == Status::unavailable);
  CHECK(with(Status::truncated, "Overall Judgment: Answer").status == Status::truncated);
  CHECK(with(Status::truncated, "Overall Judgment: Answer 2 is better. And").winner ==
        Verdict::Winner::second);  // cut behind it
  CHECK(with(Status::ok, "Overall Judgment: Answer 3 is better").status == Status::unparsed);
  auto pairs = kPairs;
  pairs[0].prompt.messages[0].content.push_back(Part::of_image({}));
  CHECK(verdicts_of(*model, pairs)[0][0].verdict.status == Status::missing_media);
}

TEST_CASE("critique: the score is given with the critique in view") {
  FakeContext context;
  const auto critic = std::make_shared<FakeMllm>([](const ChatRequest& request) {
    ChatReply reply;
    const std::string answer = between(text_of(request), "<response id=\"1\">\n", "\n</response>");
    reply.status = answer == "short" ? Status::refused : Status::ok;
    reply.text = "Critique " + std::to_string(request.sampling.sample) + " of " + answer;
    return reply;
  });
  context.add<Mllm>("critic", critic);
  std::vector<std::string> seen;
  context.add<RewardModel>(
      "scorer",
      std::make_shared<FakeRewardModel>([&](const Prompt& prompt, const Response& response) {
        seen.push_back(prompt.messages.back().content.back().text + "|" + response.text);
        return static_cast<double>(response.text.size()) +
               static_cast<double>(response.text.find('1') != std::string::npos);
      }));
  const auto model = make(
      "critique", {{"mllm", value_of("critic")}, {"reward_model", value_of("scorer")}}, context);
  check_reward_model_contract(*model, kPairs);
  seen.clear();
  const std::vector<Response> two{sample_response("0", "yes"), sample_response("1", "short")};
  const RewardRequest request{&kPairs[0].prompt, two, 0, {}};
  const auto rewards = model->rewards(std::span(&request, 1)).at(0);
  CHECK(rewards[0].ok());
  CHECK(rewards[1].status == Status::refused);
  REQUIRE(seen.size() == 1);
  CHECK_THAT(seen[0], Catch::Contains("Q1|yes") && Catch::EndsWith("Critique 0 of yes"));

  const auto mean = make("critique",
                         {{"mllm", value_of("critic")},
                          {"reward_model", value_of("scorer")},
                          {"critiques", value_of(2)},
                          {"place", value_of("dialogue")}},
                         context);
  seen.clear();
  const double value = mean->rewards(std::span(&request, 1)).at(0)[0].value;
  CHECK(value == std::string("Critique 0 of yes").size() + 0.5);  // the second one has a '1' in it
  CHECK_THAT(seen.at(0), Catch::Contains("yes") && Catch::EndsWith("|Critique 0 of yes"));
}

TEST_CASE(
    "replay: rewards as MM-RLHF's and R1-Reward's programs write them, and several benchmarks in "
    "one file") {
  FakeContext context;
  const std::string rows =
      "{\"id\":\"q\",\"rewards\":[1.5,-2]}\n{\"rewards\":[0,NaN]}\n{\"rewards\":[3,3]}\n{"
      "\"rewards\":[4,5]}\n";
  const std::string file = write_file(context, "all.jsonl", rows);
  const auto model = make(
      "replay", {{"file", value_of(file)}, {"starts", {List{value_of(3), value_of(1)}}}}, context);
  const std::vector<std::size_t> forwards{0, 1};
  const auto rewards = [&](std::size_t row) {
    const std::vector<Response> two{sample_response("0", "x"), sample_response("1", "y")};
    const RewardRequest request{&kPairs[0].prompt, two, row, forwards};
    return model->rewards(std::span(&request, 1)).at(0);
  };
  CHECK(rewards(1)[1].value == 5);  // the first benchmark begins at the third row
  CHECK_THROWS_WITH(rewards(2), Catch::Contains("from row 3: has 2 rows"));
  CHECK_THROWS_AS(model->finish(3), DataError);
  CHECK_NOTHROW(model->finish(2));
  CHECK(rewards(0)[0].value == 1.5);
  CHECK_FALSE(rewards(1)[1].ok());
  CHECK_NOTHROW(model->finish(2));
  CHECK(rewards(0)[0].value == 3);  // from the start
  CHECK_FALSE(dynamic_cast<VerdictModel&>(*model).gives_verdicts());
  CHECK_THROWS_WITH(
      make("replay", {{"file", value_of(file)}, {"starts", {List{value_of(9)}}}}, context),
      Catch::Contains("number 9"));
  CHECK_THROWS_WITH(make("replay", {}, context), Catch::Contains("none is given"));
  const auto two = make("replay", {{"files", {List{value_of(file), value_of(file)}}}}, context);
  CHECK_NOTHROW(two->finish(4));
  CHECK_THROWS_WITH(
      make("replay", {{"file", value_of(write_file(context, "bad.jsonl", "{\"rewards\":[1]}\n"))}},
           context),
      Catch::Contains("bad.jsonl:1") && Catch::Contains("two numbers"));
}

TEST_CASE("replay: replies of Multimodal RewardBench's judges, by row") {
  FakeContext context;
  const std::string rows = R"({"ID":"a","Label":"A","output":"[[A]]"}
{"ID":"b","Label":"B","output":"[[A]]"}
{"ID":"c","Label":"B","output":"?"}
)";
  const auto model =
      make("replay", {{"file", value_of(write_file(context, "out.jsonl", rows))}}, context);
  for (const bool swapped : {false, true}) {
    const auto given = verdicts_of(*model, with_ids(kPairs), swapped);
    const std::size_t chosen = swapped ? 1 : 0;
    CHECK(given[0][0].shown[0] == chosen);  // Label A: the chosen response was shown as A
    CHECK(given[0][0].form == "brackets");
    CHECK(given[0][0].verdict.winner == Verdict::Winner::first);
    CHECK(given[1][0].shown[0] == 1 - chosen);
    CHECK(given[2][0].verdict.status == Status::unparsed);
    CHECK(given[2][0].verdict.reply == "?");
  }
  check_reward_model_contract(*model, with_ids(kPairs), {.looks_rewards_up = true});
  auto other = with_ids(kPairs);
  other[1].prompt.id = "z";
  CHECK_THROWS_WITH(verdicts_of(*model, other),
                    Catch::Contains("out.jsonl:2: is about 'b'") && Catch::Contains("'z'"));
}

TEST_CASE("replay: samples of VL-RewardBench's judges are joined by what they are about") {
  FakeContext context;
  const auto line = [](const std::string& id, const std::string& query, const std::string& one,
                       const std::string& two, const std::string& ranking, int order,
                       const std::string& reply) {
    return R"({"id":")" + id + R"(","query":")" + query + R"(","response":[")" + one + R"(",")" +
           two + R"("],"ranking":)" + ranking + R"(,"meta":{"random_number":)" +
           std::to_string(order) + R"(,"filter_choice":")" + reply + "\"}}\n";
  };
  const std::string good = "Overall Judgment: Answer 1 is better", bad = "none";
  // Pair b comes first; pair a twice, as the benchmark has it twice.
  const std::string rows = line("b", "Q2", "no, never", "yes", "[1, 0]", 0, good) +
                           line("b", "Q2", "no, never", "yes", "[1, 0]", 1, good) +
                           line("a", "Q1", "a longer answer", "short", "[0, 1]", 0, good) +
                           line("a", "Q1", "a longer answer", "short", "[0, 1]", 1, good) +
                           line("a", "<image>\\nQ1", "short", "a longer answer", "[1, 0]", 0, bad) +
                           line("a", "Q1", "short", "a longer answer", "[1, 0]", 1, bad);
  const auto model =
      make("replay", {{"file", value_of(write_file(context, "out.jsonl", rows))}}, context);
  auto pairs = with_ids({kPairs[0], kPairs[1], kPairs[0]});
  for (PreferencePair& pair : pairs)
    pair.prompt.messages.back().content.back().text = pair.id == "a" ? "Q1" : "Q2";
  const auto given = verdicts_of(*model, pairs);
  REQUIRE(given[0].size() == 2);
  CHECK(given[0][0].shown[0] == 0);
  CHECK(given[0][1].shown[0] == 1);
  CHECK(given[0][0].verdict.ok());
  CHECK_FALSE(
      given[2][0].verdict.ok());     // the second time it is asked about, the second two samples
  CHECK(given[2][0].shown[0] == 1);  // "short" was first in the record, and is the rejected one
  CHECK(given[1][0].shown[0] == 1);  // ranking [1, 0], shown as they stand: the chosen one second
  CHECK(given[1][1].shown[0] == 0);
  CHECK_NOTHROW(model->finish(3));
  pairs[1].chosen.text = "changed";
  CHECK_THROWS_WITH(verdicts_of(*model, pairs), Catch::Contains("has no verdict on pair 1, 'b'"));
}
