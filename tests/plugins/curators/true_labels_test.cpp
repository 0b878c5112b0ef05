// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "plugins/common/mini_world/truth.hpp"
#include "plugins/curators/true_labels/true_labels_curator.hpp"

using namespace dt2it;
using namespace dt2it::mini_world;
using Action = Decision::Action;
using dt2it::testing::sample_pair;

namespace {

Decision one(const PreferencePair& pair, bool by_alignment = false) {
  dt2it::testing::FakeContext context;
  TrueLabelsCurator::Params params;
  params.by_alignment = by_alignment;
  TrueLabelsCurator curator(params, context);
  const auto decisions = curator.review({&pair, 1});
  REQUIRE(decisions.size() == 1);
  CHECK_FALSE(decisions[0].reason.empty());
  return decisions[0];
}

PreferencePair pair_about_bar(std::string chosen, std::string rejected) {
  PreferencePair pair =
      sample_pair("p", "What color is the bar?", std::move(chosen), std::move(rejected));
  Truth truth;
  truth.scenes = {{{{0, 4, 0, 1}, {9, 6, 1, 1}}}};  // a red ring, a green bar
  pair.prompt.extra = truth_extra(truth);
  return pair;
}

}  // namespace

TEST_CASE("true_labels keeps right labels and turns wrong ones, whatever the style") {
  const Decision keep =
      one(pair_about_bar("green.", "Great question! It is red. I hope this helps!"));
  CHECK(keep.action == Action::keep);
  CHECK(keep.settled);
  const Decision flip =
      one(pair_about_bar("Great question! It is red. I hope this helps!", "green."));
  CHECK(flip.action == Action::flip);
  CHECK(flip.settled);
  CHECK(flip.reason.find("against") != std::string::npos);
  CHECK(one(pair_about_bar("green. I can see a blue post.", "green.")).action == Action::flip);
}

TEST_CASE("true_labels discards exact ties") {
  CHECK(one(pair_about_bar("green.", "The answer is green.")).action == Action::discard);
  CHECK(one(pair_about_bar("something else", "nothing at all")).action == Action::discard);
}

TEST_CASE("true_labels leaves what it cannot know undecided") {
  CHECK(one(sample_pair("p", "What color is the bar?", "green.", "red.")).action ==
        Action::undecided);
  PreferencePair foreign = pair_about_bar("a", "b");
  foreign.prompt.messages.back().content.back().text = "Who painted this?";
  CHECK(one(foreign).action == Action::undecided);
  PreferencePair two_prompts = pair_about_bar("green.", "red.");
  two_prompts.rejected_prompt = two_prompts.prompt;
  CHECK(one(two_prompts).action == Action::undecided);
  PreferencePair broken = pair_about_bar("green.", "red.");
  broken.prompt.extra = "{\"truth\":";
  const Decision decision = one(broken);
  CHECK(decision.action == Action::undecided);
  CHECK_FALSE(decision.settled);
}

TEST_CASE("true_labels reads the preference's own truth for text-to-image pairs, in either form") {
  PreferencePair pair =
      sample_pair("t", "Which image better matches the text: a red ring?",
                  "Image 1 is better than Image 2.", "Image 2 is better than Image 1.");
  Truth truth;
  truth.preferred = "worse";
  truth.aligned = "better";
  pair.extra = truth_extra(truth);
  CHECK(one(pair).action == Action::flip);
  CHECK(one(pair, true).action == Action::keep);
  pair.rejected_prompt = pair.prompt;
  CHECK(one(pair).action == Action::flip);
  truth.preferred = truth.aligned = "tie";
  pair.extra = truth_extra(truth);
  CHECK(one(pair).action == Action::discard);
}

TEST_CASE("true_labels keeps the contract of curators") {
  dt2it::testing::FakeContext context;
  TrueLabelsCurator curator({}, context);
  dt2it::testing::check_curator_contract(
      curator, {pair_about_bar("green.", "red."), pair_about_bar("red.", "green."),
                pair_about_bar("green.", "green."), sample_pair("x", "Who are you?", "a", "b")});
}
