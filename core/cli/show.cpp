// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "core/cli/verbs.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;

int show(const Arguments& arguments) {
  CommonOptions common;
  std::vector<std::string> files;
  po::options_description options("options");
  options.add_options()("files", po::value(&files), "experiment files");
  add_common(options, common);
  if (!parse(arguments, options, "files", "usage: dt2it show FILE... [options]")) return 0;
  const Installation installation(common);
  for (const Experiment& experiment : load_all(files, common, installation.registry))
    std::cout << experiment.resolved << '\n';
  return 0;
}

}  // namespace dt2it::cli
