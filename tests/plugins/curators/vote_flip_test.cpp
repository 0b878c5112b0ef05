// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/curator.hpp"
#include "dt2it/error.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using Action = Decision::Action;

namespace {

// Gives the chosen response of pair i margins[i] and the rejected one 0; NaN: no reward.
struct MarginModel final : RewardModel {
  explicit MarginModel(std::vector<double> given) : margins(std::move(given)) {}
  std::vector<double> margins;
  std::vector<std::size_t> sizes;  // of each call
  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    sizes.push_back(requests.size());
    std::vector<std::vector<Reward>> all;
    for (const RewardRequest& request : requests) {
      std::vector<Reward>& row = all.emplace_back();
      for (std::size_t i = 0; i < request.responses.size(); ++i) {
        REQUIRE(request.original_index.size() == request.responses.size());
        const bool chosen = request.original_index[i] == 0;
        CHECK(request.responses[i].id == (chosen ? "chosen" : "rejected"));
        const double value = chosen ? margins.at(request.row) : 0;
        row.push_back(std::isnan(value) ? Reward{Status::missing_media, value}
                                        : Reward{Status::ok, value});
      }
    }
    return all;
  }
  std::size_t batch_size() const override { return 3; }
};

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

std::vector<PreferencePair> pairs(std::size_t count) {
  std::vector<PreferencePair> made;
  for (std::size_t i = 0; i < count; ++i)
    made.push_back(sample_pair("pair" + std::to_string(i), "?", "a", "b"));
  return made;
}

struct Bench {
  FakeContext context;
  std::vector<std::shared_ptr<MarginModel>> models;
  std::shared_ptr<Curator> curator;
  explicit Bench(std::vector<std::vector<double>> margins, Table params) {
    List list;
    for (std::size_t m = 0; m < margins.size(); ++m) {
      models.push_back(std::make_shared<MarginModel>(margins[m]));
      const std::string name = "r" + std::to_string(m);
      context.add<RewardModel>(name, models.back());
      list.push_back(value_of(name));
    }
    params.emplace("reward_models", Value{list});
    curator = PluginLibrary("curators/vote_flip").make<Curator>("vote_flip", params, context);
  }
  // One letter a pair: f flip, u undecided.
  std::string letters() {
    std::string text;
    for (const Decision& decision : curator->review(pairs(models[0]->margins.size()))) {
      text += decision.action == Action::flip        ? 'f'
              : decision.action == Action::undecided ? 'u'
                                                     : '?';
      CHECK_FALSE(decision.settled);
      CHECK_FALSE(decision.reason.empty());
    }
    return text;
  }
};

}  // namespace

TEST_CASE("the lowest half of the negatives is flipped, nothing is settled") {
  CHECK(Bench({{3, -1, -4, 0, -2, -3}}, {}).letters() == "uufuuf");
  CHECK(Bench({{-1, -2, -3}}, {}).letters() == "uuf");  // floor(1.5)
  CHECK(Bench({{-1}}, {}).letters() == "u");
  CHECK(Bench({{1, 2, 0}}, {}).letters() == "uuu");
  CHECK(Bench({{-1, -1, -1, -1}}, {}).letters() == "ffuu");  // equal: by position
}

TEST_CASE("the fraction can be chosen and is rounded down, not by float noise") {
  CHECK(Bench({{-1, -2}}, {{"fraction", value_of(1.0)}}).letters() == "ff");
  CHECK(Bench({{-1, -2}}, {{"fraction", value_of(0.0)}}).letters() == "uu");
  std::vector<double> hundred(100, -1);
  const std::string letters = Bench({hundred}, {{"fraction", value_of(0.29)}}).letters();
  CHECK(std::count(letters.begin(), letters.end(), 'f') == 29);
}

TEST_CASE("strength is the plain mean of the models' margins") {
  Bench bench({{1, -4}, {-3, 2}, {0.5, 0.5}}, {});
  const std::vector<Decision> decisions = bench.curator->review(pairs(2));
  CHECK(decisions[0].strengths == std::vector<double>{1, -3, 0.5});
  CHECK(*decisions[0].strength == Approx(-0.5));
  CHECK(*decisions[1].strength == Approx(-0.5));
}

TEST_CASE("scaled, a model with a wide scale does not outvote the others") {
  const std::vector<std::vector<double>> margins{
      {100, -90, 60, -100}, {-1, 1, -1, 1}, {-1, 1, -1, 1}};
  CHECK(Bench(margins, {}).letters() == "uuuf");
  Bench bench(margins, {{"scale", value_of("std")}});
  const std::vector<Decision> decisions = bench.curator->review(pairs(4));
  CHECK(*decisions[0].strength < 0);
  CHECK(*decisions[3].strength > 0);
  CHECK(decisions[0].strengths[1] == Approx(-1));  // population standard deviation
  // A model that always says the same has no scale to divide by.
  CHECK(Bench({{-2, -2}}, {{"scale", value_of("std")}}).letters() == "fu");
}

TEST_CASE("a pair that one model cannot score is undecided and not counted") {
  Bench bench({{-5, -1, -2}, {kMissing, -1, -2}}, {});
  const std::vector<Decision> decisions = bench.curator->review(pairs(3));
  CHECK(decisions[0].action == Action::undecided);
  CHECK(decisions[0].reason == "no strength: a reward is missing from r1");
  CHECK_FALSE(decisions[0].strength);
  CHECK(decisions[0].strengths.empty());
  CHECK(decisions[2].action == Action::flip);
  CHECK(decisions[1].action == Action::undecided);
}

TEST_CASE("an endless reward is no reward") {
  CHECK(Bench({{-std::numeric_limits<double>::infinity(), -1, -2}}, {}).letters() == "uuf");
}

TEST_CASE("Omni-Reward's form is scored against both prompts") {
  Bench bench({{-1, -2, 3, -3}}, {});
  std::vector<PreferencePair> mixed = pairs(4);
  mixed[1].rejected_prompt = sample_prompt("other", "?");
  const std::vector<Decision> decisions = bench.curator->review(mixed);
  CHECK(decisions[3].action == Action::flip);
  CHECK(*decisions[1].strength == -2);
  CHECK(bench.models[0]->sizes ==
        std::vector<std::size_t>{4, 1});  // batches of three pairs, one of them twofold
}

TEST_CASE("it says how many, and warns on a nearly clean source") {
  Bench dirty({{-1, -2, 1}}, {});
  dirty.letters();
  CHECK(dirty.context.logged("3 of 3 pairs have a strength, 2 negative, 1 flipped"));
  CHECK_FALSE(dirty.context.logged("nearly clean"));
  std::vector<double> clean(20, 1.0);
  clean[3] = clean[7] = -1;
  Bench bench({clean}, {});
  bench.letters();
  CHECK(bench.context.logged("nearly clean"));
  CHECK(Bench({{}}, {}).letters().empty());
}

TEST_CASE("it needs voters") { CHECK_THROWS_AS(Bench({}, {}), ConfigError); }

TEST_CASE("vote_flip keeps the contract of curators") {
  check_curator_contract(*Bench({{3, -1, -4, kMissing}, {1, -2, 0.5, 1}}, {}).curator, pairs(4));
}
