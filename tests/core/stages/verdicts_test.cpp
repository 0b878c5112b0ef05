// SPDX-License-Identifier: Apache-2.0
// Judges as subjects of a benchmark: orders, storing, counting again; and other pictures.
#include "core/stages/verdicts.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "core/stages/evaluation.hpp"
#include "core/util/files.hpp"
#include "dt2it/error.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/core/temporary_folder.hpp"

namespace dt2it {
namespace {

// Counts votes; its own convention counts the first sample alone.
class ListBenchmark final : public Benchmark, public VerdictBenchmark {
 public:
  explicit ListBenchmark(std::vector<PreferencePair> pairs) : pairs_(std::move(pairs)) {}
  std::unique_ptr<Stream<PreferencePair>> items() override {
    return std::make_unique<testing::VectorStream<PreferencePair>>(pairs_);
  }
  std::vector<Metric> summarise(std::span<const Outcome> outcomes) override {
    std::int64_t correct = 0;
    for (const Outcome& outcome : outcomes) correct += outcome.correct();
    return {{"accuracy", 0, correct, static_cast<std::int64_t>(outcomes.size())}};
  }
  std::string edition(std::span<const Outcome> outcomes) override {
    return std::to_string(outcomes.size()) + " rows";
  }
  std::vector<std::string> conventions() const override { return {"official"}; }
  std::vector<Metric> summarise_verdicts(std::span<const JudgedItem> items,
                                         std::string_view) override {
    std::int64_t correct = 0;
    for (const JudgedItem& item : items)
      correct += item.samples.at(0).verdict.ok() &&
                 (item.samples[0].verdict.winner == Verdict::Winner::first) ==
                     item.samples[0].chosen_first;
    return {{"accuracy", 1, correct, static_cast<std::int64_t>(items.size())}};
  }

 private:
  std::vector<PreferencePair> pairs_;
};

// Three samples of each pair: the first two by text, in both orders; the third likes the second
// place, or says nothing.
class Judging final : public RewardModel, public VerdictModel {
 public:
  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest>) override {
    FAIL("a model that gives verdicts is not asked for rewards");
    return {};
  }
  std::vector<std::vector<ShownVerdict>> verdicts(
      std::span<const RewardRequest> requests) override {
    std::vector<std::vector<ShownVerdict>> result;
    for (const RewardRequest& request : requests) {
      const bool first_is_good = request.responses[0].text.starts_with("good");
      first_good += first_is_good;
      auto& row = result.emplace_back();
      for (const std::size_t first : {0, 1}) {
        ShownVerdict one{{first, 1 - first}, "words", {}};
        one.verdict.status = Status::ok;
        one.verdict.winner =
            first_is_good == (first == 0) ? Verdict::Winner::first : Verdict::Winner::second;
        one.verdict.reply = "because \"so\"\n";
        row.push_back(one);
      }
      ShownVerdict last{{0, 1}, "words", {}};
      last.verdict.status = Status::unparsed;
      last.verdict.detail = "nothing";
      row.push_back(last);
    }
    return result;
  }
  int first_good = 0;
};

std::vector<PreferencePair> forty() {
  std::vector<PreferencePair> pairs;
  for (int i = 0; i < 40; ++i) {
    PreferencePair& pair = pairs.emplace_back(
        testing::sample_pair("p" + std::to_string(i), "Q", "good " + std::to_string(i), "bad ü"));
    pair.group = "g";
    pair.extra = R"({"Better":"Output2"})";
  }
  return pairs;
}

}  // namespace

TEST_CASE(
    "A judge is asked without labels, and every verdict is kept with the order it was given in") {
  Judging judge;
  ListBenchmark benchmark(forty());
  testing::FakeContext context;
  const Evaluation result =
      evaluate_benchmark(benchmark, forty(), judge, context, [](std::size_t) {});
  CHECK(judge.first_good > 8);  // the chosen response comes first in some, not in all
  CHECK(judge.first_good < 32);
  REQUIRE(result.judged.size() == 40);
  const JudgedItem& item = result.judged[7];
  REQUIRE(item.samples.size() == 3);
  CHECK(item.samples[0].chosen_first != item.samples[1].chosen_first);
  CHECK(item.length == 11);  // "good 7" and "bad ü" in characters
  CHECK(item.extra == R"({"Better":"Output2"})");
  CHECK(result.convention == "official");
  CHECK(result.metrics[0].correct == 40);
  REQUIRE(result.by_convention.size() == 2);
  CHECK(result.by_convention[1].first == "strict");
  CHECK(result.by_convention[1].second[0].correct == 40);  // two of three
  CHECK(result.outcomes[0].chosen_reward == Approx(2.0 / 3));
  CHECK(result.outcomes[0].rejected_reward == Approx(1.0 / 3));
  CHECK(evaluate_benchmark(
            benchmark, forty(), judge, context, [](std::size_t) {}, "vlmeval")
            .convention == "strict");
}

TEST_CASE("Stored verdicts give the same figures again") {
  Judging judge;
  ListBenchmark benchmark(forty());
  testing::FakeContext context;
  const Evaluation result =
      evaluate_benchmark(benchmark, forty(), judge, context, [](std::size_t) {});
  testing::TemporaryFolder folder;
  const auto file = folder.path() / "verdicts.jsonl";
  std::string lines;
  for (const JudgedItem& item : result.judged) lines += to_json(item, "one") + "\n";
  lines += to_json(result.judged[0], "two") + "\n";
  write_file_atomically(file, lines);
  const std::vector<JudgedItem> again = read_judged(file, "one");
  REQUIRE(again.size() == 40);
  for (std::size_t i = 0; i < again.size(); ++i)
    CHECK(to_json(again[i], "one") == to_json(result.judged[i], "one"));
  CHECK(again[3].samples[2].verdict.status == Status::unparsed);
  CHECK(again[3].samples[0].verdict.reply == "because \"so\"\n");
  CHECK(count_judged(benchmark, again, "strict").metrics[0].correct == 40);
  CHECK(count_judged(benchmark, again, "strict").convention == "strict");
  CHECK_THROWS_WITH(read_judged(file, ""), Catch::Contains("say which: one, two"));
  CHECK_THROWS_WITH(read_judged(file, "three"), Catch::Contains("it has: one, two"));
  write_file_atomically(file, "{\"benchmark\":\"one\"}\n");
  CHECK_THROWS_WITH(read_judged(file, "one"), Catch::Contains("verdicts.jsonl:1"));
}

TEST_CASE("A strict vote: what cannot be read speaks for the wrong side") {
  JudgedItem item;
  CHECK(strict_outcome(item).status == Status::unavailable);
  const auto sample = [](Status status, bool chosen_first, Verdict::Winner winner) {
    JudgedSample one;
    one.chosen_first = chosen_first;
    one.verdict.status = status;
    one.verdict.winner = winner;
    return one;
  };
  item.samples = {sample(Status::refused, true, Verdict::Winner::first)};
  CHECK(strict_outcome(item).status == Status::refused);
  item.samples.push_back(sample(Status::ok, false, Verdict::Winner::second));
  CHECK(strict_outcome(item).tie());
  item.samples.push_back(sample(Status::ok, true, Verdict::Winner::tie));
  CHECK(strict_outcome(item).tie());
  item.samples.push_back(sample(Status::ok, true, Verdict::Winner::first));
  CHECK(strict_outcome(item).correct());
}

TEST_CASE(
    "Other pictures: grey of the same size, or those of another item, under the item's own name") {
  testing::FakeContext context;
  std::vector<PreferencePair> pairs;
  for (int i = 0; i < 6; ++i) {
    PreferencePair& pair =
        pairs.emplace_back(testing::sample_pair("p" + std::to_string(i), "Q", "a", "b"));
    pair.prompt.messages[0].content.clear();
    Image image{4 + i, 3, {}};
    image.rgb.assign(static_cast<std::size_t>(3 * (4 + i) * 3), static_cast<std::uint8_t>(10 * i));
    if (i < 5)
      pair.prompt.messages[0].content.push_back(
          Part::of_image(context.media().put_image(image, "mcq/" + std::to_string(i))));
    pair.prompt.messages[0].content.push_back(Part::of_text("Q"));
  }
  pairs[4].prompt.messages[0].content.insert(pairs[4].prompt.messages[0].content.begin(),
                                             Part::of_image({}));  // one is absent
  const auto media = [](const PreferencePair& pair, std::size_t at = 0) {
    return pair.prompt.messages[0].content[at].media;
  };

  auto own = pairs;
  CHECK(change_pictures(own, Pictures::own, context) == 0);
  CHECK((own == pairs));
  auto blank = pairs;
  CHECK(change_pictures(blank, Pictures::blank, context) == 5);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(media(blank[i]).id != media(pairs[i]).id);
    CHECK(media(blank[i]).source == media(pairs[i]).source);
    CHECK(media(blank[i]).width == media(pairs[i]).width);
    CHECK(media(blank[i]).height == 3);
    const DecodedImage seen = context.media().decode(media(blank[i]));
    CHECK(std::set(seen.image.rgb.begin(), seen.image.rgb.end()) == std::set<std::uint8_t>{128});
  }
  CHECK_FALSE(media(blank[4]).present());
  CHECK((blank[5] == pairs[5]));

  auto swapped = pairs;
  CHECK(change_pictures(swapped, Pictures::swapped, context) == 5);
  std::multiset<std::string> before, after;
  for (std::size_t i = 0; i < 5; ++i) {
    const std::size_t at = i == 4 ? 1 : 0;
    CHECK(media(swapped[i], at).id != media(pairs[i], at).id);
    CHECK(media(swapped[i], at).source == media(pairs[i], at).source);
    before.insert(media(pairs[i], at).id);
    after.insert(media(swapped[i], at).id);
  }
  CHECK(before == after);
  auto again = pairs;
  change_pictures(again, Pictures::swapped, context);
  CHECK((again == swapped));
  for (PreferencePair& pair : pairs)
    pair.prompt = pairs[0].prompt;  // all show the same: nothing to swap with
  CHECK(change_pictures(pairs, Pictures::swapped, context) == 0);
}

}  // namespace dt2it
