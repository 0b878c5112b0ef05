// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <boost/optional.hpp>
#include <cstdlib>
#include <iostream>
#include <ranges>
#include <set>
#include <string_view>

#include "core/cli/verbs.hpp"
#include "core/run/layout.hpp"
#include "core/run/runner.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;

namespace {

// Stages whose result is a checkpoint: those that the experiment itself names, and of the parts of composites those from
// which no further training comes.
std::vector<std::string> trained_models(const Experiment& experiment, const StageGraph& graph) {
  std::set<std::string> led_on;  // to a training, themselves or by other stages
  std::vector<std::string> names;
  for (const PlannedStage& stage : std::views::reverse(graph.stages)) {
    const std::string& name = stage.config.name;
    const bool trained = stage.type->result == layout::kCheckpoint;
    const bool used = led_on.contains(name);
    if (trained && (!used || experiment.stage(name))) names.push_back(name);
    if (trained || used) led_on.insert(stage.inputs.begin(), stage.inputs.end());
  }
  std::ranges::reverse(names);
  return names;
}

}  // namespace

int run(const Arguments& arguments) {
  CommonOptions common;
  RunOptions run_options;
  boost::optional<int> workers;
  std::string shard;
  std::vector<std::string> files;
  po::options_description options("options");
  options.add_options()("files", po::value(&files), "experiment files")(
      "jobs,j", po::value(&run_options.jobs)->value_name("N"),
      "stages at work at once (default: the number of cores, at most 4)")(
      "workers", po::value(&workers)->value_name("N"),
      "items in flight within a stage (default: 8; with remote models as many calls as they take)")(
      "max-cost", po::value(&run_options.max_cost)->value_name("AMOUNT"),
      "stop before calls of models cost more than this, in the currency of the prices")(
      "max-tokens", po::value(&run_options.max_tokens)->value_name("N"), "likewise in tokens")(
      "stage", po::value(&run_options.stage)->value_name("NAME"),
      "run only this stage (a name that `dt2it plan` prints) and what it needs")(
      "shard", po::value(&shard)->value_name("I/N"),
      "with --stage: only the I-th of N parts of it, beside other processes; a run without it puts "
      "the parts together")("offline", po::bool_switch(&run_options.offline),
                            "remote models answer from stored calls only")(
      "keep-unanswered", po::bool_switch(&run_options.keep_unanswered),
      "take it as a result where a model gave no answer after all attempts, instead of ending so "
      "that the next run asks again")(
      "calls", po::value(&run_options.call_store)->value_name("FILE"),
      "store of calls (default: .calls/calls.sqlite in the runs folder)")(
      "quiet,q", po::bool_switch(&run_options.quiet), "no progress");
  add_common(options, common);
  if (!parse(arguments, options, "files",
             "usage: dt2it run FILE... [options]\n\nRuns the stages that are not finished yet and "
             "prints "
             "the tables. Stages that experiments share are run once."))
    return 0;
  if (run_options.jobs < 0)
    throw ConfigError("--jobs must be at least 1 (0: by the number of cores)");
  if (workers && *workers < 1) throw ConfigError("--workers must be at least 1");
  run_options.workers = workers.value_or(0);
  if (run_options.max_cost < 0 || run_options.max_tokens < 0)
    throw ConfigError("--max-cost and --max-tokens must be positive");
  // Its processes would each run the stages, and wait for each other's locks.
  if (const char* size = std::getenv("WORLD_SIZE"); size && std::string_view(size) != "1")
    throw ConfigError("dt2it run is one process, and WORLD_SIZE is " + std::string(size) +
                      " (several train by: torchrun ... dt2it train)");
  run_options.runs = common.runs;
  run_options.settings = common.settings;
  run_options.plugin_path = common.plugin_path;
  if (!shard.empty()) {
    if (run_options.stage.empty()) throw ConfigError("--shard: of which stage? (--stage NAME)");
    run_options.shard = Shard::parse(shard);
  }

  const std::string command = command_line("run", arguments);

  Installation installation(common);
  Runner runner(installation.registry, installation.stages, run_options);
  std::vector<std::filesystem::path> folders;
  for (Experiment& experiment : load_all(files, common, installation.registry)) {
    folders.push_back(runner.run_folder(experiment));
    runner.add(std::move(experiment));
  }
  try {
    runner.run(catch_interrupts());
  } catch (const Interrupted&) {
    std::cerr << "stopped; what is done is saved. Go on with:\n  " << command << '\n';
    throw;
  }
  if (!run_options.stage.empty()) return 0;
  print_reports(folders, {}, command, std::cout);
  for (const auto& entry : runner.entries())
    for (const std::string& name : trained_models(entry->experiment, entry->graph)) {
      const std::filesystem::path checkpoint =
          runner.run_folder(entry->experiment) / layout::kStages / name / layout::kCheckpoint;
      if (std::filesystem::is_directory(checkpoint))
        std::cout << "checkpoint: " << checkpoint.string() << '\n';
    }
  return 0;
}

}  // namespace dt2it::cli
