// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/mini_world/language.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "plugins/common/mini_world/writer.hpp"

using namespace dt2it;
using namespace dt2it::mini_world;

namespace {

struct Drawn {
  Question question;
  std::vector<Scene> scenes;
};

Drawn draw_question(Kind kind, Rng& rng) {
  for (;;) {
    if (two_images(kind)) {
      ScenePair pair = random_scene_pair(rng);
      if (auto question = random_question(pair.first, pair.second, kind, rng))
        return {*question, {pair.first, pair.second}};
    } else {
      Scene scene = random_scene(rng);
      if (auto question = random_question(scene, kind, rng)) return {*question, {scene}};
    }
  }
}

}  // namespace

TEST_CASE("every question comes back from its text") {
  Rng rng(1);
  for (int k = 0; k < kKindCount; ++k)
    for (int i = 0; i < 200; ++i) {
      const Drawn drawn = draw_question(static_cast<Kind>(k), rng);
      const std::string text = question_text(drawn.question);
      INFO(text);
      const auto back = parse_question(text);
      REQUIRE(back);
      CHECK(*back == drawn.question);
      CHECK(parse_question("User asks. <question>\n" + text + "\n</question> Be brief.") ==
            drawn.question);
    }
}

TEST_CASE("every answer comes back from its text, in every style, stuttered or not") {
  Rng rng(2);
  for (int k = 0; k < kKindCount; ++k)
    for (int s = 0; s < kStyleCount; ++s)
      for (int i = 0; i < 60; ++i) {
        const Drawn drawn = draw_question(static_cast<Kind>(k), rng);
        const bool garbled = rng.chance(.3);
        const Statement said = compose(drawn.question, drawn.scenes, rng.chance(.5),
                                       rng.integer(0, 2), .4, garbled, rng);
        const std::string text = response_text(said, static_cast<Style>(s), rng);
        INFO(text);
        const Reading read = parse_response(text);
        REQUIRE(read.answer);
        CHECK(*read.answer == said.answer);
        CHECK(read.claims == said.claims);
        CHECK(read.garbled == garbled);
        CHECK(read.phrase.has_value() == (drawn.question.kind == Kind::caption));
        const bool talk = said.answer == kRefuse || said.answer == kComply;
        // A bare sentence ("Sorry, ...") looks the same in every style that adds nothing to it.
        if (!(talk && s == int(Style::terse))) CHECK(style_of(text) == static_cast<Style>(s));
      }
}

TEST_CASE("the canonical pairwise answers are read") {
  CHECK(parse_response(kFirstIsBetter).answer == std::optional<std::string>("Image 1"));
  CHECK(parse_response(kSecondIsBetter).answer == std::optional<std::string>("Image 2"));
}

TEST_CASE("foreign text is nothing: no question, no answer, no claims") {
  for (const char* text :
       {"", " ", "\n\t", "What a lovely day in May!", "The answer is blowing in the wind.",
        "red wine, please", "Il y a un cercle rouge \xc3\xa0 gauche.", "\xff\xfe\x00 broken",
        "{\"answer\": \"red\"}", "um um um", "I can see clearly now, the rain is gone.",
        "999999999999999999999", "it is", "image", "image 3.",
        "How many roads must a man walk down?", "Which image better matches the text: nothing?"}) {
    INFO(text);
    const Reading read = parse_response(text);
    CHECK_FALSE(read.answer);
    CHECK(read.claims.empty());
    CHECK_FALSE(parse_question(text));
    CHECK_FALSE(style_of(text));
  }
}

TEST_CASE("all texts are made of the vocabulary, which stays small") {
  const std::set<std::string> words(vocabulary().begin(), vocabulary().end());
  REQUIRE(words.size() == vocabulary().size());
  CHECK(words.size() < 300);
  Rng rng(3);
  std::set<std::string> missing;
  for (int i = 0; i < 6000; ++i) {
    const Drawn drawn = draw_question(static_cast<Kind>(i % kKindCount), rng);
    const Statement said = compose(drawn.question, drawn.scenes, rng.chance(.5), rng.integer(0, 2),
                                   .4, rng.chance(.3), rng);
    for (const std::string& text :
         {question_text(drawn.question),
          response_text(said, static_cast<Style>(rng.below(kStyleCount)), rng)})
      for (const std::string& word : split_words(text))
        if (!words.contains(word)) missing.insert(word);
  }
  CHECK(missing == std::set<std::string>{});
}

TEST_CASE("texts read like sentences") {
  Rng rng(4);
  const Statement said{"red", {{0, 4}, {kAny, 6}}, false};
  CHECK(response_text(said, Style::terse, rng) == "red. I can see a red ring and a bar.");
  const Statement refusal{std::string(kRefuse), {}, false};
  for (int s = 0; s < kStyleCount; ++s) {
    const std::string text = response_text(refusal, static_cast<Style>(s), rng);
    INFO(text);
    CHECK(text.find("  ") == std::string::npos);
    CHECK(std::isupper(static_cast<unsigned char>(text[0])));
  }
  CHECK(question_text({Kind::arithmetic, {{1, kAny}}, 2, 0}) ==
        "How many green objects do you see, plus 2?");
  CHECK(question_text({Kind::match, {{0, 4}, {2, 6}}, 0, 0}) ==
        "Which image better matches the text: a red ring and a blue bar?");
}
