// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <optional>

#include "core/data/records.hpp"
#include "core/stages/evaluation.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/style.hpp"
#include "core/stages/verdicts.hpp"
#include "core/util/files.hpp"
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
        .choices({"official", "lmms", "vlmeval", "strict"});
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
        .value(text->size())
        .key("marks")
        .value(markdown_marks(*text))
        .end_object();
  line.end_object().key("pair").raw(to_json(pair)).end_object();
  return line.text();
}

void write_metrics(JsonWriter& json, const std::vector<Metric>& metrics) {
  json.begin_array();
  for (const Metric& metric : metrics) json.raw(to_json(metric));
  json.end_array();
}

void run(const EvaluateParams& params, StageRun& stage) {
  const auto model = stage.context().component<RewardModel>(params.reward_model);
  LineWriter out(stage.output / "outcomes.jsonl");
  LineWriter item_lines(stage.output / "items.jsonl");
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
    const Evaluation evaluation = evaluate_benchmark(
        *benchmark, std::move(items[i]), *model, stage.context(),
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
      if (!verdicts) verdicts.emplace(stage.output / "verdicts.jsonl");
      verdicts->write(to_json(item, name));
    }
    metrics.key(name).begin_object();
    metrics.key("model").value(params.reward_model);
    metrics.key("edition").value(evaluation.edition);
    metrics.key("absent_media").value(static_cast<std::int64_t>(evaluation.absent_media));
    if (params.pictures != "own")
      metrics.key("pictures").value(params.pictures).key("changed_pictures").value(changed);
    if (!evaluation.convention.empty()) metrics.key("convention").value(evaluation.convention);
    metrics.key("metrics");
    write_metrics(metrics, evaluation.metrics);
    if (!evaluation.by_convention.empty()) {
      metrics.key("conventions").begin_object();
      for (const auto& [convention, figures] : evaluation.by_convention) {
        metrics.key(convention);
        write_metrics(metrics, figures);
      }
      metrics.end_object();
    }
    metrics.end_object();
  }
  metrics.end_object();
  stage.end_unanswered(unanswered, total, "items");
  out.close();
  item_lines.close();
  if (verdicts) verdicts->close();
  write_file_atomically(stage.output / "metrics.json", metrics.text() + "\n");
}

}  // namespace

StageType evaluate_stage() {
  return make_stage<EvaluateParams>("evaluate", "Scores benchmarks with a reward model or a judge.",
                                    "2", run);
}

}  // namespace dt2it
