// SPDX-License-Identifier: Apache-2.0
// Every shipped experiment under every profile: it loads without a complaint and expands into stages whose keys
// can be computed; rows of a table share what they have in common.
#include <catch2/catch.hpp>

#include <array>
#include <cstdio>
#include <map>
#include <set>

#include "core/plugin/registry.hpp"
#include "core/run/graph.hpp"
#include "core/stages/stages.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
const fs::path kRoot = DT2IT_SOURCE_DIR;
const fs::path kPlugins = DT2IT_BUILD_DIR "/lib/dt2it/plugins";

std::vector<fs::path> toml_files(const fs::path& folder) {
  std::set<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".toml") files.insert(entry.path());
  return {files.begin(), files.end()};
}

bool without_torch() {
  if (fs::exists(kPlugins / "trainers" / "native.so")) return false;
  std::puts("skipped: the experiments name plugins that need LibTorch (built with DT2IT_TORCH=OFF)");
  return true;
}

class Shipped {
 public:
  Shipped() : stages_(all_stages()), registry_({kPlugins}) {
    for (const auto& [name, type] : stages_) registry_.add_builtin(type.description);
  }
  Experiment load(const fs::path& file, const std::string& profile) {
    Diagnostics diagnostics;
    Experiment experiment =
        load_experiment(file, {profile, kRoot / "configs" / "profiles", {}, cache_}, registry_, diagnostics);
    INFO(diagnostics.text());
    CHECK(diagnostics.ok());
    return experiment;
  }
  StageGraph plan(const Experiment& experiment) { return plan_stages(experiment, stages_, registry_, &fingerprints_); }

 private:
  StageTypes stages_;
  PluginRegistry registry_;
  Fingerprints fingerprints_;
  std::shared_ptr<TomlCache> cache_ = make_toml_cache();
};

}  // namespace

TEST_CASE("Every experiment plans under every profile") {
  if (without_torch()) return;
  Shipped shipped;
  const auto files = toml_files(kRoot / "experiments");
  const auto profiles = toml_files(kRoot / "configs" / "profiles");
  REQUIRE(files.size() >= 14);
  REQUIRE_FALSE(profiles.empty());
  for (const fs::path& profile : profiles)
    for (const fs::path& file : files) {
      INFO(file << " under " << profile.stem());
      const Experiment experiment = shipped.load(file, profile.stem().string());
      CHECK(experiment.name == file.lexically_relative(kRoot / "experiments").replace_extension().string());
      CHECK_FALSE(experiment.about.empty());
      if (!experiment.rows.empty()) continue;
      const StageGraph graph = shipped.plan(experiment);
      CHECK_FALSE(graph.stages.empty());
      std::set<std::string> keys;
      for (const PlannedStage& stage : graph.stages) CHECK(keys.insert(stage.key).second);
    }
}

TEST_CASE("Rows of Table 7 share what they have in common and differ where they say so") {
  if (without_torch()) return;
  Shipped shipped;
  const auto key = [&](const char* row, const char* stage) {
    const Experiment experiment = shipped.load(kRoot / "experiments" / "table7" / (std::string(row) + ".toml"), "mini");
    const StageGraph graph = shipped.plan(experiment);
    const PlannedStage* found = graph.find(stage);
    INFO(row << " " << stage);
    REQUIRE(found);
    return found->key;
  };
  CHECK(key("method1_listwise", "distil.listwise") == key("method1_pointwise", "distil.listwise"));
  CHECK(key("method1_diversity", "distil.rescore") == key("method1_pointwise", "distil.rescore"));
  CHECK(key("method1_listwise", "distil") != key("method1_diversity", "distil"));
  CHECK(key("method1_diversity", "distil") != key("method1_pointwise", "distil"));
  CHECK(key("method1_pointwise", "distil") == key("method3_initial", "distil"));
  CHECK(key("method2_ours", "reformulate") == key("method3_initial", "reformulate"));
  CHECK(key("method2_ours", "reformulate") != key("method2_omni_reward", "reformulate"));
  // The first iteration is the first round of the second; its first model is that of D0.
  CHECK(key("method3_iteration1", "train") == key("method3_iteration2", "train.model_1"));
  CHECK(key("method3_iteration1", "train.model_0") == key("method3_initial", "train"));
}

TEST_CASE("Tables 1 to 4 list each model's one file, and each file says which tables it is in") {
  if (without_torch()) return;
  Shipped shipped;
  std::map<std::string, std::set<int>> listed;
  const std::array sizes{4, 22, 20, 20};  // rows of the paper's tables
  for (int table = 1; table <= 4; ++table) {
    const fs::path file = kRoot / "experiments" / ("table" + std::to_string(table)) / "all.toml";
    const Experiment list = shipped.load(file, "mini");
    CHECK(list.rows.size() == static_cast<std::size_t>(sizes[static_cast<std::size_t>(table - 1)]));
    for (const fs::path& row : list.rows)
      CHECK(listed[fs::weakly_canonical(file.parent_path() / row).stem().string()].insert(table).second);
  }
  std::set<std::string> files;
  for (const fs::path& file : toml_files(kRoot / "experiments" / "models")) {
    const std::string name = file.stem().string();
    files.insert(name);
    const Experiment model = shipped.load(file, "paper");
    INFO(name << ": " << model.paper);
    const std::string tables = model.paper.substr(0, model.paper.find(':'));
    for (int table = 1; table <= 4; ++table)
      CHECK(listed[name].contains(table) == (tables.find(std::to_string(table)) != tables.npos));
    CHECK(shipped.plan(model).find("evaluate"));
  }
  for (const auto& [name, tables] : listed) CHECK(files.contains(name));
}

}  // namespace dt2it
