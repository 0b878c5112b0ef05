// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/judge.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

std::shared_ptr<FakeJudge> saying(double overall_of_a, double overall_of_b,
                                  Status status = Status::ok) {
  return std::make_shared<FakeJudge>([=](const Prompt&, const Response& response) {
    Score score;
    score.status = status;
    score.overall = response.text == "A" ? overall_of_a : overall_of_b;
    if (status != Status::ok) score.detail = "as the test wants";
    return score;
  });
}

const Prompt kPrompt = sample_prompt("p", "What is it?");
const std::vector<Response> kTwo{sample_response("a", "A"), sample_response("b", "B")};

struct Panel {
  FakeContext context;
  std::shared_ptr<Judge> judge;
  Panel(std::vector<std::shared_ptr<FakeJudge>> members, Table params = {}) {
    static const PluginLibrary library("judges/ensemble");
    List list;
    for (std::size_t i = 0; i < members.size(); ++i) {
      list.push_back(value_of("j" + std::to_string(i)));
      context.add<Judge>("j" + std::to_string(i), members[i]);
    }
    params["judges"] = {list};
    judge = library.make<Judge>("ensemble", params, context);
  }
};

}  // namespace

TEST_CASE("an ensemble's scores are means, its comparisons majorities") {
  Panel panel({saying(9, 3), saying(6, 7), saying(9, 2)});
  const std::vector<Score> scores = panel.judge->score(kPrompt, kTwo);
  REQUIRE(scores.size() == 2);
  CHECK(scores[0].overall == 8);
  CHECK(scores[1].overall == 4);
  const Verdict verdict = panel.judge->compare(kPrompt, kTwo[0], kTwo[1]);
  CHECK(verdict.winner == Verdict::Winner::first);
  CHECK(verdict.detail == "votes: j0 first j1 second j2 first");
  CHECK(panel.judge->compare(kPrompt, kTwo[1], kTwo[0]).winner == Verdict::Winner::second);
}

TEST_CASE("abstentions do not vote, and below the quorum there is no opinion") {
  Panel two_of_three({saying(9, 3), saying(0, 0, Status::refused), saying(2, 8)});
  CHECK(two_of_three.judge->score(kPrompt, kTwo)[0].overall == 5.5);
  CHECK(two_of_three.judge->compare(kPrompt, kTwo[0], kTwo[1]).winner == Verdict::Winner::tie);
  Panel one_of_three({saying(9, 3), saying(0, 0, Status::refused), saying(0, 0, Status::unparsed)});
  const Score score = one_of_three.judge->score(kPrompt, kTwo)[0];
  CHECK(score.status == Status::refused);
  CHECK(score.criteria.empty());
  CHECK(one_of_three.judge->compare(kPrompt, kTwo[0], kTwo[1]).status == Status::refused);
  Panel with_less({saying(9, 3), saying(0, 0, Status::refused), saying(0, 0, Status::unparsed)},
                  {{"quorum", value_of(1)}});
  CHECK(with_less.judge->score(kPrompt, kTwo)[0].overall == 9);
  CHECK_THROWS_AS(Panel({saying(1, 2)}, {{"quorum", value_of(2)}}), ConfigError);
}
