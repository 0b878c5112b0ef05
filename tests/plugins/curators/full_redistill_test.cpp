// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/curator.hpp"
#include "dt2it/scorer.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using Action = Decision::Action;

namespace {

// The number at the start of a text, and `bonus` for what is shown first; "none" has no score.
struct NumberScorer final : Scorer {
  explicit NumberScorer(double given) : bonus(given) {}
  double bonus;
  std::vector<Score> score(const Prompt&, std::span<const Response> candidates) override {
    std::vector<Score> scores(candidates.size());
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i].text == "none") continue;
      scores[i].status = Status::ok;
      scores[i].overall = std::stod(candidates[i].text) + (i == 0 ? bonus : 0);
    }
    return scores;
  }
};

std::vector<PreferencePair> pairs() {
  return {sample_pair("better", "?", "7", "3"), sample_pair("worse", "?", "2", "3"),
          sample_pair("equal", "?", "5", "5"), sample_pair("near", "?", "5", "4.5"),
          sample_pair("silent", "?", "none", "4")};
}

std::map<std::string, Decision> review(Table params, double bonus = 0) {
  FakeContext context;
  context.add<Scorer>("listwise", std::make_shared<NumberScorer>(bonus));
  context.add<Scorer>("pointwise", std::make_shared<NumberScorer>(0));
  const auto curator = PluginLibrary("curators/full_redistill")
                           .make<Curator>("full_redistill", std::move(params), context);
  std::map<std::string, Decision> decisions;
  const std::vector<PreferencePair> given = pairs();
  check_curator_contract(*curator, given);
  const std::vector<Decision> all = curator->review(given);
  for (std::size_t i = 0; i < all.size(); ++i) decisions[given[i].id] = all[i];
  return decisions;
}

}  // namespace

TEST_CASE("Full redistillation follows the scores of all scorers, whatever the label was") {
  const auto decisions = review({});
  CHECK(decisions.at("better").action == Action::keep);
  CHECK(decisions.at("worse").action == Action::flip);
  CHECK(decisions.at("worse").settled);
  CHECK(decisions.at("equal").action == Action::discard);
  CHECK(decisions.at("near").action == Action::keep);
  CHECK(decisions.at("silent").action == Action::undecided);
  CHECK_THAT(decisions.at("silent").reason, Catch::Contains("2 of 2 scorers gave no scores"));
  CHECK(decisions.at("worse").votes_rejected == 2);
  CHECK(decisions.at("better").detail == R"({"listwise":[7,3],"pointwise":[7,3]})");
}

TEST_CASE("Full redistillation asks in both orders, so that a liking for a position cancels out") {
  CHECK(review({}, 3).at("worse").action == Action::flip);
  CHECK(review({{"both_orders", {false}}}, 3).at("worse").action ==
        Action::discard);  // one is for it, one against
}

TEST_CASE("Full redistillation wants a gap where one is asked for") {
  CHECK(review({{"min_gap", {1.0}}}).at("near").action == Action::discard);
  CHECK(review({{"min_gap", {1.0}}}).at("better").action == Action::keep);
}
