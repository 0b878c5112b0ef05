// SPDX-License-Identifier: Apache-2.0
// What is done by the strength of pairs besides flipping, and the audit before flips.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/curator.hpp"
#include "dt2it/error.hpp"
#include "dt2it/judge.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using Action = Decision::Action;

namespace {

// Pair i of a list is called "pair<i>"; its margin under a model is looked up by that name.
struct NamedMargins final : RewardModel {
  explicit NamedMargins(std::vector<double> given) : margins(std::move(given)) {}
  std::vector<double> margins;
  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    std::vector<std::vector<Reward>> all;
    for (const RewardRequest& request : requests) {
      std::vector<Reward>& row = all.emplace_back();
      for (const Response& response : request.responses) {
        const double margin =
            margins.at(std::stoul(request.prompt->messages[0].content.back().text));
        row.push_back({Status::ok, response.id == "chosen" ? margin : 0});
      }
    }
    return all;
  }
  std::size_t batch_size() const override { return 4; }
};

std::vector<PreferencePair> pairs(std::size_t count) {
  std::vector<PreferencePair> made;
  for (std::size_t i = 0; i < count; ++i)
    made.push_back(sample_pair("pair" + std::to_string(i), std::to_string(i), "a", "b"));
  return made;
}

struct Voting {
  FakeContext context;
  std::shared_ptr<Curator> curator;
  Voting(const std::string& library, const std::string& type,
         const std::vector<std::vector<double>>& margins, Table params) {
    List list;
    for (const auto& of_model : margins) {
      const std::string name = "m" + std::to_string(list.size());
      context.add<RewardModel>(name, std::make_shared<NamedMargins>(of_model));
      list.push_back(value_of(name));
    }
    params.emplace("reward_models", Value{list});
    curator = PluginLibrary(library).make<Curator>(type, params, context);
  }
};

std::string letters(const std::vector<Decision>& decisions) {
  std::string text;
  for (const Decision& decision : decisions)
    text += decision.action == Action::flip        ? 'f'
            : decision.action == Action::discard   ? 'd'
            : decision.action == Action::undecided ? 'u'
                                                   : 'k';
  return text;
}

// Finds the labels wrong whose number is in the list.
struct KnowingJudge final : Judge {
  explicit KnowingJudge(std::vector<std::size_t> numbers) : wrong(std::move(numbers)) {}
  std::vector<std::size_t> wrong;
  mutable std::atomic<int> asked{0};
  std::vector<Score> score(const Prompt&, std::span<const Response>) override { return {}; }
  Verdict compare(const Prompt& prompt, const Response& first, const Response&) override {
    ++asked;
    const bool bad = std::find(wrong.begin(), wrong.end(),
                               std::stoul(prompt.messages[0].content.back().text)) != wrong.end();
    Verdict verdict;
    verdict.status = Status::ok;
    verdict.winner =
        (first.id == "chosen") != bad ? Verdict::Winner::first : Verdict::Winner::second;
    return verdict;
  }
};

}  // namespace

TEST_CASE("drop_low_strength discards by share and by threshold") {
  const std::vector<std::vector<double>> margins{
      {3, -1, .2, .1, 2, -4, 1}, {1, -1, .2, .3, 2, 0, 1}};  // means 2 -1 .2 .2 2 -2 1
  Voting share("curators/strength", "drop_low_strength", margins,
               {{"fraction", value_of(.43)}, {"threshold", value_of(-100)}});
  const auto by_share = share.curator->review(pairs(7));
  CHECK(letters(by_share) ==
        "uddu"
        "udu");  // floor(.43 * 7) = 3: -2, -1, and of the two .2 the first by name
  CHECK(*by_share[0].strength == 2);
  CHECK(by_share[0].strengths == std::vector<double>{3, 1});
  CHECK_THAT(by_share[5].reason, Catch::Contains("lowest 3 of 7"));
  Voting threshold("curators/strength", "drop_low_strength", margins,
                   {{"threshold", value_of(.5)}});
  CHECK(letters(threshold.curator->review(pairs(7))) ==
        "uddd"
        "udu");
}

TEST_CASE("soft_label and adaptive_margin write strengths and settle nothing") {
  Voting soft("curators/strength", "soft_label", {{2, -3}, {1, -1}}, {});
  const auto written = soft.curator->review(pairs(2));
  CHECK(letters(written) == "uu");
  CHECK(*written[1].strength == -2);
  Voting margin("curators/strength", "adaptive_margin", {{2, -3}, {1, -1}}, {});
  const auto floored = margin.curator->review(pairs(2));
  CHECK(*floored[0].strength == 1.5);
  CHECK(*floored[1].strength == 0);
  CHECK(floored[1].strengths == std::vector<double>{-3, -1});
}

TEST_CASE("The rules of vote_flip, by hand, and the order of the data plays no part") {
  // Negatives: -5 -3 -3 -1 -.5
  const std::vector<double> strengths{4, -3, 1, -5, -1, -3, 2, -.5, 0, 3};
  const auto flips = [&](Table params) {
    return letters(Voting("curators/vote_flip", "vote_flip", {strengths}, std::move(params))
                       .curator->review(pairs(10)));
  };
  CHECK(flips({}) == "ufufuuuuuu");  // floor(5 / 2)
  CHECK(flips({{"rule", value_of("threshold")}, {"threshold", value_of(.9)}}) == "ufufffuuuu");
  CHECK(flips({{"rule", value_of("threshold")}, {"threshold", value_of(3)}}) ==
        "uuufuuuuuu");  // strictly below
  CHECK(flips({{"rule", value_of("quantile")}, {"quantile", value_of(.1)}}) == "uuufuuuuuu");
  CHECK(flips({{"rule", value_of("quantile")}, {"quantile", value_of(.9)}}) ==
        "ufufffufuu");  // positives never
  auto mixed = pairs(10);
  std::reverse(mixed.begin(), mixed.end());
  std::string backwards =
      letters(Voting("curators/vote_flip", "vote_flip", {strengths}, {}).curator->review(mixed));
  std::reverse(backwards.begin(), backwards.end());
  CHECK(backwards == "ufufuuuuuu");
}

TEST_CASE("Flips are audited: kept where judges find them right, warned of or skipped where not") {
  const std::vector<double> strengths{1, -4, -3, -2, -1,
                                      2, 3,  4,  5,  6};  // 1 and 2 would be flipped
  struct Audit {
    Voting inner;
    std::shared_ptr<KnowingJudge> judge;
    std::shared_ptr<Curator> curator;
    Audit(const std::vector<double>& margins, std::vector<std::size_t> wrong, Table params)
        : inner("curators/vote_flip", "vote_flip", {margins}, {}),
          judge(std::make_shared<KnowingJudge>(std::move(wrong))) {
      inner.context.add<Curator>("flip", inner.curator);
      inner.context.add<Judge>("knows", judge);
      params["curator"] = value_of("flip");
      params["judges"] = names({"knows"});
      curator = PluginLibrary("curators/audited").make<Curator>("audited", params, inner.context);
    }
  };
  Audit right(strengths, {1, 2, 3}, {{"when_harmful", value_of("skip")}});
  const auto kept = right.curator->review(pairs(10));
  CHECK(letters(kept) == "uffuuuuuuu");
  CHECK(right.judge->asked == 2 * (10 + 2));
  CHECK(right.inner.context.logged("30.0 % (3 of 10"));
  CHECK(right.inner.context.logged("expected change of wrong labels: -2"));
  CHECK_THAT(kept[1].detail, Catch::Contains(R"("flips_right":{"part":2,"of":2)"));

  Audit harmful(strengths, {}, {{"when_harmful", value_of("skip")}, {"sample", value_of(4)}});
  const auto skipped = harmful.curator->review(pairs(10));
  CHECK(letters(skipped) == "uuuuuuuuuu");
  CHECK(harmful.judge->asked == 2 * (4 + 2));
  CHECK_THAT(skipped[1].reason, Catch::Contains("not flipped"));
  CHECK(*skipped[1].strength == -4);
  Audit warned(strengths, {}, {});
  CHECK(letters(warned.curator->review(pairs(10))) == "uffuuuuuuu");
  CHECK(warned.inner.context.logged("flipping spoils this source"));
  // Two of two right is no certainty: the interval reaches down to 34 %.
  Audit cautious(strengths, {1, 2}, {{"when_harmful", value_of("skip")}, {"sure", value_of(true)}});
  CHECK(letters(cautious.curator->review(pairs(10))) == "uuuuuuuuuu");
}
