// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "core/data/records.hpp"
#include "core/stages/evaluation.hpp"
#include "core/stages/stages.hpp"
#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"

namespace dt2it {
namespace {

struct EvaluateParams {
  std::string reward_model;
  std::vector<std::string> benchmarks;

  static void describe(Schema<EvaluateParams>& schema) {
    schema.component<RewardModel>("reward_model", &EvaluateParams::reward_model, "Reward model to judge.")
        .required();
    schema.component<Benchmark>("benchmarks", &EvaluateParams::benchmarks, "Benchmarks to run.").required();
  }
};

void run(const EvaluateParams& params, StageRun& stage) {
  const auto model = stage.context().component<RewardModel>(params.reward_model);
  LineWriter out(stage.output / "outcomes.jsonl");
  JsonWriter metrics;
  metrics.begin_object();
  std::vector<std::vector<PreferencePair>> items;  // of all benchmarks: the whole is known before the work begins
  std::size_t total = 0;
  for (const std::string& name : params.benchmarks) {
    stage.check_stop();
    total += items.emplace_back(read_items(*stage.context().component<Benchmark>(name))).size();
  }
  stage.progress->set_total(total);
  for (std::size_t i = 0; i < params.benchmarks.size(); ++i) {
    const std::string& name = params.benchmarks[i];
    const auto benchmark = stage.context().component<Benchmark>(name);
    const Evaluation evaluation =
        evaluate_benchmark(*benchmark, std::move(items[i]), *model, stage.context(), [&](std::size_t done) {
          stage.check_stop();
          stage.progress->add(done);
        });
    for (const Outcome& outcome : evaluation.outcomes) {
      JsonWriter line;
      line.begin_object().key("benchmark").value(name);
      line.key("outcome").raw(to_json(outcome)).end_object();
      out.write(line.text());
    }
    metrics.key(name).begin_object();
    metrics.key("model").value(params.reward_model);
    metrics.key("edition").value(evaluation.edition);
    metrics.key("absent_media").value(static_cast<std::int64_t>(evaluation.absent_media));
    metrics.key("metrics").begin_array();
    for (const Metric& metric : evaluation.metrics) metrics.raw(to_json(metric));
    metrics.end_array().end_object();
  }
  metrics.end_object();
  out.close();
  write_file_atomically(stage.output / "metrics.json", metrics.text() + "\n");
}

}  // namespace

StageType evaluate_stage() {
  return make_stage<EvaluateParams>("evaluate", "Scores benchmarks with a reward model.", "1", run);
}

}  // namespace dt2it
