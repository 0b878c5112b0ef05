// SPDX-License-Identifier: Apache-2.0
// Best of n and offline reinforcement learning, on candidate sets written by hand.
#include <cmath>
#include <limits>
#include <set>

#include "core/stages/answer_grades.hpp"
#include "core/stages/candidate_set.hpp"
#include "core/util/journal.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"
#include "tests/core/run/host_fixture.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Prompts whose candidates say these texts; "-" is a refusal.
std::string candidates_file(const std::vector<std::vector<std::string>>& sets) {
  std::string text;
  for (std::size_t row = 0; row < sets.size(); ++row) {
    CandidateSet set;
    set.prompt = testing::sample_prompt("q" + std::to_string(row), "What?");
    set.prompt.extra = R"({"truth":{"secret":1}})";
    for (std::size_t k = 0; k < sets[row].size(); ++k) {
      Response& response =
          set.candidates.emplace_back(testing::sample_response(std::to_string(k), sets[row][k]));
      response.origin = "sampled";
      if (sets[row][k] == "-") {
        response.status = Status::refused;
        response.text.clear();
      }
    }
    text += to_line(set) + "\n";
  }
  return text;
}

// The expectation by trying every subset.
std::vector<double> by_trying(const std::vector<double>& values, std::size_t k) {
  std::vector<double> weights(values.size(), 0);
  double subsets = 0;
  for (std::uint32_t mask = 0; mask < (1u << values.size()); ++mask) {
    if (static_cast<std::size_t>(__builtin_popcount(mask)) != k) continue;
    ++subsets;
    std::vector<double> drawn(values.size(), kNone);
    for (std::size_t i = 0; i < values.size(); ++i)
      if (mask >> i & 1) drawn[i] = values[i];
    if (const std::size_t best = pick_best(drawn); best < values.size()) weights[best] += 1;
  }
  for (double& weight : weights) weight /= subsets;
  return weights;
}

const char* kComponents = R"(
[answer_benchmarks.quiz]
type = "fixture"
[reward_models.rm]
type = "fixture"
[stages.given]
file = "candidates.jsonl"
)";

simdjson::dom::element table_of(simdjson::dom::parser& parser, const fs::path& folder) {
  simdjson::dom::element root;
  REQUIRE(parser.load((folder / "answers.json").string()).get(root) == simdjson::SUCCESS);
  return root["benchmarks"].at(0);
}

double headline(const simdjson::dom::element& table, const std::string& by) {
  for (const auto item : table["picks"].get_array())
    if (std::string_view name; !item["by"].get(name) && name == by)
      return item["metrics"].at(0)["value"].get_double();
  FAIL("nobody is called " << by);
  return 0;
}

}  // namespace

TEST_CASE("The best is picked, the lower place among equals, and never what has no value") {
  CHECK(pick_best(std::vector<double>{1, 3, 2}) == 1);
  CHECK(pick_best(std::vector<double>{2, 5, 5, 5}) == 1);
  CHECK(pick_best(std::vector<double>{kNone, -4, kNone}) == 1);
  CHECK(pick_best(std::vector<double>{kNone, kNone}) == 2);
  CHECK(pick_best({}) == 0);
}

TEST_CASE("Weights of subsets are those of trying every subset") {
  const std::vector<std::vector<double>> cases{
      {1, 2, 3, 4},   {4, 3, 2, 1}, {1, 1, 1, 1}, {2, 1, 2, 1, 2}, {kNone, 1, 3, kNone, 3, 0},
      {kNone, kNone}, {7}};
  for (const auto& values : cases)
    for (std::size_t k = 1; k <= values.size(); ++k) {
      const auto weights = subset_weights(values, k), expected = by_trying(values, k);
      for (std::size_t i = 0; i < values.size(); ++i) {
        INFO("value " << i << " of " << values.size() << ", k = " << k);
        CHECK(weights[i] == Approx(expected[i]).margin(1e-12));
      }
    }
  CHECK(subset_sizes(4) == std::vector<std::size_t>{1, 2, 4});
  CHECK(subset_sizes(6) == std::vector<std::size_t>{1, 2, 4, 6});
  CHECK(subset_sizes(1) == std::vector<std::size_t>{1});
}

TEST_CASE("The table has the model's pick beside a blind one, the longest and the best") {
  HostFixture host;
  // Grade and reward are both the number at the beginning; the longest text is worth least.
  host.write("candidates.jsonl", candidates_file({{"1 aaaaaaaaaa", "4 a", "2 a", "3 a"},
                                                  {"8 a", "2 aaaa", "8 b", "-"}}));
  const auto folders = host.run(std::string(kComponents) + R"(
[stages.grade]
answers = "given"
benchmark = "quiz"
[stages.reward]
candidates = "given"
reward_model = "rm"
[stages.table]
type = "answer_table"
benchmarks = ["quiz"]
answers = ["given"]
grades = ["grade"]
rewards = ["reward"]
mllm = "writer"
reward_model = "rm"
)");
  simdjson::dom::parser parser;
  const auto table = table_of(parser, folders.at("table"));
  // Random: the mean over weights, (1 + 4 + 2 + 3) / 4 and (8 + 2 + 8) / 4 of 3 graded ones.
  CHECK(headline(table, "random") == Approx((2.5 + 18.0 / 4) / (1 + .75)));
  CHECK(headline(table, "rm") == Approx(6));
  CHECK(headline(table, "oracle") == Approx(6));
  CHECK(headline(table, "longest") == Approx(1.5));
  CHECK(std::int64_t(table["failed"]["refused"]) == 1);
  CHECK(std::int64_t(table["answers"]) == 8);
  // One of k = 1 is a blind pick among those with a reward; all of them is the pick itself.
  const auto curve = table["curves"].at(0);
  CHECK(std::int64_t(curve["n"].at(0)) == 1);
  CHECK(double(curve["value"].at(0)) == Approx((2.5 + 18.0 / 4) / (1 + .75)));
  CHECK(double(curve["value"].at(1)) > double(curve["value"].at(0)));
  CHECK(double(curve["value"].at(2)) == Approx(6));
  const auto gain = table["gains"].at(0);
  CHECK(double(gain["mean"]) == Approx(6 - 4));
  CHECK(double(gain["low"]) <= double(gain["mean"]));
  CHECK(double(gain["high"]) >= double(gain["mean"]));

  JsonLineReader lines(folders.at("table") / "picked.jsonl");
  JsonRef line;
  REQUIRE(lines.next(line));
  CHECK(std::int64_t(line.element["picks"]["rm"]) == 1);
  CHECK(std::int64_t(line.element["picks"]["longest"]) == 0);
  REQUIRE(lines.next(line));
  CHECK(std::int64_t(line.element["picks"]["rm"]) == 0);  // of two with reward 8

  const auto grades = read_grades(folders.at("grade") / "grades.jsonl");
  REQUIRE(grades.size() == 2);
  CHECK(grades[0][1].judge == "nobody");
  CHECK(grades[0][1].replies == std::vector<std::string>{"of 4 a"});
  CHECK(grades[1][3].status == Status::refused);
  const auto rewards = read_rewards(folders.at("reward") / "rewards.jsonl");
  CHECK(rewards[0][3].value == 3);
  CHECK(rewards[1][3].status == Status::refused);
}

TEST_CASE("Rewards that an interrupted run has are not asked for again") {
  HostFixture host, whole;
  std::vector<std::vector<std::string>> sets;
  for (int row = 0; row < 7; ++row)
    sets.push_back({std::to_string(row) + " a", "-", std::to_string(9 - row) + " b"});
  const auto toml = [](const std::string& more) {
    return "[reward_models.rm]\ntype = \"fixture\"\n" + more +
           "[stages.given]\nfile = \"candidates.jsonl\"\n" +
           "[stages.reward]\ncandidates = \"given\"\nreward_model = \"rm\"\n";
  };
  for (HostFixture* one : {&host, &whole}) one->write("candidates.jsonl", candidates_file(sets));
  const fs::path asked = host.path() / "asked";
  const std::string fails = toml("fail_once = \"" + (host.path() / "failed").string() +
                                 "\"\nasked = \"" + asked.string() + "\"\n");
  CHECK_THROWS_WITH(host.run(fails), Catch::Contains("out of memory"));
  const auto expected = read_rewards(whole.run(toml("")).at("reward") / "rewards.jsonl");
  for (const auto& stage : fs::directory_iterator(host.path() / "runs" / ".work"))
    if (stage.is_directory()) {
      CHECK(Journal(stage.path() / "rewards.journal").size() == 4);  // two groups of two
      fs::remove(stage.path() / "rewards.journal");
      Journal marked(stage.path() / "rewards.journal");
      for (const std::size_t row : {2, 3, 4}) {  // one group, and half of the next
        auto rewards = expected[row];
        if (row != 4) rewards[0].value = 77;
        marked.append(row, rewards_line("q" + std::to_string(row), rewards));
      }
    }
  fs::remove(asked);
  const auto resumed = read_rewards(host.run(fails).at("reward") / "rewards.jsonl");
  REQUIRE(resumed.size() == 7);
  for (std::size_t row = 0; row < 7; ++row)
    for (const std::size_t k : {0, 2})
      CHECK(resumed[row][k].value ==
            ((row == 2 || row == 3) && k == 0 ? 77 : expected[row][k].value));
  // Those that are asked together are so whatever was there: rewards depend on it in their last bits.
  CHECK(read_file(asked) == "q0 q1\nq4 q5\nq6\n");
}

TEST_CASE(
    "best_of_n makes its stages, and rows that differ in who picks share answers and grades") {
  HostFixture host;
  const std::string toml = R"(
[answer_benchmarks.quiz]
type = "fixture"
count = 5
[mllms.writer]
type = "fixture"
[reward_models.rm]
type = "fixture"
[reward_models.other]
type = "fixture"
batch = 3
[stages.best_of_n]
mllm = "writer"
benchmarks = ["quiz"]
count = 3
)";
  const StageGraph alone = host.plan(toml), one = host.plan(toml + "reward_model = \"rm\"\n"),
                   two = host.plan(toml + "reward_model = \"other\"\n");
  CHECK(alone.stages.size() == 3);
  REQUIRE(one.stages.size() == 4);
  for (const char* shared : {"best_of_n.answers_quiz", "best_of_n.grades_quiz"}) {
    CHECK(one.find(shared)->key == two.find(shared)->key);
    CHECK(one.find(shared)->key == alone.find(shared)->key);
  }
  CHECK(one.find("best_of_n.rewards_quiz")->key != two.find("best_of_n.rewards_quiz")->key);
  CHECK(one.find("best_of_n")->key != alone.find("best_of_n")->key);
  const auto folders = host.run(toml + "reward_model = \"rm\"\n");
  const CandidateFile answers(folders.at("best_of_n.answers_quiz") / "candidates.jsonl");
  REQUIRE(answers.size() == 5);
  const CandidateSet set = answers.read(4);
  CHECK(set.prompt.id == "q4");
  REQUIRE(set.candidates.size() == 3);
  CHECK(set.candidates[2].text == "5 draw 2");
  simdjson::dom::parser parser;
  CHECK(headline(table_of(parser, folders.at("best_of_n")), "rm") == Approx(5));
}

TEST_CASE("Pairs of the best and the worst; prompts that say nothing are dropped and counted") {
  HostFixture host;
  host.write("candidates.jsonl", candidates_file({{"3 c", "1 a", "9 z", "1 b"},
                                                  {"2 x", "2 y"},
                                                  {"4 a", "-"},
                                                  {"5 a", "5 a"},
                                                  {"1 a", "2 a"}}));
  const std::string toml = std::string(kComponents) + R"(
[stages.reward]
candidates = "given"
reward_model = "rm"
[stages.prefer]
candidates = "given"
rewards = "reward"
)";
  const auto pairs = read_pairs(host.run(toml).at("prefer") / "pairs.jsonl");
  REQUIRE(pairs.size() == 2);
  CHECK(pairs[0].chosen.text == "9 z");
  CHECK(pairs[0].rejected.text == "1 a");  // the first of two that are worst
  CHECK(pairs[0].strength == 8);
  CHECK(pairs[0].prompt.extra == R"({"truth":{"secret":1}})");  // for an audit; models never see it
  CHECK(pairs[1].chosen.text == "2 a");
  CHECK(read_pairs(host.run(toml + "min_gap = 1.0\n").at("prefer") / "pairs.jsonl").size() == 1);
}

TEST_CASE("Rewards that a model out of reach did not give are asked for by the next run") {
  HostFixture host;
  std::vector<std::vector<std::string>> sets;
  for (int row = 0; row < 5; ++row) sets.push_back({std::to_string(row) + " a", "2 b"});
  host.write("candidates.jsonl", candidates_file(sets));
  const fs::path outage = host.write("outage", ""), asked = host.path() / "asked";
  const auto toml = [&](const std::string& stage) {
    return "[reward_models.rm]\ntype = \"fixture\"\noutage = \"" + outage.string() +
           "\"\nasked = \"" + asked.string() + "\"\n[stages.given]\nfile = \"candidates.jsonl\"\n" +
           stage;
  };
  const std::string reward =
      toml("[stages.reward]\ncandidates = \"given\"\nreward_model = \"rm\"\n");
  CHECK_THROWS_WITH(host.run(reward), Catch::Contains("1 of 5 prompts got no answer") &&
                                          Catch::Contains("run again"));
  CHECK(read_file(asked) == "q0 q1\nq2 q3\nq4\n");  // the rest is worked on all the same
  fs::remove(outage);
  const auto rewards = read_rewards(host.run(reward).at("reward") / "rewards.jsonl");
  CHECK(rewards.at(3).at(0).value == 3);
  CHECK(read_file(asked) == "q0 q1\nq2 q3\nq4\nq2 q3\n");
}

TEST_CASE("Rewards of other candidates are told by stages and row") {
  HostFixture host;
  host.write("candidates.jsonl", candidates_file({{"1 a", "2 a"}, {"3 a", "1 a"}}));
  const auto made = [](const std::string& id, std::vector<double> values) {
    std::vector<Reward> rewards;
    for (const double value : values) rewards.push_back({Status::ok, value, {}});
    return rewards_line(id, rewards) + "\n";
  };
  const auto run = [&](const std::string& lines) {
    host.write("rewards.jsonl", lines);
    return host
        .run(R"(
[stages.drawn]
type = "given"
file = "candidates.jsonl"
[stages.judged]
type = "given"
file = "rewards.jsonl"
[stages.prefer]
candidates = "drawn"
rewards = "judged"
)")
        .at("prefer");
  };
  const std::string good = made("q0", {1, 2});
  const auto refused = [&](const std::string& lines, const std::string& what) {
    using Catch::Contains;
    try {
      run(lines);
      FAIL("it ran");
    } catch (const DataError& error) {
      CHECK_THAT(error.what(), Contains("'judged'") && Contains("'drawn'") && Contains(what));
    }
  };
  refused(good + made("q1", {3, 1, 9}), "row 1 is 3 rewards for prompt 'q1'");
  refused(good + made("q1", {3}), "row 1 is 1 rewards");
  refused(made("q1", {3, 1}) + good, "row 0 is 2 rewards for prompt 'q1'");
  refused(good + made("other", {3, 1}), "'other'");
  refused(good, "rewards of 1 prompts");
  CHECK(read_pairs(run(good + made("q1", {3, 1})) / "pairs.jsonl").size() == 2);
}

TEST_CASE("Sets at equal volume: each is cut to as many pairs as the other has") {
  HostFixture host;
  const std::string toml = R"(
[datasets.small]
type = "fixture"
count = 7
[datasets.big]
type = "fixture"
count = 20
prefix = "b"
[stages.small]
type = "collect_pairs"
dataset = "small"
[stages.big]
type = "collect_pairs"
dataset = "big"
[stages.one]
type = "mix"
pairs = ["small"]
as_many_as = ["big"]
[stages.two]
type = "mix"
pairs = ["big"]
as_many_as = ["small"]
)";
  const auto folders = host.run(toml);
  CHECK(read_pairs(folders.at("one") / "pairs.jsonl").size() == 7);
  const auto drawn = read_pairs(folders.at("two") / "pairs.jsonl");
  CHECK(drawn.size() == 7);
  std::set<std::string> ids;
  for (const PreferencePair& pair : drawn) ids.insert(pair.id);
  CHECK(ids.size() == 7);
  CHECK(ids !=
        std::set<std::string>{"b0", "b1", "b2", "b3", "b4", "b5", "b6"});  // not the first seven
}

}  // namespace dt2it
