// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/scorer.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

// Remembers what it was shown; a score is the length of the text. `short_by` scores are left out.
struct RecordingJudge final : Judge {
  std::vector<std::vector<std::string>> calls;
  std::size_t short_by = 0;
  std::vector<Score> score(const Prompt&, std::span<const Response> responses) override {
    std::vector<Score> scores;
    calls.emplace_back();
    for (const Response& response : responses) {
      calls.back().push_back(response.id);
      scores.push_back(ok_score(static_cast<double>(response.text.size())));
    }
    scores.resize(scores.size() - short_by);
    return scores;
  }
  Verdict compare(const Prompt&, const Response&, const Response&) override { return {}; }
};

struct Bench {
  FakeContext context;
  std::shared_ptr<RecordingJudge> judge = std::make_shared<RecordingJudge>();
  std::shared_ptr<Scorer> scorer;
  explicit Bench(const std::string& type) {
    context.add<Judge>("strict", judge);
    scorer = PluginLibrary("scorers/" + type)
                 .make<Scorer>(type, {{"judge", value_of("strict")}}, context);
  }
};

const Prompt kPrompt = sample_prompt("p", "?");

std::vector<Response> candidates() {
  std::vector<Response> made{sample_response("a", "xxx"), sample_response("b", ""),
                             sample_response("c", "x")};
  made[1].status = Status::refused;
  return made;
}

}  // namespace

TEST_CASE("listwise asks once, in the order given, about the answered candidates") {
  Bench bench("listwise");
  const std::vector<Score> scores = bench.scorer->score(kPrompt, candidates());
  CHECK(bench.judge->calls == std::vector<std::vector<std::string>>{{"a", "c"}});
  REQUIRE(scores.size() == 3);
  CHECK(scores[0].overall == 3);
  CHECK(scores[1].status == Status::invalid);
  CHECK(scores[1].detail.find("'b'") != std::string::npos);
  CHECK(scores[2].overall == 1);
}

TEST_CASE("pointwise asks about each answered candidate alone") {
  Bench bench("pointwise");
  const std::vector<Score> scores = bench.scorer->score(kPrompt, candidates());
  CHECK(bench.judge->calls == std::vector<std::vector<std::string>>{{"a"}, {"c"}});
  REQUIRE(scores.size() == 3);
  CHECK(scores[0].overall == 3);
  CHECK(scores[1].status == Status::invalid);
  CHECK(scores[2].overall == 1);
}

TEST_CASE("no candidates, no call") {
  for (const char* type : {"listwise", "pointwise"}) {
    Bench bench(type);
    CHECK(bench.scorer->score(kPrompt, {}).empty());
    CHECK(bench.judge->calls.empty());
  }
}

TEST_CASE("a judge that gives another number of scores breaks its contract") {
  for (const char* type : {"listwise", "pointwise"}) {
    Bench bench(type);
    bench.judge->short_by = 1;
    CHECK_THROWS_AS(bench.scorer->score(kPrompt, candidates()), PluginError);
  }
}

TEST_CASE("both keep the contract of scorers") {
  for (const char* type : {"listwise", "pointwise"}) {
    INFO(type);
    FakeContext context;
    context.add<Judge>("teacher",
                       std::make_shared<FakeJudge>([](const Prompt&, const Response& response) {
                         return ok_score(static_cast<double>(response.text.size()));
                       }));
    const auto scorer =
        PluginLibrary(std::string("scorers/") + type).make<Scorer>(type, {}, context);
    check_scorer_contract(*scorer, kPrompt,
                          {sample_response("a", "xxx"), sample_response("b", "x")},
                          {.order_independent = std::string(type) == "pointwise"});
  }
}
