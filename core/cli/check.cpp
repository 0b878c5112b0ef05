// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <set>

#include "core/cli/verbs.hpp"
#include "core/config/paper_results.hpp"
#include "core/run/graph.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

// Folders give all their .toml files, in the order of their names.
std::vector<fs::path> files_of(const std::vector<std::string>& paths) {
  std::vector<fs::path> files;
  for (const std::string& path : paths) {
    if (!fs::is_directory(path)) {
      files.emplace_back(path);
      continue;
    }
    std::set<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (entry.path().extension() == ".toml" && entry.path().filename() != kPaperResults)
        found.insert(entry.path());
    if (found.empty()) throw ConfigError(path + ": no .toml file in this folder");
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

}  // namespace

int check(const Arguments& arguments) {
  CommonOptions common;
  std::vector<std::string> paths;
  std::vector<std::string> profiles;
  po::options_description options("options");
  options.add_options()("paths", po::value(&paths), "experiment files, or folders of them")(
      "profile", po::value(&profiles)->composing()->value_name("NAME"),
      "check under this profile; may be given often (default: every profile there is)")(
      "set", po::value(&common.settings)->composing()->value_name("A.B=VALUE"), "as for run")(
      "plugin-path", po::value(&common.plugin_path)->composing()->value_name("DIR"),
      "look for plugins here first; may be given often");
  if (!parse(arguments, options, "paths", "usage: dt2it check FILE_OR_FOLDER... [options]"))
    return 0;
  if (paths.empty()) throw ConfigError("dt2it check: no file or folder given");

  const Installation installation(common);
  Diagnostics diagnostics;
  std::vector<std::string> expansion_errors;
  const auto cache = make_toml_cache();
  std::size_t checked = 0;
  const std::vector<fs::path> files = files_of(paths);
  std::set<std::string> seen_profiles;
  for (const fs::path& file : files) {
    const fs::path folder = find_profiles(file);
    std::vector<std::string> names = profiles;
    if (names.empty()) {
      if (fs::is_directory(folder))
        for (const auto& entry : fs::directory_iterator(folder))
          if (entry.path().extension() == ".toml") names.push_back(entry.path().stem());
      if (names.empty())
        names.push_back(common.profile);  // as `run` would, which says what is missing
      std::sort(names.begin(), names.end());
    }
    for (const std::string& profile : names) {
      seen_profiles.insert(profile);
      const std::size_t before = diagnostics.errors.size();
      const Experiment experiment = load_experiment(file, {profile, folder, common.settings, cache},
                                                    installation.registry, diagnostics);
      ++checked;
      if (diagnostics.errors.size() != before) continue;
      try {
        plan_stages(experiment, installation.stages, installation.registry, nullptr);
      } catch (const ConfigError& error) {
        expansion_errors.emplace_back(error.what());  // it says where
      }
    }
  }
  // Profiles share files, so that the same mistake may show up under each.
  std::set<std::string> printed;
  for (const Diagnostics::Entry& error : diagnostics.errors) {
    const std::string line = error.text();
    if (printed.insert(line).second) std::cerr << line << '\n';
  }
  for (const std::string& line : expansion_errors)
    if (printed.insert(line).second) std::cerr << line << '\n';
  if (!printed.empty()) {
    std::cerr << fmt::format("{} problem{} in {} file{}\n", printed.size(),
                             printed.size() == 1 ? "" : "s", files.size(),
                             files.size() == 1 ? "" : "s");
    return 2;
  }
  std::cout << fmt::format("{} file{} fine under {} ({} checks)\n", files.size(),
                           files.size() == 1 ? "" : "s", fmt::join(seen_profiles, ", "), checked);
  return 0;
}

}  // namespace dt2it::cli
