// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <catch2/catch.hpp>
#include <fstream>
#include <utility>

#include "dt2it/response_key.hpp"
#include "dt2it/testing/contracts.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

std::shared_ptr<RewardModel> make(const std::string& name, const Table& params,
                                  FakeContext& context) {
  return PluginLibrary("reward_models/" + name).make<RewardModel>(name, params, context);
}

std::vector<Reward> rewards_of(RewardModel& model, const std::vector<std::string>& texts,
                               std::size_t row = 0, const std::vector<std::size_t>& original = {}) {
  const Prompt prompt = sample_prompt("p", "Which?");
  std::vector<Response> responses;
  for (const std::string& text : texts)
    responses.push_back(sample_response(std::to_string(responses.size()), text));
  const RewardRequest request{&prompt, responses, row, original};
  return model.rewards(std::span(&request, 1)).at(0);
}

const std::vector<PreferencePair> kPairs{sample_pair("a", "Q1", "a longer answer", "short"),
                                         sample_pair("b", "Q2", "yes", "no, never"),
                                         sample_pair("c", "Q3", "1", "2")};

std::string write_file(FakeContext& context, const std::string& name, const std::string& text) {
  const auto file = context.scratch() / name;
  std::ofstream(file, std::ios::binary) << text;
  return file.string();
}

}  // namespace

TEST_CASE("length counts code points or words") {
  FakeContext context;
  const auto characters = make("length", {}, context);
  const auto rewards =
      rewards_of(*characters, {"abc", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "", "a b\n"});
  CHECK(rewards[0].value == 3);
  CHECK(rewards[1].value == 3);  // two, three and four bytes: one code point each
  CHECK(rewards[2].value == 0);
  CHECK(rewards[3].value == 4);
  const auto words = make("length", {{"unit", value_of("words")}}, context);
  CHECK(rewards_of(*words, {"  two\twords \n"})[0].value == 2);
  check_reward_model_contract(*characters, kPairs);
}

TEST_CASE("constant gives the same to all") {
  FakeContext context;
  const auto model = make("constant", {{"value", value_of(2.5)}}, context);
  const auto rewards = rewards_of(*model, {"a", "b"});
  CHECK(rewards[0].value == 2.5);
  CHECK(rewards[1].value == 2.5);
  check_reward_model_contract(*model, kPairs);
}

TEST_CASE("replay looks rewards up by row and place") {
  FakeContext context;
  const std::string lines =
      "{\"chosen\": 1.25, \"rejected\": -3}\n{\"chosen\": NaN, \"rejected\": null}\n{\"chosen\": "
      "0, \"rejected\": -Infinity}\n";
  const auto model =
      make("replay", {{"file", value_of(write_file(context, "p.jsonl", lines))}}, context);
  const auto swapped = rewards_of(*model, {"x", "y"}, 0, {1, 0});
  CHECK(swapped[0].value == -3);
  CHECK(swapped[1].value == 1.25);
  const auto failed = rewards_of(*model, {"x", "y"}, 1, {0, 1});
  CHECK_FALSE(failed[0].ok());
  CHECK_FALSE(failed[1].ok());
  const auto half = rewards_of(*model, {"x", "y"}, 2, {0, 1});
  CHECK(half[0].ok());
  CHECK_FALSE(half[1].ok());
  CHECK_NOTHROW(model->finish(3));
  check_reward_model_contract(*model, kPairs, {.looks_rewards_up = true});

  const auto array = make(
      "replay",
      {{"file",
        value_of(write_file(context, "p.json",
                            "[{\"chosen\":1,\"rejected\":2},\n{\"chosen\":3,\"rejected\":4}]"))}},
      context);
  CHECK(rewards_of(*array, {"x", "y"}, 1, {0, 1})[1].value == 4);
}

TEST_CASE("replay: another number of rows is an error that names both") {
  FakeContext context;
  const auto model =
      make("replay",
           {{"file", value_of(write_file(context, "p.jsonl", "{\"chosen\":1,\"rejected\":2}\n"))}},
           context);
  CHECK_THROWS_WITH(rewards_of(*model, {"x", "y"}, 1, {0, 1}),
                    Catch::Contains("has 1 rows") && Catch::Contains("at least 2"));
  CHECK_THROWS_WITH(model->finish(170), Catch::Contains("has 1 rows") && Catch::Contains("170"));
  CHECK_THROWS_AS(model->finish(0), DataError);
}

TEST_CASE("replay: bad lines are named") {
  FakeContext context;
  const auto problem = [&](const std::string& text) -> std::string {
    try {
      make("replay", {{"file", value_of(write_file(context, "bad.jsonl", text))}}, context);
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK_THAT(problem("{\"chosen\":1,\"rejected\":2}\n{\"chosen\":1}\n"),
             Catch::Contains("bad.jsonl:2: field 'rejected' is missing"));
  CHECK_THAT(problem("{\"chosen\":\"1\",\"rejected\":2}\n"),
             Catch::Contains("bad.jsonl:1: field 'chosen' is not a number"));
  CHECK_THAT(problem("{\"chosen\":1,\n"), Catch::Contains("bad.jsonl:1: not valid JSON"));
}

TEST_CASE("judge: scores and statuses pass through") {
  FakeContext context;
  const auto judge = std::make_shared<FakeJudge>([](const Prompt&, const Response& response) {
    Score score = ok_score(static_cast<double>(response.text.size()));
    if (response.text == "refused") score.status = Status::refused;
    return score;
  });
  context.add<Judge>("teacher", judge);
  for (const char* mode : {"listwise", "pointwise"}) {
    const int before = judge->calls();
    const auto model =
        make("judge", {{"judge", value_of("teacher")}, {"mode", value_of(mode)}}, context);
    const auto rewards = rewards_of(*model, {"ab", "abcd", "refused"});
    CHECK(rewards[0].value == 2);
    CHECK(rewards[1].value == 4);
    CHECK(rewards[2].status == Status::refused);
    CHECK(judge->calls() - before == (std::string(mode) == "listwise" ? 1 : 3));
    check_reward_model_contract(*model, kPairs);
  }
}

TEST_CASE("judge: comparisons are asked in both orders, and a position habit is a tie") {
  FakeContext context;
  context.add<Judge>("teacher",
                     std::make_shared<FakeJudge>([](const Prompt&, const Response& response) {
                       if (response.text == "broken") return Score{};
                       return ok_score(static_cast<double>(response.text.size()));
                     }));
  const auto model =
      make("judge", {{"judge", value_of("teacher")}, {"mode", value_of("compare")}}, context);
  const auto rewards = rewards_of(*model, {"ab", "abcd", "a"});
  CHECK(rewards[0].value == 0.5);  // beats one of two
  CHECK(rewards[1].value == 1);
  CHECK(rewards[2].value == 0);
  const auto failed = rewards_of(*model, {"ab", "broken"});
  CHECK(failed[0].status == Status::invalid);
  CHECK(failed[1].status == Status::invalid);
  check_reward_model_contract(*model, kPairs);

  struct FirstIsBest final : Judge {
    std::vector<Score> score(const Prompt&, std::span<const Response>) override { return {}; }
    Verdict compare(const Prompt&, const Response&, const Response&) override {
      Verdict verdict;
      verdict.status = Status::ok;
      verdict.winner = Verdict::Winner::first;
      return verdict;
    }
  };
  context.add<Judge>("habit", std::make_shared<FirstIsBest>());
  const auto habit =
      make("judge", {{"judge", value_of("habit")}, {"mode", value_of("compare")}}, context);
  const auto tie = rewards_of(*habit, {"a", "b"});
  CHECK(tie[0].value == tie[1].value);
  const auto broken = make("judge", {{"judge", value_of("habit")}}, context);
  CHECK_THROWS_AS(rewards_of(*broken, {"a", "b"}), PluginError);  // no score for two responses
}

TEST_CASE("stored: a long file's rewards are found by content, and its bad lines are named") {
  FakeContext context;
  constexpr int kLines = 40'000;  // several threads' work
  const auto reply = [](int line, int side) { return fmt::format("answer {} of {}", side, line); };
  const auto prompt_of = [](int line) {
    return sample_prompt("p", fmt::format("Question {}?", line));
  };
  const auto key = [&](int line, int side) {
    const ResponseKey key = response_key(prompt_of(line), sample_response("r", reply(line, side)));
    return fmt::format("{:016x}{:016x}", key[0], key[1]);
  };
  const auto line_of = [&](int line) {
    return fmt::format(
        R"({{"row":{},"keys":["{}","{}"],"rewards":{{"one":[{},null],"two":[-1,{}.5]}}}})", line,
        key(line, 0), key(line, 1), line, line);
  };
  std::vector<std::string> lines;
  for (int line = 0; line < kLines; ++line) lines.push_back(line_of(line));
  const auto written = [&] {
    return write_file(context, "votes.jsonl", fmt::format("\n{}\n", fmt::join(lines, "\n")));
  };
  const auto open = [&](const std::string& file) {
    return make("stored", {{"rewards", value_of(file)}, {"model", value_of("two")}}, context);
  };
  {
    const auto model = open(written());
    for (const int line : {0, 1, kLines / 2, kLines - 1}) {
      const Prompt prompt = prompt_of(line);
      const std::vector<Response> responses{sample_response("a", reply(line, 1)),
                                            sample_response("b", reply(line, 0)),
                                            sample_response("c", "another answer")};
      const RewardRequest request{&prompt, responses, 0, {}};
      const auto rewards = model->rewards(std::span(&request, 1)).at(0);
      CHECK(rewards.at(0).value == line + 0.5);
      CHECK(rewards.at(1).value == -1);
      CHECK(rewards.at(2).status == Status::invalid);
    }
  }
  for (const auto& [at, bad, message] : std::vector<std::array<std::string, 3>>{
           {"0", "{}", ":2: is no line of votes"},
           {"0", R"({"keys":["0","0"],"rewards":{}})", ":2: has a key that is not 32 hex digits"},
           {"35000", line_of(3).replace(line_of(3).find("rewards"), 7, "words"),
            ":35002: is no line of votes"},
           {"20000", line_of(3).replace(line_of(3).find("one"), 3, "own"),
            ":20002: has rewards of other models than the first line"},
           {"39999", line_of(3).substr(0, 60), ":40001: is no line of votes"},
       }) {
    const std::size_t place = std::stoul(at);
    const std::string good = std::exchange(lines[place], bad);
    CHECK_THROWS_WITH(open(written()), Catch::Contains(message));
    lines[place] = good;
  }
}
