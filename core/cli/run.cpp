// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "core/cli/verbs.hpp"
#include "core/run/runner.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;

int run(const Arguments& arguments) {
  CommonOptions common;
  RunOptions run_options;
  std::vector<std::string> files;
  po::options_description options("options");
  options.add_options()
      ("files", po::value(&files), "experiment files")
      ("jobs,j", po::value(&run_options.jobs)->value_name("N"),
       "stages at work at once (default: the number of cores, at most 4)")
      ("workers", po::value(&run_options.workers)->value_name("N"),
       "items in flight within a stage (default: 8)")
      ("quiet,q", po::bool_switch(&run_options.quiet), "no progress");
  add_common(options, common);
  if (!parse(arguments, options, "files",
             "usage: dt2it run FILE... [options]\n\nRuns the stages that are not finished yet and prints "
             "the tables. Stages that experiments share are run once.")) return 0;
  if (run_options.jobs < 0) throw ConfigError("--jobs must be at least 1 (0: by the number of cores)");
  if (run_options.workers < 1) throw ConfigError("--workers must be at least 1");
  run_options.runs = common.runs;

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
  print_reports(folders, {}, command, std::cout);
  return 0;
}

}  // namespace dt2it::cli
