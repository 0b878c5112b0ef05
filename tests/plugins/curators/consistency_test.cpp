// SPDX-License-Identifier: Apache-2.0
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

TEST_CASE("only strict agreement keeps a pair") {
  FakeContext context;
  // The reward is the number that the text spells; "none" has none.
  context.add<RewardModel>(
      "r", std::make_shared<FakeRewardModel>([](const Prompt&, const Response& response) {
        return response.text == "none" ? std::numeric_limits<double>::quiet_NaN()
                                       : std::stod(response.text);
      }));
  const PluginLibrary library("curators/consistency");
  const auto curator =
      library.make<Curator>("consistency", {{"reward_model", value_of("r")}}, context);
  const std::vector<PreferencePair> pairs{
      sample_pair("agrees", "?", "1.5", "1.25"), sample_pair("disagrees", "?", "-1", "2"),
      sample_pair("ties", "?", "3", "3"), sample_pair("missing", "?", "3", "none")};
  const std::vector<Decision> decisions = curator->review(pairs);
  REQUIRE(decisions.size() == 4);
  CHECK(decisions[0].action == Action::keep);
  CHECK(decisions[0].settled);
  CHECK(decisions[0].detail == R"({"chosen_reward":1.5,"rejected_reward":1.25})");
  CHECK_FALSE(decisions[0].strength);
  for (std::size_t i = 1; i < 4; ++i) {
    CHECK(decisions[i].action == Action::undecided);
    CHECK_FALSE(decisions[i].settled);
  }
  CHECK(decisions[1].reason == "the model disagrees, margin -3");
  CHECK(decisions[2].reason == "the model gives both the same reward");
  CHECK(decisions[3].reason == "no reward from the model");
  CHECK(curator->review({}).empty());
  CHECK_THROWS_AS(library.make<Curator>("consistency", {}, context), ConfigError);
}

TEST_CASE("a reward model that leaves rewards out is named as broken") {
  struct Broken final : RewardModel {
    std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest>) override { return {}; }
  };
  FakeContext context;
  context.add<RewardModel>("r", std::make_shared<Broken>());
  const auto curator =
      PluginLibrary("curators/consistency")
          .make<Curator>("consistency", {{"reward_model", value_of("r")}}, context);
  const std::vector<PreferencePair> pairs{sample_pair("p", "?", "a", "b")};
  CHECK_THROWS_AS(curator->review(pairs), PluginError);
}

TEST_CASE("consistency keeps the contract of curators") {
  FakeContext context;
  context.add<RewardModel>(
      "r", std::make_shared<FakeRewardModel>([](const Prompt&, const Response& response) {
        return static_cast<double>(response.text.size());
      }));
  const auto curator =
      PluginLibrary("curators/consistency")
          .make<Curator>("consistency", {{"reward_model", value_of("r")}}, context);
  check_curator_contract(*curator,
                         {sample_pair("p", "?", "aa", "b"), sample_pair("q", "?", "a", "bb")});
}
