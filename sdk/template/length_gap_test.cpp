// SPDX-License-Identifier: Apache-2.0
#define CATCH_CONFIG_MAIN
#include <string>
#include <vector>

#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/loaded_plugin.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

std::vector<PreferencePair> sample_pairs() {
  return {sample_pair("long", "How many rings?", std::string(300, 'a'), "Two."),
          sample_pair("even", "How many rings?", std::string(100, 'a'), std::string(90, 'b')),
          sample_pair("short", "How many rings?", "Two, I think.", "Two.")};
}

}  // namespace

TEST_CASE("length_gap keeps the curators' contract") {
  const LoadedPlugin plugin(PLUGIN_LIBRARY);
  FakeContext context;
  const auto curator = plugin.make<Curator>("length_gap", {}, context);
  check_curator_contract(*curator, sample_pairs());
}

TEST_CASE("length_gap discards what is chosen for its length") {
  const LoadedPlugin plugin(PLUGIN_LIBRARY);
  FakeContext context;
  const auto pairs = sample_pairs();

  const auto strict =
      plugin.make<Curator>("length_gap", {{"max_ratio", {2.0}}}, context)->review(pairs);
  CHECK(strict[0].action == Decision::Action::discard);
  CHECK(strict[1].action == Decision::Action::undecided);
  CHECK(strict[2].action == Decision::Action::undecided);

  const auto lax =
      plugin.make<Curator>("length_gap", {{"max_ratio", {100.0}}}, context)->review(pairs);
  CHECK(lax[0].action == Decision::Action::undecided);

  CHECK_THROWS_AS(plugin.make<Curator>("length_gap", {{"max_ration", {2.0}}}, context),
                  ConfigError);
}
