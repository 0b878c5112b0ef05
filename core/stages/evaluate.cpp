// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/answer_grades.hpp"
#include "core/stages/evaluation.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/style.hpp"
#include "core/stages/verdicts.hpp"
#include "core/stages/volume_forecast.hpp"
#include "core/util/characters.hpp"
#include "core/util/files.hpp"
#include "core/util/journal.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"

namespace dt2it {
namespace {

struct EvaluateParams {
  std::string reward_model;
  std::vector<std::string> benchmarks;
  std::string convention = "official";
  std::string pictures = "own";

  static void describe(Schema<EvaluateParams>& schema) {
    schema
        .component<RewardModel>("reward_model", &EvaluateParams::reward_model,
                                "Reward model to judge.")
        .required();
    schema.component<Benchmark>("benchmarks", &EvaluateParams::benchmarks, "Benchmarks to run.")
        .required();
    schema
        .field("convention", &EvaluateParams::convention,
               "How verdicts of a generative judge are counted: as the suite's own script does, as "
               "lmms-eval or VLMEvalKit do, or "
               "strictly: a vote each, what cannot be read is wrong. \"strict\" where a suite has "
               "no such script. All are kept, "
               "this one comes first.")
        .choices({kConventions.begin(), kConventions.end()});
    schema
        .field("pictures", &EvaluateParams::pictures,
               "What the model sees instead of the items' own pictures, to tell whether it looks: "
               "blank (grey of the same size) or "
               "swapped (another item's).")
        .choices({"own", "blank", "swapped"});
  }
};

Pictures pictures_named(const std::string& name) {
  return name == "blank" ? Pictures::blank : name == "swapped" ? Pictures::swapped : Pictures::own;
}

// An item with what its responses look like: reports show items, and compare accuracies at equal length and style.
std::string item_line(const std::string& benchmark, const PreferencePair& pair) {
  JsonWriter line;
  line.begin_object().key("benchmark").value(benchmark);
  line.key("style").begin_object();
  for (const auto& [name, text] :
       {std::pair("chosen", &pair.chosen.text), std::pair("rejected", &pair.rejected.text)})
    line.key(name)
        .begin_object()
        .key("characters")
        .value(characters(*text))
        .key("marks")
        .value(markdown_marks(*text))
        .end_object();
  line.end_object().key("pair").raw(to_json(pair)).end_object();
  return line.text();
}

// A model whose rewards are kept, so that an evaluation that was killed goes on where it was. Those that are asked together are so
// whatever was there: rewards depend on it in their last bits.
class KeptRewards final : public RewardModel {
 public:
  KeptRewards(RewardModel& model, std::filesystem::path file, bool keep_unanswered)
      : model_(model), file_(std::move(file)), journal_(file_), keep_unanswered_(keep_unanswered) {}

  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    if (std::ranges::all_of(requests,
                            [&](const auto& request) { return journal_.contains(request.row); })) {
      std::vector<std::vector<Reward>> kept;
      for (const RewardRequest& request : requests)
        kept.push_back(rewards_of_line(journal_.read(request.row), file_.string()));
      return kept;
    }
    std::vector<std::vector<Reward>> given = model_.rewards(requests);
    for (std::size_t i = 0; i < std::min(given.size(), requests.size()); ++i) {
      bool answered = true;
      for (Reward& reward : given[i]) {
        if (reward.ok() && !std::isfinite(reward.value))
          reward = {Status::invalid, 0, "the reward is no finite number"};
        answered &= reward.status != Status::unavailable;
      }
      if (answered || keep_unanswered_)
        journal_.append(requests[i].row, rewards_line(requests[i].prompt->id, given[i]));
    }
    return given;
  }
  void finish(std::size_t rows) override { model_.finish(rows); }
  std::size_t batch_size() const override { return model_.batch_size(); }

 private:
  RewardModel& model_;
  const std::filesystem::path file_;
  Journal journal_;
  const bool keep_unanswered_;
};

bool gives_verdicts(RewardModel& model) {
  const auto* judge = dynamic_cast<VerdictModel*>(&model);
  return judge && judge->gives_verdicts();
}

void run(const EvaluateParams& params, StageRun& stage) {
  const auto model = stage.context().component<RewardModel>(params.reward_model);
  LineWriter out(stage.output / layout::kOutcomes);
  LineWriter item_lines(stage.output / layout::kItems);
  std::optional<LineWriter> verdicts;
  JsonWriter metrics;
  metrics.begin_object();
  std::vector<std::vector<PreferencePair>>
      items;  // of all benchmarks: the whole is known before the work begins
  std::size_t total = 0;
  for (const std::string& name : params.benchmarks) {
    stage.check_stop();
    total += items.emplace_back(read_items(*stage.context().component<Benchmark>(name))).size();
  }
  stage.progress->set_total(total);
  std::size_t unanswered = 0;
  for (std::size_t i = 0; i < params.benchmarks.size(); ++i) {
    const std::string& name = params.benchmarks[i];
    const auto benchmark = stage.context().component<Benchmark>(name);
    for (const PreferencePair& pair : items[i]) item_lines.write(item_line(name, pair));
    const std::size_t changed =
        change_pictures(items[i], pictures_named(params.pictures), stage.context());
    std::optional<KeptRewards> kept;  // what judges say is kept with their calls
    if (!gives_verdicts(*model))
      kept.emplace(*model, stage.work / ("rewards." + name + ".journal"), stage.keep_unanswered);
    const Evaluation evaluation = evaluate_benchmark(
        *benchmark, std::move(items[i]), kept ? *kept : *model, stage.context(),
        [&](std::size_t done) {
          stage.check_stop();
          stage.progress->add(done);
        },
        params.convention);
    for (const Outcome& outcome : evaluation.outcomes) {
      unanswered += outcome.status == Status::unavailable;
      JsonWriter line;
      line.begin_object().key("benchmark").value(name);
      line.key("outcome").raw(to_json(outcome)).end_object();
      out.write(line.text());
    }
    for (const JudgedItem& item : evaluation.judged) {
      if (!verdicts) verdicts.emplace(stage.output / layout::kVerdicts);
      verdicts->write(to_json(item, name));
    }
    metrics.key(name).begin_object();
    metrics.key("model").value(params.reward_model);
    metrics.key("edition").value(evaluation.edition);
    metrics.key("absent_media").value(static_cast<std::int64_t>(evaluation.absent_media));
    if (params.pictures != "own")
      metrics.key("pictures").value(params.pictures).key("changed_pictures").value(changed);
    write_figures(metrics, evaluation);
    metrics.end_object();
  }
  metrics.end_object();
  stage.end_unanswered(unanswered, total, "items");
  out.close();
  item_lines.close();
  if (verdicts) verdicts->close();
  write_file_atomically(stage.output / layout::kMetrics, metrics.text() + "\n");
}

}  // namespace

StageType evaluate_stage() {
  return make_stage<EvaluateParams>("evaluate", "Scores benchmarks with a reward model or a judge.",
                                    "2", run);
}

VolumeOutput evaluate_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<EvaluateParams>();
  double items = 0;
  for (const std::string& name : params.benchmarks) items += forecast.fact("benchmarks." + name);
  forecast.reward(params.reward_model, items, 2, forecast.fact("test_image_tokens"));
  forecast.makes(items, 300, "test pairs");
  return {};
}

}  // namespace dt2it
