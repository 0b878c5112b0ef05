// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <set>
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

TEST_CASE("the chosen response names the better image, which comes first in exactly half of them") {
  FakeContext context;
  const auto ours = make("pairwise_evaluation", context,
                         {{"verdicts", names({"{better} is better than {worse}."})}});
  int better_first = 0, same_as_before = 0;
  bool before = false;
  for (int i = 0; i < 401; ++i) {
    const PreferencePair pair = ours->reformulate(preference("t" + std::to_string(i)));
    const std::vector<Part>& parts = pair.prompt.messages.at(0).content;
    REQUIRE(parts.size() == 5);
    CHECK(parts[0].text == "Image 1:");
    CHECK(parts[2].text == "Image 2:");
    const bool first = parts[1].media.id == "good";
    CHECK(parts[3].media.id == (first ? "bad" : "good"));
    better_first += first;
    same_as_before += i > 0 && first == before;
    before = first;
    CHECK(pair.chosen.text ==
          (first ? "Image 1 is better than Image 2." : "Image 2 is better than Image 1."));
    CHECK(pair.rejected.text ==
          (first ? "Image 2 is better than Image 1." : "Image 1 is better than Image 2."));
    CHECK(parts[4].text.find("a {evaluation} of two rings") != std::string::npos);
    CHECK_FALSE(pair.rejected_prompt);
    if (i == 399) CHECK(better_first == 200);
  }
  CHECK((better_first == 200 || better_first == 201));
  CHECK(same_as_before > 60);  // no plain alternation: 1/4 of 400 is expected
  CHECK(same_as_before < 140);
}

TEST_CASE(
    "each source is balanced by itself; seeds and records before decide, asking again does not") {
  FakeContext context(1), again(1), other(2);
  const auto one = make("pairwise_evaluation", context), two = make("pairwise_evaluation", again),
             three = make("pairwise_evaluation", other);
  std::map<std::string, int> first;
  int differs = 0;
  for (int i = 0; i < 120; ++i) {
    ImagePreference item = preference("x" + std::to_string(i));
    item.source = i % 3 == 0 ? "rare" : "usual";
    const PreferencePair made = one->reformulate(item);
    CHECK(made == two->reformulate(item));
    CHECK(made == one->reformulate(item));
    differs += !(made.prompt == three->reformulate(item).prompt);
    first[item.source] += made.prompt.messages[0].content[1].media.id == "good";
    CHECK(made.id == item.id);
    CHECK(made.source == item.source);
    CHECK(made.extra == R"({"truth":1})");
    CHECK(made.chosen.id != made.rejected.id);
  }
  CHECK(first["rare"] == 20);
  CHECK(first["usual"] == 40);
  CHECK(differs > 30);
}

TEST_CASE("the words can be changed, and are drawn where there are several") {
  FakeContext context;
  const auto ours =
      make("pairwise_evaluation", context,
           {{"questions", names({"{prompt}? {evaluation} {prompt}", "Of {prompt}: {evaluation}"})},
            {"evaluations", names({"Say which.", "Which one?"})},
            {"verdicts", names({"{better}.", "Not {worse} but {better}."})},
            {"first_label", value_of("A: ")},
            {"second_label", value_of("")}});
  std::set<std::string> questions, verdicts;
  for (int i = 0; i < 100; ++i) {
    ImagePreference plain = preference("x" + std::to_string(i));
    plain.text = "cat";
    const PreferencePair pair = ours->reformulate(plain);
    REQUIRE(pair.prompt.messages[0].content.size() == 4);
    questions.insert(pair.prompt.messages[0].content[3].text);
    verdicts.insert(pair.chosen.text);
    verdicts.insert(pair.rejected.text);
  }
  CHECK(questions == std::set<std::string>{"cat? Say which. cat", "cat? Which one? cat",
                                           "Of cat: Say which.", "Of cat: Which one?"});
  CHECK(verdicts ==
        std::set<std::string>{"A.", "Image 2.", "Not A but Image 2.", "Not Image 2 but A."});
  CHECK_THROWS_AS(make("pairwise_evaluation", context, {{"questions", names({"no place"})}}),
                  ConfigError);
  CHECK_THROWS_AS(make("pairwise_evaluation", context, {{"verdicts", names({"the first"})}}),
                  ConfigError);
  CHECK_THROWS_AS(make("pairwise_evaluation", context, {{"verdicts", names({})}}), ConfigError);
  CHECK_THROWS_AS(make("pairwise_evaluation", context,
                       {{"first_label", value_of("One:")}, {"second_label", value_of("One")}}),
                  ConfigError);
}

TEST_CASE("sizes: scaled down, to the same area where asked; what cannot be decoded loses its id") {
  for (const char* type : {"pairwise_evaluation", "omni_reward"}) {
    INFO(type);
    FakeContext context;
    ImagePreference drawn = preference("x");
    drawn.better = context.media().put_image(sample_image(100, 60, 1), "one");
    drawn.worse = context.media().put_image(sample_image(50, 50, 2), "two");
    const auto sizes = [&](const std::string& policy) {
      const PreferencePair pair =
          make(type, context, {{"image_size", value_of(policy)}, {"max_pixels", value_of(3000)}})
              ->reformulate(drawn);
      std::multiset<std::pair<int, int>> all;
      for (const Prompt* prompt :
           {&pair.prompt, pair.rejected_prompt ? &*pair.rejected_prompt : nullptr})
        if (prompt)
          for (const Part& part : prompt->messages[0].content)
            if (part.kind == Part::Kind::image) all.insert({part.media.width, part.media.height});
      return all;
    };
    CHECK(sizes("as_is") == std::multiset<std::pair<int, int>>{{100, 60}, {50, 50}});
    CHECK(sizes("shrink") == std::multiset<std::pair<int, int>>{{70, 42}, {50, 50}});
    CHECK(sizes("same") == std::multiset<std::pair<int, int>>{{64, 38}, {50, 50}});
    const Bytes junk{1, 2, 3};
    drawn.better = context.media().put(junk, "junk");
    const PreferencePair pair =
        make(type, context, {{"image_size", value_of("shrink")}})->reformulate(drawn);
    std::size_t absent = 0;
    for (const Part& part : pair.prompt.messages[0].content)
      absent += part.kind == Part::Kind::image && !part.media.present();
    CHECK(absent == 1);
  }
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
