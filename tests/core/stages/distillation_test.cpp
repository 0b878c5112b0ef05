// SPDX-License-Identifier: Apache-2.0
// The steps of the distillation, on candidate sets written by hand.
#include <set>

#include "core/stages/candidate_set.hpp"
#include "dt2it/error.hpp"
#include "tests/core/run/host_fixture.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using testing::ok_score;
using testing::sample_prompt;
using testing::sample_response;

constexpr double kNoScore = -1;

// A set whose candidates have these scores, one list for each scorer.
CandidateSet set_of(const std::string& id,
                    const std::map<std::string, std::vector<double>>& scores) {
  CandidateSet set;
  set.prompt = sample_prompt(id, "What?");
  for (std::size_t i = 0; i < scores.begin()->second.size(); ++i) {
    set.candidates.push_back(sample_response(std::to_string(i), "answer " + std::to_string(i)));
    set.candidates.back().origin = "sampled";
  }
  for (const auto& [scorer, list] : scores)
    for (const double score : list) {
      set.scores[scorer].push_back(ok_score(score));
      if (score == kNoScore) set.scores[scorer].back().status = Status::unparsed;
    }
  return set;
}

std::string candidates_file(const std::vector<CandidateSet>& sets) {
  std::string text;
  for (const CandidateSet& set : sets) text += to_line(set) + "\n";
  return text;
}

struct Paired {
  std::vector<PreferencePair> pairs;
  std::set<std::string> labels;  // "chosen>rejected" by the candidates' ids
  std::string funnel;
};

Paired pair_up(const std::vector<CandidateSet>& sets, const std::string& settings = "") {
  HostFixture host;
  host.write("candidates.jsonl", candidates_file(sets));
  const auto folders = host.run(
      R"(
[scorers.a]
type = "fixture"
[scorers.b]
type = "fixture"
[stages.given]
file = "candidates.jsonl"
[stages.pair]
candidates = "given"
)" +
      std::string(settings.find("scorers") == std::string::npos ? "scorers = [\"a\", \"b\"]\n"
                                                                : "") +
      (settings.find("max_pairs") == std::string::npos ? "max_pairs = 0\nmax_new_pairs = 0\n"
                                                       : "") +
      settings);
  Paired result;
  result.pairs = read_pairs(folders.at("pair") / "pairs.jsonl");
  for (const PreferencePair& pair : result.pairs)
    result.labels.insert(pair.chosen.id + ">" + pair.rejected.id);
  result.funnel = read_file(folders.at("pair") / "funnel.json");
  return result;
}

}  // namespace

TEST_CASE("A pair is made only where all scorers strictly agree") {
  //                               0    1    2    3
  const Paired made = pair_up({set_of("p", {{"a", {9, 5, 5, kNoScore}}, {"b", {8, 6, 7, 3}}})});
  // 0>1 and 0>2 agree; 1,2 tie for a; 3 has no score of a.
  CHECK(made.labels == std::set<std::string>{"0>1", "0>2"});
  CHECK_THAT(made.funnel,
             Catch::Contains(R"("name":"couples of candidates","count":6)") &&
                 Catch::Contains(R"("count":2,"dropped":{"equal scores":1,"not scored":3})"));
  const Paired disagreement = pair_up({set_of("p", {{"a", {9, 5}}, {"b", {5, 9}}})});
  CHECK(disagreement.pairs.empty());
  CHECK_THAT(disagreement.funnel, Catch::Contains(R"("scorers disagree":1)"));
  // A tie of one scorer beside any opinion of the other is a tie, never a pair.
  CHECK(pair_up({set_of("p", {{"a", {5, 5}}, {"b", {5, 9}}})}).pairs.empty());
  CHECK(pair_up({set_of("p", {{"a", {1, 2}}, {"b", {7, 7}}})}).pairs.empty());
  CHECK(pair_up({set_of("p", {{"a", {4, 4}}, {"b", {4, 4}}})}).pairs.empty());
}

TEST_CASE("Chosen is the higher one, wherever it stands; one scorer alone decides alone") {
  const Paired made = pair_up({set_of("p", {{"a", {1, 2, 3}}})}, "scorers = [\"a\"]\n");
  CHECK(made.labels == std::set<std::string>{"1>0", "2>0", "2>1"});
  for (const PreferencePair& pair : made.pairs) {
    CHECK(pair.source == "distil");
    CHECK(pair.prompt.id == "p");
    if (pair.chosen.id == "2" && pair.rejected.id == "0")
      CHECK_THAT(pair.extra, Catch::Contains(R"("a":{"2":3,"0":1})"));
  }
}

TEST_CASE("A margin asks for more than any difference") {
  const std::vector<CandidateSet> sets{set_of("p", {{"a", {8, 7, 5}}, {"b", {8, 6, 3}}})};
  CHECK(pair_up(sets, "margin = 1.0\n").labels ==
        std::set<std::string>{"0>2", "1>2"});  // 8 - 7 is not more than 1
  CHECK(pair_up(sets, "margin = 0.5\n").labels.size() == 3);
}

TEST_CASE("Margins of single scorers; rare strengths are drawn where that is asked for") {
  const std::vector<CandidateSet> sets{set_of("p", {{"a", {8, 7, 5}}, {"b", {8, 6, 3}}})};
  CHECK(pair_up(sets, "margins = { b = 2.5 }\n").labels == std::set<std::string>{"0>2", "1>2"});
  CHECK_THROWS_WITH(pair_up(sets, "margins = { c = 1.0 }\n"), Catch::Contains("margins: 'c'"));
  // Prompts with pairs of strength 1, 4 and 5, but of strength 1 there are four times as many in all: each alike, two of three
  // drawn are strong; by weight, eight of nine.
  std::vector<CandidateSet> many;
  for (int i = 0; i < 450; ++i)
    many.push_back(set_of("near" + std::to_string(i), {{"a", {5, 4}}, {"b", {5, 4}}}));
  for (int i = 0; i < 150; ++i)
    many.push_back(set_of("both" + std::to_string(i), {{"a", {9, 5, 4}}, {"b", {9, 5, 4}}}));
  const auto strong = [](const Paired& made) {
    return std::count_if(made.pairs.begin(), made.pairs.end(), [](const PreferencePair& pair) {
      return pair.prompt.id.starts_with("both") && pair.chosen.id == "0";
    });
  };
  const Paired plain = pair_up(many, "max_pairs = 1\nmax_new_pairs = 1\n");
  const Paired balanced =
      pair_up(many, "max_pairs = 1\nmax_new_pairs = 1\nbalance_strength = true\n");
  CHECK(plain.pairs.size() == 600);
  CHECK(balanced.pairs.size() == 600);
  CHECK(strong(plain) < 118);
  CHECK(strong(balanced) > 118);
}

TEST_CASE("Pairs for each prompt are limited, those with added candidates by themselves") {
  CandidateSet set = set_of("p", {{"a", {1, 2, 3, 4, 9, 8}}, {"b", {1, 2, 3, 4, 9, 8}}});
  set.candidates[4].origin = "better";
  set.candidates[5].origin = "noised";
  const auto added = [](const PreferencePair& pair) {
    return pair.chosen.origin != "sampled" || pair.rejected.origin != "sampled";
  };
  const auto count = [&](const Paired& made) {
    return std::pair(std::count_if(made.pairs.begin(), made.pairs.end(), std::not_fn(added)),
                     std::count_if(made.pairs.begin(), made.pairs.end(), added));
  };
  CHECK(count(pair_up({set})) == std::pair<std::ptrdiff_t, std::ptrdiff_t>(6, 9));
  const Paired few = pair_up({set},
                             "max_pairs = 2\nmax_new_pairs = 3\n"
                             "[experiment]\nseed = 3\n");
  CHECK(count(few) == std::pair<std::ptrdiff_t, std::ptrdiff_t>(2, 3));
  CHECK_THAT(few.funnel, Catch::Contains(R"("over the limit per prompt":10)"));
  std::set<std::string> ids;
  for (const PreferencePair& pair : few.pairs) ids.insert(pair.id);
  CHECK(ids.size() == few.pairs.size());
}

TEST_CASE("Candidates that a scorer has not seen are an error that says what to do") {
  CandidateSet set = set_of("p7", {{"a", {1, 2}}, {"b", {1, 2}}});
  set.candidates.push_back(sample_response("2", "added"));
  try {
    pair_up({set});
    FAIL("not all candidates have scores");
  } catch (const ConfigError& error) {
    CHECK_THAT(error.what(),
               Catch::Contains("scorer 'a' has scored 2 of the 3 candidates of prompt 'p7'"));
  }
  CHECK_THROWS_WITH(pair_up({set_of("p", {{"a", {1, 2}}})}),
                    Catch::Contains("'b' has scored 0 of the 2"));
}

TEST_CASE("Equal prompts and repeated ids stay apart") {
  const CandidateSet set = set_of("same", {{"a", {1, 2}}, {"b", {1, 2}}});
  const Paired made = pair_up({set, set});
  REQUIRE(made.pairs.size() == 2);
  CHECK(made.pairs[0].id != made.pairs[1].id);
}

TEST_CASE("candidates, score and diversify pass failures on as statuses") {
  HostFixture host;
  const auto folders = host.run(R"(
[datasets.d]
type = "fixture"
count = 4
[mllms.m]
type = "fixture"
reply = "7"
fail_every = 3
[scorers.s]
type = "fixture"
[scorers.late]
type = "fixture"
[diversity.more]
type = "fixture"
add = 2
[stages.distil]
dataset = "d"
pool = ["m"]
candidates = 3
scorers = ["s", "late"]
diversity = "more"
)");
  const auto drawn = read_candidate_sets(folders.at("distil.candidates") / "candidates.jsonl");
  REQUIRE(drawn.size() == 4);
  for (const CandidateSet& set : drawn) {
    REQUIRE(set.candidates.size() == 3);
    CHECK(set.candidates[1].text == "7 draw 1");
    CHECK(set.candidates[2].status == Status::refused);
  }
  CHECK_THAT(read_file(folders.at("distil.candidates") / "funnel.json"),
             Catch::Contains(R"("m: refused":4)"));
  for (const CandidateSet& set : read_candidate_sets(folders.at("distil.s") / "candidates.jsonl")) {
    const std::vector<Score>& scores = set.scores.at("s");
    CHECK(scores[0].overall == 7);
    CHECK(scores[2].status == Status::refused);  // not shown to the scorer, its own status kept
    CHECK(std::set<std::size_t>(set.shown.at("s").begin(), set.shown.at("s").end()) ==
          std::set<std::size_t>{0, 1});
  }
  std::set<std::vector<std::size_t>> orders, late;
  for (const CandidateSet& set :
       read_candidate_sets(folders.at("distil.late") / "candidates.jsonl")) {
    REQUIRE(set.candidates.size() == 5);
    CHECK(set.candidates[4].id == "4");
    CHECK(set.candidates[4].origin == "better");
    CHECK(set.scores.at("s")[4].overall == 9);
    CHECK(set.scores.at("s")[2].status == Status::refused);
    CHECK(set.shown.at("s").size() == 4);
    orders.insert(set.shown.at("s"));
    late.insert(set.shown.at("late"));
  }
  CHECK(orders.size() > 1);  // added candidates would else always come last
  CHECK(late.size() > 1);    // also for who scores them for the first time
  CHECK(read_pairs(folders.at("distil") / "pairs.jsonl").size() ==
        4 * 4);  // 9 over 7, twice two; equal ones none
}

TEST_CASE(
    "Every prompt's candidates are shown in an order of its own, which is kept and comes again") {
  std::vector<CandidateSet> sets;
  for (int i = 0; i < 240; ++i) {
    sets.push_back(set_of("p" + std::to_string(i), {{"given", {1, 2, 3, 4}}}));
    sets.back().scores.clear();
    for (std::size_t k = 0; k < 4; ++k)
      sets.back().candidates[k].text = std::to_string(k);  // its score
  }
  const auto shown = [&](const char* seed) {
    HostFixture host;
    host.write("candidates.jsonl", candidates_file(sets));
    const auto folders = host.run(std::string("[experiment]\nseed = ") + seed + R"(
[scorers.a]
type = "fixture"
[scorers.b]
type = "fixture"
[stages.given]
file = "candidates.jsonl"
[stages.one]
type = "score"
candidates = "given"
scorer = "a"
[stages.two]
type = "score"
candidates = "one"
scorer = "b"
)");
    return read_candidate_sets(folders.at("two") / "candidates.jsonl");
  };
  const auto first = shown("1"), again = shown("1"), other = shown("2");
  REQUIRE(first.size() == 240);
  std::map<std::size_t, int> in_front;
  int different = 0;
  for (std::size_t i = 0; i < first.size(); ++i) {
    const std::vector<std::size_t>& order = first[i].shown.at("a");
    REQUIRE(std::set<std::size_t>(order.begin(), order.end()) == std::set<std::size_t>{0, 1, 2, 3});
    CHECK(first[i].shown.at("b") == order);  // every scorer sees the same
    CHECK(again[i].shown.at("a") == order);
    different += other[i].shown.at("a") != order;
    ++in_front[order[0]];
    for (std::size_t k = 0; k < 4; ++k)
      CHECK(first[i].scores.at("a")[k].overall == static_cast<double>(k));  // back in place
  }
  for (std::size_t k = 0; k < 4; ++k)
    CHECK(in_front[k] > 35);  // 60 expected, 6.7 the standard deviation
  CHECK(different > 200);
}

TEST_CASE("A scorer that breaks its contract is named") {
  HostFixture host;
  CHECK_THROWS_WITH(host.run(R"(
[datasets.d]
type = "fixture"
[mllms.m]
type = "fixture"
[scorers.s]
type = "fixture"
short_of_one = true
[stages.distil]
dataset = "d"
pool = ["m"]
scorers = ["s"]
)"),
                    Catch::Contains("stage 'distil.s': scorer 's' gave 3 scores for 4 candidates"));
}

TEST_CASE("Weights of the pool must name its members") {
  HostFixture host;
  const std::string toml = R"(
[datasets.d]
type = "fixture"
count = 40
[mllms.m]
type = "fixture"
[mllms.n]
type = "fixture"
[stages.prompts]
type = "collect"
dataset = "d"
[stages.candidates]
prompts = "prompts"
pool = ["m", "n"]
count = 1
pool_weights = )";
  CHECK_THROWS_WITH(host.run(toml + "{ k = 1.0 }\n"), Catch::Contains("pool_weights: 'k'"));
  CHECK_THROWS_WITH(host.run(toml + "{ m = -1.0 }\n"), Catch::Contains("pool_weights: 'm'"));
  std::map<std::string, int> writers;
  for (const CandidateSet& set :
       read_candidate_sets(host.run(toml + "{ m = 3.0 }\n").at("candidates") / "candidates.jsonl"))
    ++writers[set.candidates[0].mllm];
  CHECK(writers["m"] > writers["n"]);
  CHECK(writers["n"] > 0);
  CHECK(writers.size() == 2);
}

}  // namespace dt2it
