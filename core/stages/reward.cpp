// SPDX-License-Identifier: Apache-2.0
// What a reward model says of each of several answers to a prompt (for best of n, Table 5, and pairs of the best and the worst,
// Table 6; paper section 4.5).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/answer_grades.hpp"
#include "core/stages/answering.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
#include "core/util/journal.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

struct RewardParams {
  std::string candidates;
  std::string reward_model;

  static void describe(Schema<RewardParams>& schema) {
    schema
        .component<StageInputs>("candidates", &RewardParams::candidates,
                                "Stage whose candidates or answers get rewards.")
        .required();
    schema
        .component<RewardModel>("reward_model", &RewardParams::reward_model, "Reward model to ask.")
        .required();
  }
};

struct Batch {
  std::vector<std::string> lines;  // of rewards.jsonl, one for each row
  std::size_t unanswered = 0;      // rows for which the model was out of reach
};

// Rewards of the candidates of `rows`, asked for together.
Batch reward_lines(const CandidateFile& sets, std::span<const std::size_t> rows,
                   RewardModel& model) {
  std::vector<CandidateSet> read(rows.size());
  std::vector<Prompt> prompts(rows.size());
  std::vector<std::vector<Response>> shown(rows.size());
  std::vector<std::vector<std::size_t>> places(rows.size());
  std::vector<RewardRequest> requests;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    read[i] = sets.read(rows[i]);
    prompts[i] = without_extra(read[i].prompt);
    for (std::size_t k = 0; k < read[i].candidates.size(); ++k) {
      if (!is_answer(read[i].candidates[k])) continue;
      Response response;  // the text alone: who wrote it and why is not the model's business
      response.id = fmt::format("{}", k);
      response.text = read[i].candidates[k].text;
      shown[i].push_back(std::move(response));
      places[i].push_back(k);
    }
    if (!shown[i].empty()) requests.push_back({&prompts[i], shown[i], rows[i], places[i]});
  }
  const auto given = model.rewards(requests);
  if (given.size() != requests.size())
    throw PluginError(
        fmt::format("the reward model answered {} of {} requests", given.size(), requests.size()));
  Batch batch;
  std::size_t at = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::vector<Reward> rewards(read[i].candidates.size());
    for (std::size_t k = 0; k < rewards.size(); ++k)
      rewards[k] = {read[i].candidates[k].status, std::numeric_limits<double>::quiet_NaN(),
                    "there is no answer"};
    if (!shown[i].empty()) {
      if (given[at].size() != shown[i].size())
        throw PluginError(fmt::format("the reward model gave {} rewards for {} responses",
                                      given[at].size(), shown[i].size()));
      batch.unanswered += std::ranges::any_of(
          given[at], [](const Reward& one) { return one.status == Status::unavailable; });
      for (std::size_t j = 0; j < places[i].size(); ++j) {
        rewards[places[i][j]] = given[at][j];
        if (given[at][j].ok() && !std::isfinite(given[at][j].value))
          rewards[places[i][j]] = {Status::invalid, given[at][j].value,
                                   "the reward is no finite number"};
      }
      ++at;
    }
    for (Reward& one : rewards)
      if (one.status == Status::ok && std::isnan(one.value)) one.status = Status::unparsed;
    batch.lines.push_back(rewards_line(read[i].prompt.id, rewards));
  }
  return batch;
}

void reward(const RewardParams& params, StageRun& stage) {
  const CandidateFile sets(stage.input(params.candidates) / layout::kCandidates);
  const auto model = stage.context().component<RewardModel>(params.reward_model);
  Journal journal(stage.work / "rewards.journal");  // what an interrupted run goes on from
  stage.progress->set_total(sets.size());
  // The model sees the same rows together whatever was there before a kill, so that rewards are the same to the last bit: a batch
  // of which some rows are there is asked for again whole.
  const std::size_t batch = std::max<std::size_t>(1, model->batch_size());
  std::vector<std::size_t> rows;
  std::size_t unanswered = 0;
  for (std::size_t first = 0; first < sets.size(); first += rows.size()) {
    rows.resize(std::min(batch, sets.size() - first));
    std::iota(rows.begin(), rows.end(), first);
    const bool there =
        std::ranges::all_of(rows, [&](std::size_t row) { return journal.contains(row); });
    if (!there) {
      stage.check_stop();
      const Batch batch = reward_lines(sets, rows, *model);
      unanswered += batch.unanswered;
      if (batch.unanswered > 0 && !stage.keep_unanswered) continue;  // the next run asks again
      for (std::size_t i = 0; i < rows.size(); ++i) journal.append(rows[i], batch.lines[i]);
    }
    stage.progress->add(rows.size());
  }
  stage.end_unanswered(unanswered, sets.size(), "prompts");
  model->finish(sets.size());
  const fs::path file = stage.output / layout::kRewards;
  LineWriter out(file);
  for (std::size_t row = 0; row < sets.size(); ++row) out.write(journal.read(row));
  out.close();

  std::map<std::string, std::size_t> failed;
  std::size_t all = 0, good = 0;
  for (const auto& rewards : read_rewards(file))
    for (const Reward& one : rewards) {
      ++all;
      one.ok() ? ++good : ++failed[std::string(to_string(one.status))];
    }
  Funnel funnel;
  funnel.step("candidates", all);
  funnel.step("rewards", good);
  for (const auto& [reason, count] : failed) funnel.drop(reason, count);
  funnel.write(stage.output);
}

}  // namespace

StageType reward_stage() {
  return make_stage<RewardParams>("reward", "Gives every candidate of each prompt its reward.", "1",
                                  reward);
}

VolumeOutput reward_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<RewardParams>();
  const VolumeOutput& from = forecast.input(params.candidates);
  forecast.reward(params.reward_model, from.prompts,
                  from.prompts > 0 ? from.candidates / from.prompts : 0,
                  forecast.fact(from.questions > 0 ? "test_image_tokens" : "image_tokens"));
  forecast.makes(from.candidates, 60, "rewards");
  return from;
}

}  // namespace dt2it
