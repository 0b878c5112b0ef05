// SPDX-License-Identifier: Apache-2.0
// Well-behaved components pass their contract suite; [!shouldfail] cases break one rule each and must be
// caught by it.
#include "dt2it/testing/contracts.hpp"

#include <algorithm>
#include <atomic>
#include <fstream>

#include "dt2it/testing/fake_context.hpp"

namespace dt2it::testing {
namespace {

double length(const Prompt&, const Response& response) {
  return static_cast<double>(response.text.size());
}

Score short_is_bad(const Prompt&, const Response& response) {
  return ok_score(std::min(10.0, static_cast<double>(response.text.size())));
}

std::vector<Response> candidates() {
  return {sample_response("a", "Red."), sample_response("b", "It is red."),
          sample_response("c", "Blue")};
}

std::vector<PreferencePair> pairs() {
  return {sample_pair("1", "What colour?", "Red, I think.", "Blue."),
          sample_pair("2", "How many?", "Two.", "Three rings.")};
}

class KeepAll : public Curator {
 public:
  std::vector<Decision> review(std::span<const PreferencePair> pairs) override {
    std::vector<Decision> decisions(pairs.size());
    for (Decision& decision : decisions) {
      decision.action = Decision::Action::keep;
      decision.reason = "kept by the test";
    }
    return decisions;
  }
};

class TwoGroups : public Benchmark {
 public:
  std::unique_ptr<Stream<PreferencePair>> items() override {
    std::vector<PreferencePair> all = pairs();
    all[0].group = "x";
    all[1].group = "y";
    return std::make_unique<VectorStream<PreferencePair>>(all);
  }
  std::vector<Metric> summarise(std::span<const Outcome> outcomes) override {
    std::int64_t right = 0;
    for (const Outcome& outcome : outcomes) right += is_right(outcome);
    const auto total = static_cast<std::int64_t>(outcomes.size());
    return {{"overall_accuracy",
             total ? static_cast<double>(right) / static_cast<double>(total) : 0, right, total}};
  }
  std::string edition(std::span<const Outcome> outcomes) override {
    return std::to_string(outcomes.size()) + " rows";
  }

 protected:
  virtual bool is_right(const Outcome& outcome) { return outcome.correct(); }
};

class Prompts : public Dataset {
 public:
  std::unique_ptr<Stream<Prompt>> prompts() override {
    return std::make_unique<VectorStream<Prompt>>(
        std::vector{sample_prompt("1", "What colour?"), sample_prompt("2", "How many?")});
  }
};

class AddOne : public DiversityStrategy {
 public:
  std::vector<Response> extend(const Prompt&, std::span<const Response> candidates,
                               std::span<const Score> scores) override {
    for (const Score& score : scores)
      if (!score.ok() || score.overall < 5) return {};
    Response worse = sample_response("worse-" + candidates[0].id, "Perhaps.");
    worse.origin = "noised";
    return {worse};
  }
};

class SideBySide : public Reformulator {
 public:
  PreferencePair reformulate(const ImagePreference& preference) override {
    const bool first = stable_hash(preference.id) % 2;
    PreferencePair pair =
        sample_pair(preference.id, preference.text, first ? "The first." : "The second.",
                    first ? "The second." : "The first.");
    pair.prompt = sample_prompt(preference.id, preference.text,
                                {first ? preference.better : preference.worse,
                                 first ? preference.worse : preference.better});
    pair.source = preference.source;
    return pair;
  }
};

// Writes how many pairs it has seen; may stop between two of them.
class CountingTrainer : public Trainer {
 public:
  bool train(const TrainRequest& request) override {
    std::int64_t step = 0;
    std::ifstream(request.state / "step") >> step;
    const auto total = static_cast<std::int64_t>(request.pair_count) * 3;
    while (step < total) {
      if (request.stop_requested()) {
        std::ofstream(request.state / "step") << step;
        return false;
      }
      TrainStep now;
      now.step = ++step;
      now.total_steps = total;
      request.on_step(now);
    }
    std::ofstream(request.output / "model") << request.seed << ' ' << step;
    return true;
  }
};

ImagePreference image_preference(FakeContext& context) {
  ImagePreference preference;
  preference.id = "p";
  preference.text = "A red ring.";
  preference.better = context.media().put_image(sample_image(8, 8, 1), "");
  preference.worse = context.media().put_image(sample_image(8, 8, 2), "");
  preference.source = "t2i";
  return preference;
}

}  // namespace

TEST_CASE("Well-behaved components pass") {
  FakeContext context;
  const Prompt prompt = sample_prompt("p", "What colour?");
  SECTION("mllm") {
    FakeMllm mllm([](const ChatRequest& request) {
      ChatReply reply;
      reply.status = request.messages.empty() ? Status::invalid : Status::ok;
      reply.text = "Red.";
      reply.finish_reason = "stop";
      return reply;
    });
    ChatRequest request;
    request.messages = prompt.messages;
    check_mllm_contract(mllm, request);
  }
  SECTION("judge") {
    FakeJudge judge(short_is_bad);
    check_judge_contract(judge, prompt, candidates());
  }
  SECTION("scorer") {
    FakeScorer scorer(short_is_bad);
    check_scorer_contract(scorer, prompt, candidates(), {.order_independent = true});
  }
  SECTION("diversity") {
    AddOne strategy;
    check_diversity_contract(strategy, prompt, candidates());
  }
  SECTION("reward model") {
    FakeRewardModel model(length);
    check_reward_model_contract(model, pairs());
  }
  SECTION("curator") {
    KeepAll curator;
    check_curator_contract(curator, pairs());
  }
  SECTION("benchmark") {
    TwoGroups benchmark;
    check_benchmark_contract(benchmark, context);
  }
  SECTION("dataset") {
    Prompts dataset;
    check_dataset_contract(dataset, context);
  }
  SECTION("reformulator") {
    SideBySide reformulator;
    check_reformulator_contract(reformulator, image_preference(context), context);
  }
  SECTION("trainer") {
    CountingTrainer trainer;
    check_trainer_contract(trainer, pairs(), context.scratch());
  }
}

TEST_CASE("A score out of range is caught", "[!shouldfail]") {
  FakeScorer scorer([](const Prompt&, const Response&) { return ok_score(11); });
  check_scorer_contract(scorer, sample_prompt("p", "?"), candidates());
}

TEST_CASE("A failure without a reason is caught", "[!shouldfail]") {
  FakeJudge judge([](const Prompt&, const Response&) { return Score{}; });
  check_judge_contract(judge, sample_prompt("p", "?"), candidates());
}

TEST_CASE("A scorer that is not deterministic is caught", "[!shouldfail]") {
  std::atomic<int> calls = 0;
  FakeScorer scorer([&](const Prompt&, const Response&) { return ok_score(calls++ % 7); });
  check_scorer_contract(scorer, sample_prompt("p", "?"), candidates());
}

TEST_CASE("A pointwise scorer that looks at the position is caught", "[!shouldfail]") {
  struct FirstIsBest : Scorer {
    std::vector<Score> score(const Prompt&, std::span<const Response> all) override {
      std::vector<Score> scores;
      for (std::size_t i = 0; i < all.size(); ++i) scores.push_back(ok_score(i ? 1 : 9));
      return scores;
    }
  } scorer;
  check_scorer_contract(scorer, sample_prompt("p", "?"), candidates(), {.order_independent = true});
}

TEST_CASE("An mllm that throws is caught", "[!shouldfail]") {
  FakeMllm mllm([](const ChatRequest& request) -> ChatReply {
    if (request.messages.empty()) throw DataError("no messages");
    return {Status::ok, "x", "stop", "", "", {}};
  });
  ChatRequest request;
  request.messages = sample_prompt("p", "?").messages;
  check_mllm_contract(mllm, request);
}

TEST_CASE("A reward model that reads the row is caught", "[!shouldfail]") {
  struct ByRow : RewardModel {
    std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
      std::vector<std::vector<Reward>> all;
      for (const RewardRequest& request : requests)
        all.emplace_back(request.responses.size(),
                         Reward{Status::ok, static_cast<double>(request.row)});
      return all;
    }
  } model;
  check_reward_model_contract(model, pairs());
}

TEST_CASE("A reward model that knows the original order is caught", "[!shouldfail]") {
  struct Cheat : RewardModel {
    std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
      std::vector<std::vector<Reward>> all;
      for (const RewardRequest& request : requests) {
        auto& row = all.emplace_back();
        for (std::size_t index : request.original_index)
          row.push_back({Status::ok, index ? 0.0 : 1.0});
      }
      return all;
    }
  } model;
  check_reward_model_contract(model, pairs());
}

TEST_CASE("A curator without reasons is caught", "[!shouldfail]") {
  struct Silent : KeepAll {
    std::vector<Decision> review(std::span<const PreferencePair> all) override {
      return std::vector<Decision>(all.size());
    }
  } curator;
  check_curator_contract(curator, pairs());
}

TEST_CASE("A curator that drops a pair is caught", "[!shouldfail]") {
  struct Drops : KeepAll {
    std::vector<Decision> review(std::span<const PreferencePair> all) override {
      return KeepAll::review(all.empty() ? all : all.first(all.size() - 1));
    }
  } curator;
  check_curator_contract(curator, pairs());
}

TEST_CASE("A benchmark that counts ties as right is caught", "[!shouldfail]") {
  struct Generous : TwoGroups {
    bool is_right(const Outcome& outcome) override {
      return outcome.chosen_reward >= outcome.rejected_reward;
    }
  } benchmark;
  FakeContext context;
  check_benchmark_contract(benchmark, context);
}

TEST_CASE("A data set that does not start again is caught", "[!shouldfail]") {
  struct Once : Dataset {
    int call = 0;
    std::unique_ptr<Stream<Prompt>> prompts() override {
      return std::make_unique<VectorStream<Prompt>>(
          std::vector{sample_prompt(std::to_string(call++), "?")});
    }
  } dataset;
  FakeContext context;
  check_dataset_contract(dataset, context);
}

TEST_CASE("A data set that offers nothing is caught", "[!shouldfail]") {
  Dataset dataset;
  FakeContext context;
  check_dataset_contract(dataset, context);
}

TEST_CASE("A reformulator that always shows the better picture first is caught", "[!shouldfail]") {
  struct Leaky : SideBySide {
    PreferencePair reformulate(const ImagePreference& preference) override {
      PreferencePair pair =
          sample_pair(preference.id, preference.text, "The first.", "The second.");
      pair.prompt =
          sample_prompt(preference.id, preference.text, {preference.better, preference.worse});
      pair.source = preference.source;
      return pair;
    }
  } reformulator;
  FakeContext context;
  check_reformulator_contract(reformulator, image_preference(context), context);
}

TEST_CASE("A strategy that gives old candidates back is caught", "[!shouldfail]") {
  struct Echo : DiversityStrategy {
    std::vector<Response> extend(const Prompt&, std::span<const Response> all,
                                 std::span<const Score>) override {
      return {all.begin(), all.end()};
    }
  } strategy;
  check_diversity_contract(strategy, sample_prompt("p", "?"), candidates());
}

TEST_CASE("A trainer that leaves half a checkpoint behind is caught", "[!shouldfail]") {
  struct Untidy : CountingTrainer {
    bool train(const TrainRequest& request) override {
      const bool complete = CountingTrainer::train(request);
      if (!complete) std::ofstream(request.output / "half") << "left over";
      return complete;
    }
  } trainer;
  FakeContext context;
  check_trainer_contract(trainer, pairs(), context.scratch());
}

}  // namespace dt2it::testing
