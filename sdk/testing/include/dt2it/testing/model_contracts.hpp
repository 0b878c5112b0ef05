// SPDX-License-Identifier: Apache-2.0
#pragma once

// Contract suites: reward_models, trainers.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "dt2it/reward_model.hpp"
#include "dt2it/testing/contract_checks.hpp"
#include "dt2it/testing/fakes.hpp"
#include "dt2it/trainer.hpp"

namespace dt2it::testing {

struct RewardModelContract {
  bool looks_rewards_up = false;  // replay: may read row and original_index
  double tolerance = 1e-4;        // relative, for batching and order
};

inline void check_reward_model_contract(RewardModel& model,
                                        const std::vector<PreferencePair>& pairs,
                                        RewardModelContract options = {}) {
  REQUIRE(pairs.size() >= 2);
  const std::vector<PreferencePair> before = pairs;
  std::vector<std::vector<Response>> responses;
  for (const PreferencePair& pair : pairs) responses.push_back({pair.chosen, pair.rejected});
  const std::vector<std::size_t> forwards = {0, 1}, backwards = {1, 0};
  std::vector<RewardRequest> requests;
  for (std::size_t i = 0; i < pairs.size(); ++i)
    requests.push_back({&pairs[i].prompt, responses[i], i, forwards});

  const auto all = model.rewards(requests);
  REQUIRE(all.size() == requests.size());
  for (const auto& row : all) {
    REQUIRE(row.size() == 2);
    for (const Reward& reward : row)
      if (reward.ok()) CHECK(std::isfinite(reward.value));
  }
  CHECK(same(model.rewards(requests), all));
  CHECK(model.rewards({}).empty());
  CHECK(model.batch_size() > 0);

  const auto near = [&](const Reward& a, const Reward& b) {
    if (a.status != b.status) return false;
    return !a.ok() ||
           std::abs(a.value - b.value) <= options.tolerance * std::max(1.0, std::abs(a.value));
  };
  for (std::size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i);
    const auto alone = model.rewards(std::span(requests).subspan(i, 1));
    REQUIRE(alone.size() == 1);
    CHECK(near(alone[0][0], all[i][0]));
    CHECK(near(alone[0][1], all[i][1]));

    const std::vector<Response> swapped = {pairs[i].rejected, pairs[i].chosen};
    const RewardRequest other{&pairs[i].prompt, swapped, i, backwards};
    const auto reversed = model.rewards(std::span(&other, 1));
    REQUIRE(reversed.size() == 1);
    REQUIRE(reversed[0].size() == 2);
    CHECK(near(reversed[0][1], all[i][0]));
    CHECK(near(reversed[0][0], all[i][1]));

    if (!options.looks_rewards_up) {
      RewardRequest moved = requests[i];
      moved.row += 1000;
      moved.original_index = backwards;
      const auto rewards = model.rewards(std::span(&moved, 1));
      INFO("row and original_index must not be read");
      CHECK(same(rewards[0], alone[0]));
    }
  }
  CHECK((pairs == before));  // not taken apart: LibTorch declares operator<< for every vector
}

namespace detail {

inline std::map<std::string, std::string> files_below(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    files[std::filesystem::relative(entry.path(), folder).string()] =
        std::string{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  return files;
}

}  // namespace detail

struct TrainerContract {
  bool same_bytes = true;  // the same seed gives the same checkpoint, also after an interruption
  std::int64_t stop_after = 2;
};

// `folder` is an empty scratch folder. Trains twice: pick something small.
inline void check_trainer_contract(Trainer& trainer, const std::vector<PreferencePair>& pairs,
                                   const std::filesystem::path& folder,
                                   TrainerContract options = {}) {
  const auto request_for = [&](const char* name, std::vector<TrainStep>& steps) {
    TrainRequest request;
    if (!pairs.empty())
      request.pairs = [&pairs] { return std::make_unique<VectorStream<PreferencePair>>(pairs); };
    request.pair_count = pairs.size();
    request.output = folder / name / "output";
    request.state = folder / name / "state";
    std::filesystem::create_directories(request.output);
    std::filesystem::create_directories(request.state);
    request.seed = 11;
    request.on_step = [&steps](const TrainStep& step) { steps.push_back(step); };
    request.stop_requested = [] { return false; };
    return request;
  };
  std::vector<TrainStep> steps;
  const TrainRequest whole = request_for("whole", steps);
  REQUIRE(trainer.train(whole));
  REQUIRE_FALSE(steps.empty());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    CHECK(steps[i].step == static_cast<std::int64_t>(i) + 1);
    CHECK(steps[i].total_steps == static_cast<std::int64_t>(steps.size()));
    CHECK(std::isfinite(steps[i].loss));
    CHECK(steps[i].accuracy >= 0);
    CHECK(steps[i].accuracy <= 1);
  }
  const auto checkpoint = detail::files_below(whole.output);
  CHECK_FALSE(checkpoint.empty());

  std::vector<TrainStep> parts;
  TrainRequest broken = request_for("broken", parts);
  broken.stop_requested = [&] {
    return static_cast<std::int64_t>(parts.size()) >= options.stop_after;
  };
  const bool complete = trainer.train(broken);
  if (static_cast<std::int64_t>(steps.size()) > options.stop_after) CHECK_FALSE(complete);
  if (!complete) {
    INFO("a second call with the same state goes on to the end");
    broken.stop_requested = [] { return false; };
    REQUIRE(trainer.train(broken));
  }
  CHECK(parts.back().step == static_cast<std::int64_t>(steps.size()));
  if (options.same_bytes) {
    const auto resumed = detail::files_below(broken.output);
    REQUIRE(resumed.size() == checkpoint.size());
    for (const auto& [name, bytes] : checkpoint) {
      INFO("file " << name);
      const auto other = resumed.find(name);
      REQUIRE(other != resumed.end());
      CHECK(other->second == bytes);
    }
  }
}

}  // namespace dt2it::testing
