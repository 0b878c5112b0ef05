// SPDX-License-Identifier: Apache-2.0
// Curation of more pairs than a window holds, votes, and rounds that end.
#include <algorithm>

#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"
#include "tests/core/run/host_fixture.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

// Rewards are the numbers at the start of the texts.
std::string many_pairs(std::size_t count, bool backwards = false) {
  std::vector<std::string> lines;
  Rng rng(7);
  for (std::size_t i = 0; i < count; ++i) {
    PreferencePair pair = testing::sample_pair(
        "p" + std::to_string(i), "What is " + std::to_string(i) + "?",
        std::to_string(rng.below(100)) + " yes", std::to_string(rng.below(100)) + " no");
    pair.source = i % 3 == 0 ? "one" : "two";
    lines.push_back(to_json(pair) + "\n");
  }
  if (backwards) std::reverse(lines.begin(), lines.end());
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

const std::string kChain = R"(
[curators.first]
type = "fixture"
discard = ["p3", "p700"]
[curators.half]
type = "surveyor"
[curators.last]
type = "fixture"
keep = ["p1", "p5", "p900"]
[stages.given]
file = "pairs.jsonl"
[stages.curate]
pairs = ["given"]
curators = ["first", "half", "last"]
)";

std::map<std::string, std::string> chosen_texts(const fs::path& folder) {
  std::map<std::string, std::string> texts;
  for (const PreferencePair& pair : read_pairs(folder / "pairs.jsonl"))
    texts[pair.id] = pair.chosen.text;
  return texts;
}

}  // namespace

TEST_CASE(
    "A survey knows whole sources though pairs pass by in windows; their order plays no part") {
  HostFixture host, turned;
  host.write("pairs.jsonl", many_pairs(1300));
  turned.write("pairs.jsonl", many_pairs(1300, true));
  const fs::path folder = host.run(kChain).at("curate");
  const auto texts = chosen_texts(folder);
  CHECK(texts.size() == 1298);
  CHECK(texts == chosen_texts(turned.run(kChain).at("curate")));
  std::size_t flipped = 0;
  for (const auto& [id, text] : texts) flipped += text.ends_with("no");
  CHECK(flipped ==
        433 / 2 + 865 / 2);  // without the two that the first curator discarded, one of each source
  const std::string decisions = read_file(folder / "decisions.jsonl");
  CHECK(std::count(decisions.begin(), decisions.end(), '\n') == 1300 + 2 * 1298);
  CHECK_THAT(decisions, Catch::Contains("one of 433") && Catch::Contains("one of 865"));
}

TEST_CASE("Curation that failed goes on behind its last window and ends in the same bytes") {
  const std::string broken =
      kChain + "[stages.curate.with.curators.CURATOR]\nfail_once = \"MARK\"\n";
  for (const std::string curator : {"first", "last"}) {
    HostFixture host;
    host.write("pairs.jsonl", many_pairs(1300));
    std::string toml = broken;
    toml.replace(toml.find("CURATOR"), 7, curator);
    toml.replace(toml.find("MARK"), 4, (host.path() / "failed").string());
    CHECK_THROWS_WITH(host.run(toml), Catch::Contains("no answer"));
    if (curator ==
        "last")  // the power failed: the list of windows is on disk, the decisions are not
      for (const auto& stage : fs::directory_iterator(host.path() / "runs" / ".work")) {
        if (!stage.is_directory()) continue;
        REQUIRE(fs::file_size(stage.path() / "decisions.jsonl") > 1000);
        fs::resize_file(stage.path() / "decisions.jsonl", 1000);
      }
    const fs::path folder = host.run(toml).at("curate");
    HostFixture whole;
    whole.write("pairs.jsonl", many_pairs(1300));
    const fs::path there = whole.run(kChain).at("curate");
    for (const char* file : {"pairs.jsonl", "decisions.jsonl", "funnel.json"})
      CHECK(read_file(folder / file) == read_file(there / file));
  }
}

TEST_CASE(
    "Rewards that a curator's own model did not give are asked for again, and are no result") {
  HostFixture host;
  std::string lines;
  for (int i = 0; i < 5; ++i) {
    const std::string id = "q" + std::to_string(i);
    PreferencePair pair = testing::sample_pair(id, "?", "2 yes", "1 no");
    pair.prompt.id = id;
    lines += to_json(pair) + "\n";
  }
  host.write("pairs.jsonl", lines);
  const fs::path outage = host.write("outage", "");
  const std::string toml = R"(
[reward_models.rm]
type = "fixture"
outage = ")" + outage.string() +
                           R"("
[curators.asking]
type = "fixture"
reward_model = "rm"
ask = true
[stages.given]
file = "pairs.jsonl"
[stages.curate]
pairs = ["given"]
curators = ["asking"]
undecided = "discard"
)";
  CHECK_THROWS_WITH(host.run(toml), Catch::Contains("calls and rewards got no answer") &&
                                        Catch::Contains("run again"));
  fs::remove(outage);
  CHECK(read_pairs(host.run(toml).at("curate") / "pairs.jsonl").size() == 5);
}

TEST_CASE("Pairs are curated alike in whatever form their lines are") {
  // Strengths of their own, two prompts, and unknown keys, with and without what only we write.
  std::string ours, others;
  for (std::size_t i = 0; i < 1300; ++i) {
    PreferencePair pair =
        testing::sample_pair("p" + std::to_string(i), "Who?", std::to_string(i * 7 % 100) + " yes",
                             std::to_string(i * 31 % 100) + " no");
    if (i % 4 == 1) pair.rejected_prompt = pair.prompt, pair.rejected_prompt->id = "other";
    if (i % 5 == 2) pair.strength = 0.5, pair.strengths = {1, 0};
    if (i % 3 == 0) pair.extra = R"({"kept":[1, 2.50]})";
    const std::string line = to_json(pair);
    ours += line + "\n";
    others += i % 2 ? "{ " + line.substr(1) + " \r\n\n" : " " + line + "\n";
  }
  for (const std::string chain : {R"(["half"])", R"(["flip"])", R"(["flip_with_strength"])"}) {
    const std::string toml = R"(
[curators.half]
type = "surveyor"
[curators.flip]
type = "fixture"
flip = ["p0", "p1", "p2", "p900", "p901", "p902", "p903"]
[curators.flip_with_strength]
type = "fixture"
flip = ["p0", "p1", "p2", "p900", "p901", "p902", "p903"]
strength = -0.25
[stages.given]
file = "pairs.jsonl"
[stages.curate]
pairs = ["given"]
curators = )" + chain;
    HostFixture one, two;
    one.write("pairs.jsonl", ours);
    two.write("pairs.jsonl", others);
    const std::string written = read_file(one.run(toml).at("curate") / "pairs.jsonl");
    CHECK(written == read_file(two.run(toml).at("curate") / "pairs.jsonl"));
    CHECK(written != ours);
    CHECK(std::count(written.begin(), written.end(), '\n') == 1300);
  }
}

TEST_CASE("A line that is no pair is named, however far ahead it is read") {
  HostFixture host;
  std::string text = many_pairs(1300);
  std::size_t at = 0;
  for (int line = 1; line < 1200; ++line) at = text.find('\n', at) + 1;
  host.write("pairs.jsonl", text.insert(at, "{\"id\":7}\n"));
  CHECK_THROWS_WITH(host.run(kChain), Catch::Contains("pairs.jsonl:1200: "));
}

const std::string kVotes = R"(
[reward_models.a]
type = "fixture"
[reward_models.b]
type = "fixture"
batch = 7
[stages.given]
file = "pairs.jsonl"
[stages.votes]
type = "vote"
pairs = ["given"]
reward_models = ["a", "b"]
)";

TEST_CASE("Votes in parts are the votes of one process") {
  HostFixture whole, shared;
  whole.write("pairs.jsonl", many_pairs(1100));
  shared.write("pairs.jsonl", many_pairs(1100));
  const std::string votes = read_file(whole.run(kVotes).at("votes") / "votes.jsonl");
  CHECK(std::count(votes.begin(), votes.end(), '\n') == 1100);
  for (const std::size_t index :
       {2, 0}) {  // the second part is left to the run that puts them together
    RunOptions part;
    part.stage = "votes";
    part.shard = {index, 3};
    shared.run(kVotes, part);
  }
  CHECK(read_file(shared.run(kVotes).at("votes") / "votes.jsonl") == votes);

  RunOptions wrong;
  wrong.stage = "given";
  wrong.shard = {0, 2};
  CHECK_THROWS_WITH(shared.run(kVotes, wrong), Catch::Contains("cannot be done in parts"));
  wrong.stage = "vote";
  CHECK_THROWS_WITH(shared.run(kVotes, wrong),
                    Catch::Contains("no stage is named 'vote' (there are: given, votes)"));
}

TEST_CASE("Stored votes are found by what is asked, not by where it stands") {
  HostFixture host;
  host.write("pairs.jsonl", many_pairs(1040));
  const fs::path votes = host.run(kVotes).at("votes") / "votes.jsonl";
  std::string toml = R"(
[reward_models.first]
type = "stored"
rewards = ")" + votes.string() +
                     R"("
model = "a"
[reward_models.second]
type = "stored"
rewards = ")" + votes.string() +
                     R"("
model = "b"
[stages.given]
file = "pairs.jsonl"
[stages.votes]
type = "vote"
pairs = ["given"]
reward_models = ["second", "first"]
)";
  HostFixture other;
  other.write("pairs.jsonl", many_pairs(1040, true));
  const fs::path found = other.run(toml).at("votes") / "votes.jsonl";
  const std::vector<PreferencePair> pairs = read_pairs(other.path() / "pairs.jsonl");
  JsonLineReader lines(found);
  std::size_t row = 0;
  for (simdjson::dom::element line; lines.next(line); ++row) {
    double chosen = -1;
    CHECK_FALSE(line["rewards"]["first"].at(0).get(chosen));
    const PreferencePair& pair = pairs.at(row);
    CHECK(chosen == std::stod(pair.chosen.text));
  }
  CHECK(row == 1040);
  toml.replace(toml.find("model = \"a\""), 11, "model = \"c\"");
  CHECK_THROWS_WITH(other.run(toml), Catch::Contains("has no rewards of 'c' (there are: a, b)"));
}

TEST_CASE("Rounds that make models worse end, and the best model is the result") {
  const std::string toml = R"(
[datasets.start]
type = "fixture"
[datasets.one]
type = "fixture"
prefix = "one"
[datasets.two]
type = "fixture"
prefix = "two"
[trainers.bradley_terry]
type = "fixture"
[reward_models.current]
type = "fixture"
[reward_models.v1]
type = "fixture"
[curators.vote_flip]
type = "fixture"
reward_models = ["v1"]
[curators.consistency]
type = "fixture"
reward_model = "current"
[curators.reannotate]
type = "fixture"
[stages.initial]
type = "collect_pairs"
dataset = "start"
[stages.train]
type = "iterate"
initial = ["initial"]
sets = ["one", "two"]
sets_per_round = [1, 1]
voters = ["v1"]
held_out = ["initial"]
early_stop = true
)";
  HostFixture host;
  const auto folders = host.run(toml);
  CHECK_THAT(read_file(folders.at("train.gate_1") / "gate.json"),
             Catch::Contains(R"("end":true,"best":"train.model_0")"));
  CHECK_THAT(read_file(folders.at("train") / "gate.json"),
             Catch::Contains(R"("end":true,"best":"train.model_0")"));
  CHECK(read_file(folders.at("train") / "checkpoint/model.txt") ==
        read_file(folders.at("train.model_0") / "checkpoint/model.txt"));
  CHECK(fs::exists(folders.at("train.model_2") / "passed_by.json"));
  CHECK(read_file(folders.at("train.curated_2") / "pairs.jsonl").empty());

  // Where a loss is allowed for, they go on, and the best model is the result all the same.
  HostFixture lenient;
  const auto all = lenient.run(toml + "min_gain = -1\n");
  CHECK_THAT(read_file(all.at("train.gate_1") / "gate.json"), Catch::Contains(R"("end":false)"));
  CHECK_FALSE(fs::exists(all.at("train.model_2") / "passed_by.json"));
}

}  // namespace dt2it
