// SPDX-License-Identifier: Apache-2.0
#include "core/report/run_summary.hpp"

#include <set>

#include "core/report/json_read.hpp"
#include "core/run/layout.hpp"
#include "dt2it/error.hpp"

namespace dt2it::report {

namespace {

namespace fs = std::filesystem;
using simdjson::dom::element;

std::vector<FunnelStep> read_funnel(const fs::path& file) {
  simdjson::dom::parser parser;
  element root;
  std::vector<FunnelStep> funnel;
  if (!read_json(file, parser, root)) return funnel;
  each(root, "steps", [&](const element& item) {
    FunnelStep step{text_of(item, "name"), integer_of(item, "count"), {}};
    each_member(item, "dropped", [&](std::string_view reason, const element& count) {
      std::int64_t number = 0;
      if (!count.get(number) && number) step.dropped.emplace_back(reason, number);
    });
    funnel.push_back(std::move(step));
  });
  return funnel;
}

std::optional<StageCost> read_cost(const fs::path& file) {
  simdjson::dom::parser parser;
  element root;
  if (!read_json(file, parser, root)) return std::nullopt;
  StageCost cost{number_of(root, "seconds"),
                 integer_of(root, "calls"),
                 integer_of(root, "failures"),
                 integer_of(root, "prompt_tokens"),
                 integer_of(root, "completion_tokens"),
                 {}};
  each(root, "ledger", [&](const element& row) {
    cost.ledger.push_back({text_of(row, "mllm"), text_of(row, "endpoint"), text_of(row, "model"),
                           text_of(row, "purpose"), text_of(row, "statuses"),
                           integer_of(row, "calls"), integer_of(row, "paid"),
                           integer_of(row, "failed"), integer_of(row, "prompt_tokens"),
                           integer_of(row, "cached_tokens"), integer_of(row, "completion_tokens"),
                           integer_of(row, "usage_unknown"), number_of(row, "cost")});
  });
  return cost;
}

std::vector<Metric> metrics_of(const element& parent, std::string_view key) {
  std::vector<Metric> metrics;
  each(parent, key, [&](const element& item) {
    Metric metric{text_of(item, "name"), number_of(item, "value"), {}, {}};
    std::int64_t count = 0;
    if (!item["correct"].get(count)) metric.correct = count;
    if (!item["total"].get(count)) metric.total = count;
    metrics.push_back(std::move(metric));
  });
  return metrics;
}

std::vector<BenchmarkResult> read_metrics(const fs::path& file) {
  simdjson::dom::parser parser;
  element root;
  std::vector<BenchmarkResult> results;
  if (!read_json(file, parser, root)) return results;
  simdjson::dom::object benchmarks;
  if (root.get(benchmarks))
    throw DataError(file.string() + ": an object of benchmarks is expected");
  for (const auto& [name, value] : benchmarks) {
    BenchmarkResult result;
    result.name = std::string(name);
    result.edition = text_of(value, "edition");
    result.model = text_of(value, "model");
    result.absent_media = integer_of(value, "absent_media");
    result.metrics = metrics_of(value, "metrics");
    result.pictures = text_of(value, "pictures");
    result.convention = text_of(value, "convention");
    each_member(value, "conventions",
                [&, &all = value](std::string_view convention, const element&) {
                  result.by_convention.emplace_back(
                      convention, metrics_of(all["conventions"].value(), convention));
                });
    results.push_back(std::move(result));
  }
  return results;
}

LabelNoise read_noise(const fs::path& file, const std::string& stage) {
  simdjson::dom::parser parser;
  element root;
  LabelNoise noise{stage};
  if (!read_json(file, parser, root)) return noise;
  element all;
  if (root["all"].get(all)) all = root;
  noise.right = integer_of(all, "right");
  noise.wrong = integer_of(all, "wrong");
  noise.tie = integer_of(all, "tie");
  noise.unknown = integer_of(all, "unknown");
  each_member(root, "sources", [&](std::string_view name, const element& value) {
    noise.sources[std::string(name)] = {integer_of(value, "right"), integer_of(value, "wrong"),
                                        integer_of(value, "tie"), integer_of(value, "unknown")};
  });
  return noise;
}

TrainingCurve read_curve(const fs::path& file, const std::string& stage) {
  TrainingCurve curve{stage, {}};
  for_each_line(file, [&](std::size_t, const element& line) {
    TrainStep step;
    step.step = integer_of(line, "step");
    step.total_steps = integer_of(line, "total_steps");
    step.loss = number_of(line, "loss");
    step.accuracy = number_of(line, "accuracy");
    step.margin = number_of(line, "margin");
    step.learning_rate = number_of(line, "learning_rate");
    step.gradient_norm = number_of(line, "gradient_norm");
    step.tokens = integer_of(line, "tokens");
    step.pairs = integer_of(line, "pairs");
    step.chosen_reward = number_of(line, "chosen_reward");
    step.rejected_reward = number_of(line, "rejected_reward");
    each_member(line, "sources", [&](std::string_view name, const element& value) {
      step.sources.push_back(
          {std::string(name), integer_of(value, "pairs"), integer_of(value, "correct")});
    });
    element held_out;
    if (!line["held_out"].get(held_out))
      step.held_out = HeldOutResult{integer_of(held_out, "pairs"), number_of(held_out, "loss"),
                                    number_of(held_out, "accuracy"), number_of(held_out, "margin")};
    curve.steps.push_back(std::move(step));
  });
  const fs::path times = file.parent_path() / layout::kTiming;
  if (!fs::exists(times)) return curve;
  curve.timed = true;
  for_each_line(times, [&](std::size_t, const element& line) {
    const auto at = static_cast<std::size_t>(integer_of(line, "step")) - 1;
    if (at >= curve.steps.size()) return;
    curve.steps[at].seconds = number_of(line, "seconds");
    curve.steps[at].peak_memory_bytes = integer_of(line, "peak_memory_bytes");
  });
  return curve;
}

// Pairs read by the training that is nearest upstream of `stage`.
std::optional<std::int64_t> trained_on(const RunSummary& run, const StageSummary& stage) {
  std::vector<const StageSummary*> level{&stage};
  std::set<std::string> seen;
  while (!level.empty()) {
    std::vector<const StageSummary*> next;
    for (const StageSummary* at : level)
      for (const std::string& input : at->inputs)
        if (const StageSummary* found = run.stage(input); found && seen.insert(input).second)
          next.push_back(found);
    for (const StageSummary* found : next) {
      if (found->type != "train" || found->inputs.empty()) continue;
      std::int64_t pairs = 0;
      bool any = false;
      for (const std::string& input : found->inputs)
        if (const StageSummary* source = run.stage(input);
            source && fs::exists(source->folder / layout::kPairs)) {
          pairs += count_lines(source->folder / layout::kPairs);
          any = true;
        }
      if (any) return pairs;
    }
    level = std::move(next);
  }
  return std::nullopt;
}

}  // namespace

const Metric* BenchmarkResult::find(std::string_view metric) const {
  for (const Metric& one : metrics)
    if (one.name == metric) return &one;
  return nullptr;
}

const Metric* BenchmarkResult::headline() const {
  const Metric* metric = find("overall_accuracy");
  return metric ? metric : find("accuracy");
}

const BenchmarkResult* Evaluation::find(std::string_view benchmark) const {
  for (const BenchmarkResult& one : benchmarks)
    if (one.name == benchmark) return &one;
  return nullptr;
}

const StageSummary* RunSummary::stage(std::string_view name) const {
  for (const StageSummary& one : stages)
    if (one.name == name) return &one;
  return nullptr;
}

RunSummary load_run(const fs::path& folder) {
  simdjson::dom::parser parser;
  element root;
  if (!read_json(folder / layout::kRun, parser, root))
    throw DataError(folder.string() +
                    ": no run.json in it (a folder that 'dt2it run' has made is expected, such as "
                    "runs/EXPERIMENT)");
  RunSummary run;
  run.folder = folder;
  run.name = text_of(root, "name");
  run.label = text_of(root, "label");
  if (run.label.empty()) {
    // The folder says what sets this run apart from others of the same experiment:
    // "listwise@seed1".
    run.label = fs::path(run.name).filename().string();
    const std::string own = fs::absolute(folder).lexically_normal().filename().string();
    if (own.starts_with(run.label + "@")) run.label = own;
  }
  run.profile = text_of(root, "profile");
  run.paper = text_of(root, "paper");
  run.about = text_of(root, "about");
  run.version = text_of(root, "version");
  run.seed = static_cast<std::uint64_t>(integer_of(root, "seed"));
  run.file = text_of(root, "file");
  const auto texts = [&](const char* key, std::vector<std::string>& values) {
    each(root, key, [&](const element& item) {
      std::string_view text;
      if (!item.get(text)) values.emplace_back(text);
    });
  };
  texts("settings", run.settings);
  texts("plugin_path", run.plugin_path);
  simdjson::dom::object expect;
  if (!root["expect"].get(expect))
    for (const auto& [metric, relation] : expect) {
      std::string_view text;
      if (!relation.get(text)) run.expect.emplace_back(metric, text);
    }
  each(root, "stages", [&](const element& item) {
    StageSummary stage;
    stage.name = text_of(item, "name");
    stage.type = text_of(item, "type");
    stage.key = text_of(item, "key");
    stage.complete = flag_of(item, "complete", true);
    each(item, "inputs", [&](const element& input) {
      std::string_view name;
      if (!input.get(name)) stage.inputs.emplace_back(name);
    });
    // The link in the run folder; canonical, so that shared stages can be told by their folder.
    const fs::path link = folder / "stages" / stage.name;
    std::error_code error;
    stage.folder = fs::weakly_canonical(link, error);
    if (error) stage.folder = link;
    run.stages.push_back(std::move(stage));
  });
  for (StageSummary& stage : run.stages) {
    stage.funnel = read_funnel(stage.folder / layout::kFunnel);
    stage.cost = read_cost(stage.folder.string() + ".cost.json");
    if (fs::exists(stage.folder / layout::kMetrics))
      run.evaluations.push_back(
          {stage.name, read_metrics(stage.folder / layout::kMetrics), trained_on(run, stage)});
    if (fs::exists(stage.folder / layout::kLabelNoise))
      run.label_noise.push_back(read_noise(stage.folder / layout::kLabelNoise, stage.name));
    if (fs::exists(stage.folder / layout::kTraining))
      run.training.push_back(read_curve(stage.folder / layout::kTraining, stage.name));
  }
  run.curations = read_curations(run);
  return run;
}

}  // namespace dt2it::report
