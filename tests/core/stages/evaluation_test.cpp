// SPDX-License-Identifier: Apache-2.0
#include "core/stages/evaluation.hpp"

#include <limits>
#include <set>

#include "dt2it/error.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "tests/core/run/host_fixture.hpp"

namespace dt2it {
namespace {

class ListBenchmark final : public Benchmark {
 public:
  explicit ListBenchmark(std::vector<PreferencePair> pairs) : pairs_(std::move(pairs)) {}
  std::unique_ptr<Stream<PreferencePair>> items() override {
    return std::make_unique<testing::VectorStream<PreferencePair>>(pairs_);
  }
  std::vector<Metric> summarise(std::span<const Outcome> outcomes) override {
    std::int64_t correct = 0, ties = 0;
    for (const Outcome& outcome : outcomes) correct += outcome.correct(), ties += outcome.tie();
    const auto total = static_cast<std::int64_t>(outcomes.size());
    return {{"correct", 0, correct, total}, {"ties", 0, ties, total}};
  }
  std::string edition(std::span<const Outcome>) override { return "a list"; }

 private:
  std::vector<PreferencePair> pairs_;
};

// Remembers how it was asked; rewards by a function of position, text and original index.
class WatchedModel final : public RewardModel {
 public:
  using Function = std::function<double(const RewardRequest&, std::size_t)>;
  explicit WatchedModel(Function function, std::size_t batch = 7)
      : function_(std::move(function)), batch_(batch) {}
  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    batches.push_back(requests.size());
    std::vector<std::vector<Reward>> all;
    for (const RewardRequest& request : requests) {
      rows.push_back(request.row);
      chosen_first.push_back(request.original_index[0] == 0);
      prompts.push_back(*request.prompt);
      seen.insert(seen.end(), request.responses.begin(), request.responses.end());
      std::vector<Reward>& row = all.emplace_back();
      for (std::size_t k = 0; k < request.responses.size(); ++k)
        row.push_back({Status::ok, function_(request, k)});
    }
    return all;
  }
  void finish(std::size_t rows_told) override { finished.push_back(rows_told); }
  std::size_t batch_size() const override { return batch_; }

  std::vector<std::size_t> batches, rows, finished;
  std::vector<bool> chosen_first;
  std::vector<Prompt> prompts;
  std::vector<Response> seen;

 private:
  Function function_;
  std::size_t batch_;
};

std::vector<PreferencePair> hundred() {
  std::vector<PreferencePair> pairs;
  for (int i = 0; i < 100; ++i) {
    PreferencePair& pair = pairs.emplace_back(testing::sample_pair(
        "same", "Q" + std::to_string(i), std::string(static_cast<std::size_t>(10 + i % 7), 'c'),
        std::string(static_cast<std::size_t>(10 + i % 5), 'r')));
    pair.prompt.extra = R"({"truth":"chosen"})";
    pair.chosen.mllm = "secret";
    pair.group = i % 2 ? "odd" : "even";
  }
  return pairs;
}

Evaluation evaluate(RewardModel& model, std::uint64_t seed = 0,
                    std::vector<PreferencePair> pairs = hundred()) {
  ListBenchmark benchmark(std::move(pairs));
  testing::FakeContext context(seed);
  std::size_t done = 0;
  Evaluation result = evaluate_benchmark(benchmark, read_items(benchmark), model, context,
                                         [&](std::size_t more) { done += more; });
  CHECK(done == result.outcomes.size());
  return result;
}

}  // namespace

TEST_CASE("A constant model is never right and always ties") {
  WatchedModel model([](const RewardRequest&, std::size_t) { return 0.5; });
  const Evaluation result = evaluate(model);
  CHECK(result.metrics[0].correct == 0);
  CHECK(result.metrics[1].correct == 100);
  CHECK(result.metrics[1].total == 100);
}

TEST_CASE("A model that likes a position learns nothing about the labels") {
  WatchedModel first([](const RewardRequest&, std::size_t k) { return k == 0 ? 1.0 : 0.0; });
  const std::int64_t right = *evaluate(first).metrics[0].correct;
  CHECK(right > 30);
  CHECK(right < 70);
}

TEST_CASE("The order is shuffled by the seed, yet outcomes depend on the texts alone") {
  const auto by_length = [](const RewardRequest& request, std::size_t k) {
    return static_cast<double>(request.responses[k].text.size());
  };
  WatchedModel one(by_length), two(by_length, 1), three(by_length);
  const Evaluation first = evaluate(one, 1), second = evaluate(two, 1), third = evaluate(three, 2);
  CHECK(one.chosen_first == two.chosen_first);
  CHECK(one.chosen_first != three.chosen_first);
  CHECK(std::count(one.chosen_first.begin(), one.chosen_first.end(), true) > 30);
  CHECK(std::count(one.chosen_first.begin(), one.chosen_first.end(), false) > 30);
  for (const Evaluation* other : {&second, &third}) {
    REQUIRE(other->outcomes.size() == first.outcomes.size());
    for (std::size_t i = 0; i < first.outcomes.size(); ++i) {
      CHECK(first.outcomes[i].row == i);
      CHECK(first.outcomes[i].chosen_reward == static_cast<double>(10 + i % 7));
      CHECK(other->outcomes[i].chosen_reward == first.outcomes[i].chosen_reward);
      CHECK(other->outcomes[i].rejected_reward == first.outcomes[i].rejected_reward);
    }
  }
  CHECK(first.outcomes[3].group == "odd");
  CHECK(first.outcomes[3].id == "same");
}

TEST_CASE("A model sees neither labels nor truth, in batches of its size, and is told the end") {
  WatchedModel model([](const RewardRequest&, std::size_t) { return 0.0; });
  evaluate(model);
  std::vector<std::size_t> sizes(14, 7);
  sizes.push_back(2);
  CHECK(model.batches == sizes);
  CHECK(model.rows.front() == 0);
  CHECK(model.rows.back() == 99);
  CHECK(model.finished == std::vector<std::size_t>{100});
  for (const Prompt& prompt : model.prompts) CHECK(prompt.extra.empty());
  for (const Response& response : model.seen) {
    CHECK((response.id == "0" || response.id == "1"));  // "chosen" and "rejected" before
    CHECK(response.mllm.empty());
    CHECK(response.origin.empty());
  }
}

TEST_CASE("A reward that failed is a status and never right; one that is no number is invalid") {
  testing::FakeRewardModel failing([](const Prompt&, const Response& response) {
    return response.text[0] == 'r' && response.text.size() == 10
               ? std::nan("")
               : static_cast<double>(response.text[0]) * -1;
  });
  std::size_t failed = 0;
  for (const Outcome& outcome : evaluate(failing).outcomes) {
    failed += outcome.status == Status::unavailable;
    if (outcome.status != Status::ok) CHECK_FALSE((outcome.correct() || outcome.tie()));
  }
  CHECK(failed == 20);
  WatchedModel broken(
      [](const RewardRequest&, std::size_t) { return std::numeric_limits<double>::quiet_NaN(); });
  for (const Outcome& outcome : evaluate(broken).outcomes) CHECK(outcome.status == Status::invalid);
  WatchedModel infinite([](const RewardRequest&, std::size_t k) {
    return k ? 0 : std::numeric_limits<double>::infinity();
  });
  for (const Outcome& outcome : evaluate(infinite).outcomes)
    CHECK(outcome.status == Status::invalid);
}

TEST_CASE("Absent media are counted; a benchmark without items is an error") {
  WatchedModel model([](const RewardRequest&, std::size_t) { return 0.0; });
  std::vector<PreferencePair> pairs = hundred();
  pairs.resize(3);
  pairs[1].prompt.messages[0].content.push_back(Part::of_image({}));
  pairs[2].prompt.messages[0].content.push_back(Part::of_image({}));
  pairs[2].prompt.messages[0].content.back().media.id = "there";
  CHECK(evaluate(model, 0, pairs).absent_media == 1);
  CHECK_THROWS_AS(evaluate(model, 0, {}), DataError);
}

TEST_CASE("The evaluate stage writes outcomes and metrics of every benchmark") {
  HostFixture host;
  const auto folder = host.run(R"(
[reward_models.m]
type = "fixture"
[benchmarks.one]
type = "fixture"
items = ["2|1", "1|2", "3|3", "x|1"]
[benchmarks.two]
type = "fixture"
items = ["2|1"]
[stages.evaluate]
reward_model = "m"
benchmarks = ["one", "two"]
)")
                          .at("evaluate");
  const std::string outcomes = read_file(folder / "outcomes.jsonl");
  CHECK(std::count(outcomes.begin(), outcomes.end(), '\n') == 5);
  CHECK_THAT(outcomes,
             Catch::Contains(R"("benchmark":"two")") && Catch::Contains(R"("status":"unparsed")"));
  const std::string metrics = read_file(folder / "metrics.json");
  CHECK_THAT(metrics, Catch::Contains(R"("edition":"4 rows")") &&
                          Catch::Contains(R"("correct":1,"total":4)") &&
                          Catch::Contains(R"("correct":1,"total":1)"));
}

TEST_CASE("An evaluation that was interrupted goes on where it was, to the same files") {
  HostFixture host, whole;
  const auto asked = host.path() / "asked", outage = host.path() / "outage";
  const auto toml = [](const std::string& more) {
    return "[reward_models.m]\ntype = \"fixture\"\n" + more + R"(
[benchmarks.one]
type = "fixture"
items = ["2|1", "1|2", "3|3", "x|1", "nan|1"]
[benchmarks.two]
type = "fixture"
items = ["2|1", "5|4", "7|9", "4|1"]
[stages.evaluate]
reward_model = "m"
benchmarks = ["one", "two"]
)";
  };
  const std::string fails =
      toml("fail_once = \"" + (host.path() / "failed").string() + "\"\nasked = \"" +
           asked.string() + "\"\noutage = \"" + outage.string() + "\"\n");
  CHECK_THROWS_WITH(host.run(fails), Catch::Contains("out of memory"));  // at the third group
  const auto groups = [&] { return std::ranges::count(read_file(asked), '\n'); };
  CHECK(groups() == 2);
  const auto expected = whole.run(toml("")).at("evaluate");
  const auto folder = host.run(fails).at("evaluate");
  CHECK(groups() == 5);
  for (const char* file : {"outcomes.jsonl", "items.jsonl", "metrics.json"})
    CHECK(read_file(folder / file) == read_file(expected / file));
}

}  // namespace dt2it
