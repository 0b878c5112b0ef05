// SPDX-License-Identifier: Apache-2.0
#pragma once

// Experiments of a few lines, planned and run with the components of tests/fixtures/host_plugins.

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/config/experiment.hpp"
#include "core/data/records.hpp"
#include "core/plugin/registry.hpp"
#include "core/run/runner.hpp"
#include "core/stages/stages.hpp"
#include "core/util/files.hpp"
#include "dt2it/error.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/core/stored_files.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/paths.hpp"

namespace dt2it {

inline std::string host_plugins(const std::string& version = "") {
  return build_path("/tests/host_plugins") + version;
}

// [stages.NAME] type = "given", file = ...: that file, as if a stage had written it.
struct GivenParams {
  std::filesystem::path file;
  static void describe(Schema<GivenParams>& schema) {
    schema.field("file", &GivenParams::file, "File to give.").required();
  }
};

class HostFixture {
 public:
  explicit HostFixture(const std::string& plugins = host_plugins())
      : stages_(all_stages()), registry_({plugins}) {
    stages_.emplace("given",
                    make_stage<GivenParams>(
                        "given", "For tests.", "1", [](const GivenParams& params, StageRun& stage) {
                          std::filesystem::copy(params.file, stage.output / params.file.filename());
                        }));
    for (const auto& [name, type] : stages_) registry_.add_builtin(type.description);
  }

  std::filesystem::path path() const { return folder_.path(); }
  std::filesystem::path write(const std::string& name, const std::string& text) {
    return folder_.write(name, text);
  }
  PluginRegistry& registry() { return registry_; }
  const StageTypes& stages() const { return stages_; }

  Experiment load(const std::string& toml, const std::vector<std::string>& settings = {}) {
    const auto file = folder_.write("experiment.toml", toml);
    Diagnostics diagnostics;
    LoadOptions options;
    options.profile = "";
    options.settings = settings;
    Experiment experiment = load_experiment(file, options, registry_, diagnostics);
    // No assertion: some tests have several threads, for which Catch is not made.
    if (!diagnostics.ok()) throw ConfigError(diagnostics.text());
    return experiment;
  }
  StageGraph plan(const std::string& toml, const std::vector<std::string>& settings = {}) {
    experiments_.push_back(std::make_unique<Experiment>(load(toml, settings)));
    Fingerprints fingerprints;
    return plan_stages(*experiments_.back(), stages_, registry_, &fingerprints);
  }
  std::string key(const std::string& toml, const std::string& stage,
                  const std::vector<std::string>& settings = {}) {
    const StageGraph graph = plan(toml, settings);
    REQUIRE(graph.find(stage));
    return graph.find(stage)->key;
  }

  // Runs and returns the finished folder of each stage.
  std::map<std::string, std::filesystem::path> run(const std::string& toml,
                                                   RunOptions options = {}) {
    if (options.runs == "runs") options.runs = path() / "runs";
    options.quiet = true;
    Runner runner(registry_, stages_, options);
    const StageGraph& graph = runner.add(load(toml));
    runner.run(stop);
    std::map<std::string, std::filesystem::path> folders;
    for (const PlannedStage& stage : graph.stages)
      folders[stage.config.name] = runner.store().finished(stage.folder());
    return folders;
  }

  std::atomic<bool> stop{false};

 private:
  testing::TemporaryFolder folder_;
  StageTypes stages_;
  PluginRegistry registry_;
  std::vector<std::unique_ptr<Experiment>> experiments_;
};

inline std::vector<PreferencePair> read_pairs(const std::filesystem::path& file) {
  PairReader reader(file);
  return testing::drain(reader);
}

}  // namespace dt2it
