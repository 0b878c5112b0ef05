// SPDX-License-Identifier: Apache-2.0
#include "core/stages/style.hpp"

#include "dt2it/rng.hpp"
#include "tests/core/run/host_fixture.hpp"

namespace dt2it {
namespace {

// Words without meaning; `marks`: in Markdown, `opening`: what it begins with.
std::string answer(Rng& rng, int words, bool marks, const std::string& opening) {
  static constexpr const char* kWords[] = {"red",   "box",    "near",  "two",   "left",
                                           "table", "stands", "holds", "small", "round"};
  std::string text = opening;
  for (int i = 0; i < words; ++i)
    text += std::string(marks && i % 6 == 0 ? "\n- **" : " ") + kWords[rng.below(10)] +
            (marks && i % 6 == 0 ? "**" : "");
  return text + ".";
}

// How well each family tells pairs whose sides are written in two ways.
template <class Make>
std::map<std::string, double> told(int count, Make make) {
  Rng rng(4);
  xt::xtensor<float, 2> rows = xt::zeros<float>({std::size_t(count), kStyleColumns});
  std::vector<std::uint8_t> folds;
  for (int i = 0; i < count; ++i) {
    const auto [chosen, rejected] = make(rng);
    add_style(chosen, "a", 1, &rows(i, 0));
    add_style(rejected, "a", -1, &rows(i, 0));
    folds.push_back(static_cast<std::uint8_t>(rng.below(5)));
  }
  std::map<std::string, double> accuracies;
  for (const StyleFamily& family : kStyleFamilies) {
    const StyleAccuracy accuracy = style_accuracy(rows, folds, family);
    CHECK(accuracy.low <= accuracy.value);
    CHECK(accuracy.value <= accuracy.high);
    accuracies[family.name] = accuracy.value;
  }
  return accuracies;
}

}  // namespace

TEST_CASE("Labels that have nothing to do with style are told by chance") {
  const auto by = told(1500, [](Rng& rng) {
    return std::pair(
        answer(rng, rng.integer(10, 60), rng.chance(0.5), rng.chance(0.5) ? "Sure." : "The"),
        answer(rng, rng.integer(10, 60), rng.chance(0.5), rng.chance(0.5) ? "Sure." : "The"));
  });
  for (const auto& [family, accuracy] : by) {
    INFO(family);
    CHECK(accuracy == Approx(0.5).margin(0.05));
  }
  CHECK(by.at("writer") == 0.5);  // the same one: nothing to tell
}

TEST_CASE("Labels that style gives away are told by the family that it lies in") {
  const auto longer = told(600, [](Rng& rng) {
    return std::pair(answer(rng, rng.integer(30, 60), false, "The"),
                     answer(rng, rng.integer(10, 40), false, "The"));
  });
  CHECK(longer.at("length") > 0.85);
  CHECK(longer.at("markdown") == Approx(0.5).margin(0.06));
  const auto marked = told(600, [](Rng& rng) {
    return std::pair(answer(rng, 30, true, "The"), answer(rng, 30, rng.chance(0.2), "The"));
  });
  CHECK(marked.at("markdown") > 0.85);
  CHECK(marked.at("first_words") < 0.6);
  const auto opened = told(600, [](Rng& rng) {
    return std::pair(answer(rng, 30, false, "Sure, this"),
                     answer(rng, 30, false, rng.chance(0.3) ? "Sure, this" : "It"));
  });
  CHECK(opened.at("first_words") > 0.8);
  CHECK(opened.at("style") > 0.8);
  CHECK(opened.at("length") < 0.95);
}

TEST_CASE("Stage bias measures each set and source by itself") {
  HostFixture host;
  Rng rng(8);
  std::string fair, unfair;
  for (int i = 0; i < 400; ++i) {
    PreferencePair pair;
    pair.id = std::to_string(i);
    pair.prompt = testing::sample_prompt("p" + std::to_string(i), "What?");
    const int words[] = {rng.integer(10, 40), rng.integer(10, 40)};
    pair.chosen = testing::sample_response("1", answer(rng, words[0], false, "The"));
    pair.rejected = testing::sample_response("0", answer(rng, words[1], false, "The"));
    pair.source = i % 2 ? "odd" : "even";
    pair.extra = R"({"scores":{"s":{"1":7.5,"0":5}}})";
    fair += to_json(pair) + "\n";
    pair.chosen.text = answer(rng, 50 + words[0], true, "Certainly");
    unfair += to_json(pair) + "\n";
  }
  std::filesystem::create_directories(host.path() / "u");
  host.write("pairs.jsonl", fair);
  host.write("u/pairs.jsonl", unfair);
  const auto folders = host.run(R"(
[stages.fair]
type = "given"
file = "pairs.jsonl"
[stages.unfair]
type = "given"
file = "u/pairs.jsonl"
[stages.bias]
pairs = ["fair", "unfair"]
)");
  simdjson::dom::parser parser;
  const auto sets = parser.load((folders.at("bias") / "bias.json").string())["sets"];
  const auto number = [&](std::size_t set, std::size_t source, const char* path) {
    return double(sets.at(set)["sources"].at(source).at_pointer(path));
  };
  CHECK(number(0, 0, "/told_by/style/accuracy") == Approx(0.5).margin(0.09));
  CHECK(number(1, 0, "/told_by/style/accuracy") > 0.97);
  CHECK(number(1, 0, "/longer_chosen") == 1);
  CHECK(number(0, 0, "/longer_chosen") == Approx(0.5).margin(0.09));
  CHECK(number(0, 0, "/earlier_chosen") == 0);
  CHECK(number(0, 0, "/strength/mean") == 2.5);
  CHECK(number(0, 0, "/strength/histogram/5") == 400);
  CHECK(number(0, 0, "/pairs") == 400);
  CHECK(std::string_view(sets.at(0)["sources"].at(2)["source"]) == "odd");
  CHECK(number(0, 2, "/pairs") == 200);
}

}  // namespace dt2it
