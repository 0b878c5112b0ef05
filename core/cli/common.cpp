// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "core/cli/verbs.hpp"
#include "core/stages/stages.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

void add_common(po::options_description& options, CommonOptions& common) {
  options.add_options()
      ("profile", po::value(&common.profile)->value_name("NAME"),
       "profile under which the experiments are read: mini (default), paper, or a .toml file")
      ("set", po::value(&common.settings)->composing()->value_name("A.B=VALUE"),
       "replace a value of the experiments; may be given often")
      ("runs", po::value(&common.runs)->value_name("DIR"), "where results are kept (default: runs)")
      ("plugin-path", po::value(&common.plugin_path)->composing()->value_name("DIR"),
       "look for plugins here first; may be given often");
}

bool parse(const Arguments& arguments, po::options_description& options, const std::string& positional,
           const std::string& usage) {
  options.add_options()("help,h", po::bool_switch(), "this text");
  po::positional_options_description words;
  if (!positional.empty()) words.add(positional.c_str(), -1);
  po::variables_map values;
  po::store(po::command_line_parser(arguments).options(options).positional(words).run(), values);
  if (values["help"].as<bool>()) {  // before notify(), which complains about what is required but missing
    std::cout << usage << "\n\n" << options;
    return false;
  }
  po::notify(values);
  return true;
}

Installation::Installation(const CommonOptions& common)
    : stages(all_stages()), registry(PluginRegistry::default_search_path(common.plugin_path)) {
  for (const auto& [name, type] : stages) registry.add_builtin(type.description);
}

fs::path find_profiles(const fs::path& experiment) {
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path().parent_path();
  // The experiment's own tree, then where the user stands, then where the program was built.
  for (const fs::path& start : {fs::absolute(experiment).parent_path(), fs::current_path(), program})
    for (fs::path folder = start; folder != folder.parent_path(); folder = folder.parent_path())
      if (fs::is_directory(folder / "configs" / "profiles")) return folder / "configs" / "profiles";
  const fs::path installed = program / "share/dt2it/configs/profiles";
  return fs::is_directory(installed) ? installed : fs::path("configs/profiles");
}

std::vector<Experiment> load_all(const std::vector<std::string>& files, const CommonOptions& common,
                                 const Catalog& catalog) {
  if (files.empty()) throw ConfigError("no experiment file given");
  Diagnostics diagnostics;
  const auto cache = make_toml_cache();
  std::vector<Experiment> experiments;
  std::vector<fs::path> todo(files.begin(), files.end());
  for (std::size_t i = 0; i < todo.size(); ++i) {
    const fs::path file = todo[i];
    LoadOptions options{common.profile, find_profiles(file), common.settings, cache};
    Experiment experiment = load_experiment(file, options, catalog, diagnostics);
    if (!experiment.rows.empty())  // in the place of the file that lists them
      todo.insert(todo.begin() + static_cast<std::ptrdiff_t>(i) + 1, experiment.rows.begin(),
                  experiment.rows.end());
    if (!experiment.stages.empty()) experiments.push_back(std::move(experiment));
    if (todo.size() > 10000) throw ConfigError(file.string() + ": rows list each other without end");
  }
  if (!diagnostics.ok()) throw ConfigError(diagnostics.text());
  if (experiments.empty()) throw ConfigError("the given files define no stages");
  return experiments;
}

}  // namespace dt2it::cli
