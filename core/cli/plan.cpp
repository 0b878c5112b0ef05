// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <iostream>
#include <map>

#include "core/cli/verbs.hpp"
#include "core/run/graph.hpp"
#include "core/run/store.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;

int plan(const Arguments& arguments) {
  CommonOptions common;
  std::vector<std::string> files;
  po::options_description options("options");
  options.add_options()("files", po::value(&files), "experiment files");
  add_common(options, common);
  if (!parse(arguments, options, "files", "usage: dt2it plan FILE... [options]")) return 0;

  const Installation installation(common);
  const StageStore store(common.runs);
  std::map<std::string, std::string> first_user;  // key -> experiment
  Fingerprints fingerprints;
  std::size_t stages = 0;
  std::size_t done = 0;
  for (const Experiment& experiment : load_all(files, common, installation.registry)) {
    std::cout << fmt::format("{} ({})\n", experiment.name, experiment.profile);
    const StageGraph graph =
        plan_stages(experiment, installation.stages, installation.registry, &fingerprints);
    for (const PlannedStage& stage : graph.stages) {
      const bool complete = store.complete(stage.folder());
      const auto [it, first] = first_user.emplace(stage.key, experiment.name);
      if (first) {
        ++stages;
        done += complete;
      }
      const std::string state = complete ? "done" : !first ? "shared with " + it->second : "to do";
      std::cout << fmt::format("  {:<28} {:<13} {}  {}{}\n", stage.config.name, stage.config.type,
                               stage.key.substr(0, 16), state,
                               stage.inputs.empty()
                                   ? ""
                                   : fmt::format("  <- {}", fmt::join(stage.inputs, ", ")));
    }
  }
  std::cout << fmt::format("{} stages, {} done, {} to do\n", stages, done, stages - done);
  return 0;
}

}  // namespace dt2it::cli
