// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "core/cli/model_options.hpp"
#include "core/cli/verbs.hpp"
#include "core/data/records.hpp"
#include "core/run/runner.hpp"
#include "core/run/scope.hpp"
#include "core/stages/evaluation.hpp"
#include "core/stages/verdicts.hpp"
#include "core/util/json.hpp"
#include "core/util/progress.hpp"
#include "core/util/scratch_folder.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

void print_metrics(const std::vector<Metric>& metrics) {
  for (const Metric& metric : metrics) {
    if (metric.total)
      std::cout << fmt::format("  {:<40} {:6.2f} %   {:>5} / {}\n", metric.name, 100 * metric.value,
                               metric.correct.value_or(0), *metric.total);
    else
      std::cout << fmt::format("  {:<40} {:6.2f} %\n", metric.name, 100 * metric.value);
  }
}

void print_table(const std::string& benchmark, const std::string& model,
                 const Evaluation& evaluation) {
  std::cout << fmt::format("{} with {}\n{}\n", benchmark, model, evaluation.edition);
  if (evaluation.absent_media > 0)
    std::cout << fmt::format("images or videos are absent for {} of {} items\n",
                             evaluation.absent_media, evaluation.outcomes.size());
  if (!evaluation.convention.empty())
    std::cout << fmt::format("verdicts counted as: {}\n", evaluation.convention);
  print_metrics(evaluation.metrics);
  if (evaluation.by_convention.size() < 2) return;
  std::cout << "the same verdicts by other conventions\n";
  for (const auto& [convention, metrics] : evaluation.by_convention)
    if (convention != evaluation.convention)
      for (const Metric& metric : metrics)
        if (metric.name == "overall_accuracy" || metric.name == "macro_accuracy" ||
            metric.name == "accuracy")
          print_metrics(
              {{convention + ": " + metric.name, metric.value, metric.correct, metric.total}});
}

void print_json(const std::string& benchmark, const std::string& model,
                const Evaluation& evaluation) {
  JsonWriter json;
  json.begin_object();
  json.key("benchmark").value(benchmark).key("model").value(model);
  json.key("edition").value(evaluation.edition);
  json.key("items").value(static_cast<std::int64_t>(evaluation.outcomes.size()));
  json.key("absent_media").value(static_cast<std::int64_t>(evaluation.absent_media));
  write_figures(json, evaluation);
  json.end_object();
  std::cout << json.text() << '\n';
}

bool has_verdicts_of(const fs::path& file, const std::string& benchmark) {
  JsonLineReader lines(file);
  for (simdjson::dom::element line; lines.next(line);)
    if (std::string_view name; !line["benchmark"].get(name) && name == benchmark) return true;
  return false;
}

}  // namespace

int evaluate(const Arguments& arguments) {
  CommonOptions common;
  std::string benchmark_name;
  ModelOptions model;
  fs::path data;
  fs::path media_root;
  fs::path verdicts;
  std::string of;
  std::string convention = "official";
  bool as_json = false;
  po::options_description options("options");
  options.add_options()("benchmark", po::value(&benchmark_name),
                        "vl_rewardbench, multimodal_rewardbench, ...")(
      "data", po::value(&data)->value_name("PATH"), "the benchmark's file or folder")(
      "media-root", po::value(&media_root)->value_name("DIR"),
      "folder of the images (default: the folder of the data)")(
      "verdicts", po::value(&verdicts)->value_name("FILE"),
      "instead of data and model: a verdicts.jsonl of an evaluate stage, counted again; nothing is "
      "asked")("of", po::value(&of)->value_name("NAME"),
               "of that file the lines of this benchmark (default: BENCHMARK, else the only one)")(
      "convention", po::value(&convention)->value_name("NAME"),
      "how verdicts are counted: official, lmms, vlmeval, strict (default: official)")(
      "json", po::bool_switch(&as_json), "print JSON")(
      "plugin-path", po::value(&common.plugin_path)->composing()->value_name("DIR"),
      "look for plugins here first; may be given often");
  add_model_options(options, model);
  if (!parse(arguments, options, "benchmark",
             "usage: dt2it evaluate BENCHMARK --data PATH --model KIND[:ARG] [options]\n"
             "       dt2it evaluate BENCHMARK --verdicts FILE [--convention NAME] [options]"))
    return 0;
  if (benchmark_name.empty()) throw ConfigError("dt2it evaluate: no benchmark given");
  if (verdicts.empty() && (data.empty() || model.model.empty()))
    throw ConfigError("dt2it evaluate: --data and --model are needed, or --verdicts");
  if (!verdicts.empty() && !(data.empty() && model.model.empty()))
    throw ConfigError(
        "dt2it evaluate: --verdicts are counted as they are, without --data and --model");
  if (std::ranges::find(kConventions, convention) == kConventions.end())
    throw ConfigError(fmt::format("dt2it evaluate: --convention is '{}' (allowed: {})", convention,
                                  fmt::join(kConventions, ", ")));
  if (data.empty()) data = verdicts;  // the benchmark has to have some; it never reads them then
  if (!fs::exists(data)) throw DataError(data.string() + ": no such file or folder");

  Installation installation(common);
  PluginRegistry& registry = installation.registry;
  std::vector<std::string> places{text_setting("data", data.string())};
  if (!media_root.empty()) places.push_back(text_setting("media_root", media_root.string()));
  const ComponentConfig benchmark =
      component_of(registry, Benchmark::kKind, "it", benchmark_name, places);
  std::vector<ComponentConfig> components{benchmark};
  if (verdicts.empty()) {
    components.push_back(reward_model_of(model, registry));
  }

  // Media go to a folder of their own that is gone afterwards.
  const ScratchFolder scratch("evaluate");
  HostMedia media(registry, scratch.path() / "media");
  StageScope scope(registry, components, media.store(), 0, scratch.path(),
                   [](LogLevel level, std::string_view message) {
                     if (level >= LogLevel::warning) std::cerr << message << '\n';
                   });
  const auto suite = scope.context().component<Benchmark>("it");
  Evaluation evaluation;
  if (!verdicts.empty()) {
    if (of.empty()) of = has_verdicts_of(verdicts, benchmark_name) ? benchmark_name : "";
    evaluation = count_judged(*suite, read_judged(verdicts, of), convention);
    model.model = verdicts.string();
  } else {
    std::vector<PreferencePair> items = read_items(*suite);
    ProgressBoard board(isatty(STDERR_FILENO) == 0);
    const auto progress = board.start("evaluate");
    progress->set_total(items.size());
    evaluation = evaluate_benchmark(
        *suite, std::move(items), *scope.context().component<RewardModel>("model"), scope.context(),
        [&](std::size_t done) { progress->add(done); }, convention);
    board.close();
  }
  if (as_json)
    print_json(benchmark_name, model.model, evaluation);
  else
    print_table(benchmark_name, model.model, evaluation);
  return 0;
}

}  // namespace dt2it::cli
