// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/reformulator.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

ImagePreference preference(const std::string& id) {
  ImagePreference made;
  made.id = id;
  made.text = "a {evaluation} of two rings";  // braces in foreign text are only text
  made.better.id = "good";
  made.worse.id = "bad";
  made.source = "drawn";
  made.extra = R"({"truth":1})";
  return made;
}

std::shared_ptr<Reformulator> make(const std::string& type, FakeContext& context,
                                   const Table& params = {}) {
  return PluginLibrary("reformulators/" + type).make<Reformulator>(type, params, context);
}

}  // namespace

TEST_CASE("the chosen response names the better image, wherever it stands") {
  FakeContext context;
  const auto ours = make("pairwise_evaluation", context);
  int better_first = 0;
  for (int i = 0; i < 400; ++i) {
    const PreferencePair pair = ours->reformulate(preference("t" + std::to_string(i)));
    const std::vector<Part>& parts = pair.prompt.messages.at(0).content;
    REQUIRE(parts.size() == 5);
    CHECK(parts[0].text == "Image 1:");
    CHECK(parts[2].text == "Image 2:");
    const bool first = parts[1].media.id == "good";
    CHECK(parts[3].media.id == (first ? "bad" : "good"));
    better_first += first;
    CHECK(pair.chosen.text ==
          (first ? "Image 1 is better than Image 2." : "Image 2 is better than Image 1."));
    CHECK(pair.rejected.text ==
          (first ? "Image 2 is better than Image 1." : "Image 1 is better than Image 2."));
    CHECK(parts[4].text.find("a {evaluation} of two rings") != std::string::npos);
    CHECK_FALSE(pair.rejected_prompt);
  }
  CHECK(better_first > 150);
  CHECK(better_first < 250);
}

TEST_CASE("the order depends on the id only; identity and truth are carried along") {
  FakeContext context, again;
  const auto one = make("pairwise_evaluation", context), two = make("pairwise_evaluation", again);
  for (int i = 30; i-- > 0;) (void)two->reformulate(preference("other" + std::to_string(i)));
  const PreferencePair a = one->reformulate(preference("x")), b = two->reformulate(preference("x"));
  CHECK(a == b);
  CHECK(a.id == "x");
  CHECK(a.source == "drawn");
  CHECK(a.extra == R"({"truth":1})");
  CHECK(a.chosen.id != a.rejected.id);
}

TEST_CASE("the words can be changed") {
  FakeContext context;
  const auto ours = make("pairwise_evaluation", context,
                         {{"question", value_of("{prompt}? {evaluation} {prompt}")},
                          {"evaluation", value_of("Say which.")},
                          {"first_label", value_of("")},
                          {"second_label", value_of("")}});
  ImagePreference plain = preference("x");
  plain.text = "cat";
  const std::vector<Part> parts = ours->reformulate(plain).prompt.messages[0].content;
  REQUIRE(parts.size() == 3);
  CHECK(parts[2].text == "cat? Say which. cat");
  CHECK_THROWS_AS(make("pairwise_evaluation", context, {{"question", value_of("no place")}}),
                  ConfigError);
  CHECK_THROWS_AS(make("pairwise_evaluation", context,
                       {{"first_better", value_of("x")}, {"second_better", value_of("x")}}),
                  ConfigError);
}

TEST_CASE("omni: one image for each prompt, the text answers both") {
  FakeContext context;
  const PreferencePair pair = make("omni_reward", context)->reformulate(preference("x"));
  REQUIRE(pair.rejected_prompt);
  CHECK(pair.prompt.messages.at(0).content.at(0).media.id == "good");
  CHECK(pair.rejected_prompt->messages.at(0).content.at(0).media.id == "bad");
  CHECK(pair.prompt.messages[0].content.size() == 2);
  CHECK(pair.prompt.messages[0].content[1] == pair.rejected_prompt->messages[0].content[1]);
  CHECK(pair.chosen.text == "a {evaluation} of two rings");
  CHECK(pair.rejected.text == pair.chosen.text);
  CHECK(pair.prompt.id != pair.rejected_prompt->id);
  CHECK(pair.extra == R"({"truth":1})");

  const PreferencePair bare =
      make("omni_reward", context, {{"question", value_of("")}})->reformulate(preference("x"));
  CHECK(bare.prompt.messages[0].content.size() == 1);
}

TEST_CASE("both keep the contract of reformulators") {
  FakeContext context;
  ImagePreference drawn = preference("x");
  drawn.better = context.media().put_image(sample_image(8, 8, 1), "one");
  drawn.worse = context.media().put_image(sample_image(9, 9, 2), "two");
  check_reformulator_contract(*make("pairwise_evaluation", context), drawn, context);
  check_reformulator_contract(*make("omni_reward", context), drawn, context);
}
