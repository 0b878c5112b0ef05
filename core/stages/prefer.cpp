// SPDX-License-Identifier: Apache-2.0
// Pairs of the answers with the highest and the lowest reward (for offline reinforcement learning, Table 6; paper section 4.5).
#include <fmt/format.h>

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/answer_grades.hpp"
#include "core/stages/answering.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
#include "core/util/json_scan.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

struct PreferParams {
  std::string candidates;
  std::string rewards;
  double min_gap = 0;

  static void describe(Schema<PreferParams>& schema) {
    schema
        .component<StageInputs>("candidates", &PreferParams::candidates,
                                "Stage that drew the candidates.")
        .required();
    schema
        .component<StageInputs>("rewards", &PreferParams::rewards,
                                "Stage of type reward that looked at them.")
        .required();
    schema
        .field("min_gap", &PreferParams::min_gap,
               "The best must be ahead of the worst by more than this.")
        .min(0);
  }
};

// Whose rewards they are, line by line; empty where a line does not say.
std::vector<std::string> ids_of_rewards(const fs::path& file) {
  std::vector<std::string> ids;
  JsonLineReader lines(file);
  for (JsonRef line; lines.next(line);) {
    const auto id = line.member("id");
    ids.push_back(id && id->element.is_string() ? unescape_json_string(id->raw) : std::string());
  }
  return ids;
}

void prefer(const PreferParams& params, StageRun& stage) {
  const CandidateFile sets(stage.input(params.candidates) / layout::kCandidates);
  const fs::path rewards_file = stage.input(params.rewards) / layout::kRewards;
  const auto rewards = read_rewards(rewards_file);
  const std::vector<std::string> ids = ids_of_rewards(rewards_file);
  if (rewards.size() != sets.size())
    throw DataError(fmt::format("stage '{}' has rewards of {} prompts, stage '{}' candidates of {}",
                                params.rewards, rewards.size(), params.candidates, sets.size()));
  LineWriter out(stage.output / layout::kPairs);
  std::size_t kept = 0, few = 0, equal = 0, close = 0;
  stage.progress->set_total(sets.size());
  for (std::size_t row = 0; row < sets.size(); ++row) {
    stage.check_stop();
    CandidateSet set = sets.read(row);
    if (ids[row] != set.prompt.id || rewards[row].size() != set.candidates.size())
      throw DataError(
          fmt::format("stage '{}' has rewards of other candidates than those of stage '{}': row {} "
                      "is {} rewards for prompt '{}' there, {} candidates of prompt '{}' here",
                      params.rewards, params.candidates, row, rewards[row].size(), ids[row],
                      set.candidates.size(), set.prompt.id));
    std::vector<double> up, down;
    std::size_t known = 0;
    for (const Reward& one : rewards[row]) {
      up.push_back(one.ok() ? one.value : std::numeric_limits<double>::quiet_NaN());
      down.push_back(-up.back());
      known += one.ok();
    }
    const std::size_t best = pick_best(up), worst = pick_best(down);
    stage.progress->add(1);
    if (known < 2) {
      ++few;
    } else if (set.candidates[best].text == set.candidates[worst].text) {
      ++equal;
    } else if (!(up[best] - up[worst] > params.min_gap)) {
      ++close;
    } else {
      PreferencePair pair;
      pair.id = fmt::format("{}/{}", row, set.prompt.id);
      pair.chosen = std::move(set.candidates[best]);
      pair.rejected = std::move(set.candidates[worst]);
      pair.group = set.prompt.domain;
      pair.prompt = std::move(set.prompt);
      pair.source = "best_worst";
      pair.strength = up[best] - up[worst];
      out.write(to_json(pair));
      ++kept;
    }
  }
  out.close();
  Funnel funnel;
  funnel.step("prompts", sets.size());
  funnel.step("pairs of best and worst", kept);
  funnel.drop("fewer than two rewards", few);
  funnel.drop("best and worst say the same", equal);
  funnel.drop("rewards equal or within min_gap", close);
  funnel.write(stage.output);
}

}  // namespace

StageType prefer_stage() {
  return make_stage<PreferParams>("prefer",
                                  "Makes a pair of the candidate with the highest and that with "
                                  "the lowest reward of each prompt (paper section 4.5).",
                                  "1", prefer);
}

VolumeOutput prefer_volume(VolumeForecast& forecast) {
  VolumeOutput output;
  output.pairs = forecast.input(forecast.params<PreferParams>().candidates).prompts;
  forecast.makes(output.pairs, 2 * forecast.fact("bytes_per_record"), "pairs");
  return output;
}

}  // namespace dt2it
