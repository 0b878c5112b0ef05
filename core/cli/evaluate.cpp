// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

#include "core/cli/verbs.hpp"
#include "core/data/records.hpp"
#include "core/run/runner.hpp"
#include "core/run/scope.hpp"
#include "core/stages/evaluation.hpp"
#include "core/util/json.hpp"
#include "core/util/progress.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

void print_table(const std::string& benchmark, const std::string& model, const Evaluation& evaluation) {
  std::cout << fmt::format("{} with {}\n{}\n", benchmark, model, evaluation.edition);
  if (evaluation.absent_media > 0)
    std::cout << fmt::format("images or videos are absent for {} of {} items\n", evaluation.absent_media,
                             evaluation.outcomes.size());
  for (const Metric& metric : evaluation.metrics) {
    if (metric.total)
      std::cout << fmt::format("  {:<40} {:6.2f} %   {:>5} / {}\n", metric.name, 100 * metric.value,
                               metric.correct.value_or(0), *metric.total);
    else
      std::cout << fmt::format("  {:<40} {:6.2f} %\n", metric.name, 100 * metric.value);
  }
}

}  // namespace

int evaluate(const Arguments& arguments) {
  CommonOptions common;
  std::string benchmark_name;
  std::string model_text;
  fs::path data;
  fs::path media_root;
  bool as_json = false;
  po::options_description options("options");
  options.add_options()
      ("benchmark", po::value(&benchmark_name), "vl_rewardbench, multimodal_rewardbench, ...")
      ("data", po::value(&data)->required()->value_name("PATH"), "the benchmark's file or folder")
      ("media-root", po::value(&media_root)->value_name("DIR"),
       "folder of the images (default: the folder of the data)")
      ("model", po::value(&model_text)->required()->value_name("KIND[:ARG]"),
       "reward model: length, constant, replay:FILE, mrm:CHECKPOINT ...")
      ("json", po::bool_switch(&as_json), "print JSON")
      ("plugin-path", po::value(&common.plugin_path)->composing()->value_name("DIR"),
       "look for plugins here first; may be given often");
  if (!parse(arguments, options, "benchmark",
             "usage: dt2it evaluate BENCHMARK --data PATH --model KIND[:ARG] [options]")) return 0;
  if (benchmark_name.empty()) throw ConfigError("dt2it evaluate: no benchmark given");
  if (!fs::exists(data)) throw DataError(data.string() + ": no such file or folder");

  Installation installation(common);
  PluginRegistry& registry = installation.registry;
  std::vector<std::string> places{text_setting("data", data.string())};
  if (!media_root.empty()) places.push_back(text_setting("media_root", media_root.string()));
  const ComponentConfig benchmark = component_of(registry, Benchmark::kKind, "it", benchmark_name, places);
  const ComponentConfig model = component_of(registry, RewardModel::kKind, "it", model_text, {});

  // Media go to a folder of their own that is gone afterwards.
  struct Scratch {
    fs::path path = fs::temp_directory_path() / fmt::format("dt2it-evaluate-{}", getpid());
    ~Scratch() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  } scratch;
  HostMedia media(registry, scratch.path / "media");
  StageScope scope(registry, {benchmark, model}, media.store(), 0, scratch.path,
                   [](LogLevel level, std::string_view message) {
                     if (level >= LogLevel::warning) std::cerr << message << '\n';
                   });
  const auto suite = scope.context().component<Benchmark>("it");
  std::vector<PreferencePair> items = read_items(*suite);
  ProgressBoard board(isatty(STDERR_FILENO) == 0);
  const auto progress = board.start("evaluate");
  progress->set_total(items.size());
  const Evaluation evaluation =
      evaluate_benchmark(*suite, std::move(items), *scope.context().component<RewardModel>("it"), scope.context(),
                         [&](std::size_t done) { progress->add(done); });
  board.close();
  if (!as_json) {
    print_table(benchmark_name, model_text, evaluation);
    return 0;
  }
  JsonWriter json;
  json.begin_object();
  json.key("benchmark").value(benchmark_name).key("model").value(model_text);
  json.key("edition").value(evaluation.edition);
  json.key("items").value(static_cast<std::int64_t>(evaluation.outcomes.size()));
  json.key("absent_media").value(static_cast<std::int64_t>(evaluation.absent_media));
  json.key("metrics").begin_array();
  for (const Metric& metric : evaluation.metrics) json.raw(to_json(metric));
  json.end_array().end_object();
  std::cout << json.text() << '\n';
  return 0;
}

}  // namespace dt2it::cli
