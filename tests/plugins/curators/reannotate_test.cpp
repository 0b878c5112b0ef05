// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <boost/json/src.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dt2it/curator.hpp"
#include "dt2it/error.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using Action = Decision::Action;
using Winner = Verdict::Winner;

namespace {

Verdict verdict(Winner winner) {
  Verdict made;
  made.status = Status::ok;
  made.winner = winner;
  return made;
}
Verdict failure(Status status) {
  Verdict made;
  made.status = status;
  return made;
}

struct VotingJudge final : Judge {
  using Vote = std::function<Verdict(const Response& first, const Response& second)>;
  explicit VotingJudge(Vote given) : vote(std::move(given)) {}
  Vote vote;
  std::vector<Score> score(const Prompt&, std::span<const Response>) override { return {}; }
  Verdict compare(const Prompt&, const Response& first, const Response& second) override {
    return vote(first, second);
  }
};

// Votes by the id of the response: "chosen" or "rejected" of the label.
VotingJudge::Vote prefers(const std::string& id) {
  return [id](const Response& first, const Response&) {
    return verdict(first.id == id ? Winner::first : Winner::second);
  };
}
Verdict always_first(const Response&, const Response&) { return verdict(Winner::first); }
Verdict always_tie(const Response&, const Response&) { return verdict(Winner::tie); }

struct Bench {
  FakeContext context;
  std::shared_ptr<Curator> curator;
  explicit Bench(std::vector<VotingJudge::Vote> votes, Table params) {
    List list;
    for (std::size_t j = 0; j < votes.size(); ++j) {
      const std::string name = "judge" + std::to_string(j);
      context.add<Judge>(name, std::make_shared<VotingJudge>(votes[j]));
      list.push_back(value_of(name));
    }
    params.emplace("judges", Value{list});
    curator = PluginLibrary("curators/reannotate").make<Curator>("reannotate", params, context);
  }
  Decision one() {
    const std::vector<PreferencePair> pairs{sample_pair("p", "?", "a", "b")};
    const std::vector<Decision> decisions = curator->review(pairs);
    REQUIRE(decisions.size() == 1);
    return decisions[0];
  }
};

}  // namespace

TEST_CASE("a strict majority keeps or flips and settles") {
  const Decision keep = Bench({prefers("chosen"), always_first}, {}).one();
  CHECK(keep.action == Action::keep);
  CHECK(keep.settled);
  CHECK(keep.votes_chosen == 3.0);
  CHECK(keep.votes_rejected == 1.0);
  CHECK(keep.reason == "3 votes to 1 for the label");

  const Decision flip = Bench({prefers("rejected"), always_tie}, {}).one();
  CHECK(flip.action == Action::flip);
  CHECK(flip.settled);
  CHECK(flip.votes_chosen == 1.0);
  CHECK(flip.votes_rejected == 3.0);
}

TEST_CASE("equal totals are discarded as a tie") {
  for (const auto& votes : {std::vector<VotingJudge::Vote>{always_first},
                            {always_tie},
                            {prefers("chosen"), prefers("rejected")}}) {
    const Decision decision = Bench(votes, {}).one();
    CHECK(decision.action == Action::discard);
    CHECK(decision.settled);
    CHECK(decision.reason == "tie");
  }
}

TEST_CASE("a failed comparison gives no vote and is counted") {
  const auto half = [](const Response& first, const Response& second) {
    return first.id == "chosen" ? failure(Status::unparsed) : prefers("rejected")(first, second);
  };
  const Decision decision = Bench({half}, {}).one();
  CHECK(decision.action == Action::flip);
  CHECK(decision.votes_rejected == 1.0);
  const boost::json::value detail = boost::json::parse(decision.detail);
  CHECK(detail.at("comparisons").as_int64() == 2);
  CHECK(detail.at("failed").as_int64() == 1);
  CHECK(detail.at("verdicts").at(0).at("status").as_string() == "unparsed");
  CHECK(detail.at("verdicts").at(0).at("shown_first").as_string() == "chosen");
  CHECK(detail.at("verdicts").at(1).at("better").as_string() == "rejected");
  CHECK(detail.at("verdicts").at(1).at("judge").as_string() == "judge0");

  const Decision none =
      Bench({[](const Response&, const Response&) { return failure(Status::refused); }}, {}).one();
  CHECK(none.action == Action::undecided);
  CHECK_FALSE(none.settled);
  CHECK(none.reason == "no comparison succeeded");
}

TEST_CASE("a number of votes can be demanded") {
  const auto flaky = [](const Response& first, const Response& second) {
    return first.id == "chosen" ? failure(Status::unavailable) : prefers("chosen")(first, second);
  };
  const Table four{{"expected_votes", value_of(4.0)}};
  CHECK(Bench({prefers("chosen"), prefers("chosen")}, four).one().action == Action::keep);
  const Decision dropped = Bench({prefers("chosen"), flaky}, four).one();
  CHECK(dropped.action == Action::discard);
  CHECK(dropped.reason == "3 votes instead of 4");
}

TEST_CASE("with one order it is drawn per pair and judge, the same each time") {
  const Table once{{"both_orders", value_of(false)}};
  std::vector<PreferencePair> pairs;
  for (int i = 0; i < 60; ++i) pairs.push_back(sample_pair("p" + std::to_string(i), "?", "a", "b"));
  Bench bench({always_first}, once), again({always_first}, once);
  int kept = 0;
  const std::vector<Decision> decisions = bench.curator->review(pairs),
                              same = again.curator->review(pairs);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    kept += decisions[i].action == Action::keep;
    CHECK(decisions[i].action == same[i].action);
    CHECK(*decisions[i].votes_chosen + *decisions[i].votes_rejected == 1);
  }
  CHECK(kept > 15);
  CHECK(kept < 45);
}

TEST_CASE("Omni-Reward's form is left alone, and pairs keep their order among threads") {
  std::vector<PreferencePair> pairs;
  for (int i = 0; i < 50; ++i) {
    pairs.push_back(
        sample_pair("p" + std::to_string(i), "?", i % 3 == 0 ? "right" : "wrong", "other"));
    if (i % 7 == 0) pairs.back().rejected_prompt = sample_prompt("other", "?");
  }
  Bench bench({[](const Response& first, const Response& second) {
                if (first.text == "right") return verdict(Winner::first);
                if (second.text == "right") return verdict(Winner::second);
                return verdict(first.id == "rejected" ? Winner::first : Winner::second);
              }},
              {});
  const std::vector<Decision> decisions = bench.curator->review(pairs);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    INFO(i);
    if (i % 7 == 0) {
      CHECK(decisions[i].action == Action::undecided);
      CHECK(decisions[i].reason == "the two responses answer different prompts");
    } else {
      CHECK(decisions[i].action == (i % 3 == 0 ? Action::keep : Action::flip));
    }
  }
}

TEST_CASE("comparisons run side by side, but not more than allowed") {
  std::atomic<int> now{0}, most{0};
  const auto slow = [&](const Response& first, const Response& second) {
    const int running = ++now;
    int seen = most;
    while (seen < running && !most.compare_exchange_weak(seen, running)) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    --now;
    return prefers("chosen")(first, second);
  };
  Bench bench({slow}, {{"concurrency", value_of(4)}});
  std::vector<PreferencePair> pairs;
  for (int i = 0; i < 12; ++i) pairs.push_back(sample_pair("p" + std::to_string(i), "?", "a", "b"));
  (void)bench.curator->review(pairs);
  CHECK(most > 1);
  CHECK(most <= 4);
}

TEST_CASE("a judge that throws ends the review with its error") {
  Bench bench({[](const Response&, const Response&) -> Verdict {
                throw ModelError("the endpoint is gone");
              }},
              {});
  std::vector<PreferencePair> pairs;
  for (int i = 0; i < 20; ++i) pairs.push_back(sample_pair("p" + std::to_string(i), "?", "a", "b"));
  CHECK_THROWS_WITH(bench.curator->review(pairs), "the endpoint is gone");
}

TEST_CASE("it needs judges") { CHECK_THROWS_AS(Bench({}, {}), ConfigError); }

TEST_CASE("reannotate keeps the contract of curators") {
  std::vector<PreferencePair> pairs;
  for (int i = 0; i < 8; ++i)
    pairs.push_back(sample_pair("p" + std::to_string(i), "?", i % 2 == 0 ? "a" : "bb", "b"));
  pairs[3].rejected_prompt = sample_prompt("other", "?");
  const auto longer = [](const Response& first, const Response& second) {
    return verdict(first.text.size() > second.text.size()   ? Winner::first
                   : first.text.size() < second.text.size() ? Winner::second
                                                            : Winner::tie);
  };
  check_curator_contract(*Bench({longer, prefers("chosen")}, {}).curator, pairs);
  check_curator_contract(*Bench({always_first}, {{"both_orders", value_of(false)}}).curator, pairs);
}
