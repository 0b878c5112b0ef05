// SPDX-License-Identifier: Apache-2.0
// Stages that take pairs and give pairs, or figures about them.
#include <set>

#include "dt2it/error.hpp"
#include "tests/core/run/host_fixture.hpp"

namespace dt2it {
namespace {

PreferencePair pair_of(const std::string& id, const std::string& source = "s1") {
  PreferencePair pair = testing::sample_pair(id, "What?", "C" + id, "R" + id);
  pair.source = source;
  return pair;
}

std::string pairs_file(const std::vector<PreferencePair>& pairs) {
  std::string text;
  for (const PreferencePair& pair : pairs) text += to_json(pair) + "\n";
  return text;
}

struct Curated {
  std::map<std::string, PreferencePair> pairs;
  std::vector<std::string> order;
  std::string decisions, funnel;
};

Curated curate(const std::vector<PreferencePair>& pairs, const std::string& toml) {
  HostFixture host;
  host.write("pairs.jsonl", pairs_file(pairs));
  const auto folder = host.run("[stages.given]\nfile = \"pairs.jsonl\"\n" + toml).at("curate");
  Curated result;
  for (const PreferencePair& pair : read_pairs(folder / "pairs.jsonl")) {
    result.pairs[pair.id] = pair;
    result.order.push_back(pair.id);
  }
  result.decisions = read_file(folder / "decisions.jsonl");
  result.funnel = read_file(folder / "funnel.json");
  return result;
}

const std::string kChain = R"(
[curators.first]
type = "fixture"
keep = ["kept"]
flip = ["flipped"]
flip_open = ["handed_on"]
discard = ["gone"]
[curators.second]
type = "fixture"
keep = ["handed_on"]
discard = ["kept", "flipped", "late"]
[stages.curate]
pairs = ["given"]
curators = ["first", "second"]
)";

}  // namespace

TEST_CASE("A chain of curators: what one settles the next does not see") {
  Curated result = curate({pair_of("kept"), pair_of("flipped"), pair_of("handed_on"),
                           pair_of("gone"), pair_of("late"), pair_of("open")},
                          kChain);
  CHECK(result.order == std::vector<std::string>{"kept", "flipped", "handed_on", "open"});
  CHECK(result.pairs["kept"].chosen.text == "Ckept");
  CHECK(result.pairs["flipped"].chosen.text == "Rflipped");
  CHECK(result.pairs["flipped"].rejected.text == "Cflipped");
  CHECK(result.pairs["handed_on"].chosen.text == "Rhanded_on");
  CHECK(result.pairs["open"].chosen.text == "Copen");
  // The second saw three pairs; the flip that was not settled with its labels swapped.
  CHECK_THAT(
      result.decisions,
      Catch::Contains(R"("id":"handed_on","source":"s1","curator":"second","action":"keep")") &&
          Catch::Contains("saw Rhanded_on over Chanded_on, 3 pairs of s1"));
  CHECK_THAT(result.decisions, !Catch::Contains(R"("id":"kept","source":"s1","curator":"second")"));
  CHECK(std::count(result.decisions.begin(), result.decisions.end(), '\n') == 9);
  CHECK_THAT(result.funnel,
             Catch::Contains(R"("name":"first: flipped","count":2)") &&
                 Catch::Contains(R"("name":"pairs kept","count":4,"dropped":{"discarded":2})"));
}

TEST_CASE("What no curator settles is kept, or discarded when asked to") {
  Curated result = curate({pair_of("open"), pair_of("handed_on"), pair_of("kept")},
                          kChain + "undecided = \"discard\"\n");
  CHECK(result.order == std::vector<std::string>{"handed_on", "kept"});
  CHECK_THAT(result.funnel, Catch::Contains(R"("dropped":{"undecided":1})"));
}

TEST_CASE("Curators work source by source; the order of the pairs stays") {
  Curated result = curate({pair_of("a", "y"), pair_of("b", "x"), pair_of("c", "y"),
                           pair_of("open", "x"), pair_of("gone", "y")},
                          kChain);
  CHECK(result.order == std::vector<std::string>{"a", "b", "c", "open"});
  CHECK_THAT(result.decisions, Catch::Contains("saw Ca over Ra, 3 pairs of y") &&
                                   Catch::Contains("saw Cb over Rb, 2 pairs of x"));
}

TEST_CASE("A flip swaps the prompts of pairs that have two, and the sign of strengths") {
  PreferencePair pair = pair_of("flipped");
  pair.rejected_prompt = testing::sample_prompt("other", "What else?");
  pair.strength = 0.5;
  pair.strengths = {0.25, 0.75};
  Curated result = curate({pair}, kChain);
  const PreferencePair& flipped = result.pairs["flipped"];
  CHECK(flipped.prompt.id == "other");
  REQUIRE(flipped.rejected_prompt);
  CHECK(flipped.rejected_prompt->id == "flipped-prompt");
  CHECK(flipped.strength == -0.5);
  CHECK(flipped.strengths == std::vector<double>{-0.25, -0.75});
  // A strength that the flip itself gives is that of the labels it saw.
  std::string with_strength = kChain;
  with_strength.replace(with_strength.find("keep = [\"kept\"]"), 15,
                        "keep = [\"kept\"]\nstrength = -0.4");
  const Curated judged = curate({pair, pair_of("kept")}, with_strength);
  CHECK(judged.pairs.at("flipped").strength == 0.4);
  CHECK(judged.pairs.at("kept").strength == -0.4);
}

TEST_CASE("A curator that breaks its contract is named") {
  CHECK_THROWS_WITH(curate({pair_of("a"), pair_of("b")},
                           "[curators.c]\ntype = \"fixture\"\nshort_of_one = true\n"
                           "[stages.curate]\npairs = [\"given\"]\ncurators = [\"c\"]\n"),
                    Catch::Contains("curator 'c' gave 1 decisions for 2 pairs"));
}

TEST_CASE("mix puts pairs together and draws the sample that its stream names") {
  HostFixture host;
  std::vector<PreferencePair> many;
  for (int i = 0; i < 50; ++i) many.push_back(pair_of(std::to_string(i)));
  host.write("pairs.jsonl", pairs_file(many));
  const auto folders = host.run(R"(
[datasets.d]
type = "fixture"
count = 2
[stages.given]
file = "pairs.jsonl"
[stages.few]
type = "collect_pairs"
dataset = "d"
[stages.all]
type = "mix"
pairs = ["few", "given"]
[stages.drawn]
type = "mix"
pairs = ["few", "given"]
sample = 20
[stages.again]
type = "mix"
pairs = ["few", "given"]
sample = 20
stream = "other"
[stages.more_than_there_are]
type = "mix"
pairs = ["few"]
sample = 20
)");
  const auto ids = [&](const std::string& stage) {
    std::vector<std::string> list;
    for (const PreferencePair& pair : read_pairs(folders.at(stage) / "pairs.jsonl"))
      list.push_back(pair.id);
    return list;
  };
  const auto all = ids("all");
  REQUIRE(all.size() == 52);
  CHECK(all[0] == "p0");
  CHECK(all[2] == "0");
  const auto drawn = ids("drawn");
  CHECK(drawn.size() == 20);
  CHECK(std::set<std::string>(drawn.begin(), drawn.end()).size() == 20);
  std::size_t at = 0;  // in their order
  for (const std::string& id : all)
    if (at < drawn.size() && drawn[at] == id) ++at;
  CHECK(at == drawn.size());
  CHECK(ids("again") != drawn);
  CHECK(ids("more_than_there_are").size() == 2);
  CHECK_THAT(read_file(folders.at("drawn") / "funnel.json"), Catch::Contains(R"("not drawn":32)"));
}

TEST_CASE("audit counts what a curator that knows the truth would do, source by source") {
  HostFixture host;
  host.write("pairs.jsonl",
             pairs_file({pair_of("kept", "x"), pair_of("flipped", "x"), pair_of("gone", "y"),
                         pair_of("open", "y"), pair_of("handed_on", "y")}));
  const auto folder = host.run("[stages.given]\nfile = \"pairs.jsonl\"\n" + kChain +
                               "[stages.audit]\npairs = [\"given\"]\ncurator = \"first\"\n")
                          .at("audit");
  CHECK(read_file(folder / "label_noise.json") ==
        R"({"all":{"right":1,"wrong":2,"tie":1,"unknown":1,"total":5},"sources":{)"
        R"("x":{"right":1,"wrong":1,"tie":0,"unknown":0,"total":2},)"
        R"("y":{"right":0,"wrong":1,"tie":1,"unknown":1,"total":3}}})"
        "\n");
}

TEST_CASE("collect stops at its limit; training without pairs is an error of the data") {
  HostFixture host;
  const std::string toml = R"(
[datasets.d]
type = "fixture"
count = 5
[curators.none]
type = "fixture"
discard = ["p0", "p1"]
[trainers.t]
type = "fixture"
[stages.collect_pairs]
dataset = "d"
limit = 2
)";
  CHECK(read_pairs(host.run(toml).at("collect_pairs") / "pairs.jsonl").size() == 2);
  CHECK_THROWS_AS(host.run(toml + R"(
[stages.curate]
pairs = ["collect_pairs"]
curators = ["none"]
[stages.train]
pairs = ["curate"]
trainer = "t"
)"),
                  DataError);
}

}  // namespace dt2it
