// SPDX-License-Identifier: Apache-2.0
// Every shipped experiment under every profile: it loads without a complaint and expands into stages whose keys
// can be computed; rows of a table share what they have in common.
#include <toml++/toml.h>

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>

#include "core/config/paper_results.hpp"
#include "core/plugin/registry.hpp"
#include "core/run/graph.hpp"
#include "core/stages/stages.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
const fs::path kRoot = source_path();
const fs::path kPlugins = build_path("/lib/dt2it/plugins");

std::vector<fs::path> toml_files(const fs::path& folder) {
  std::set<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".toml" && entry.path().filename() != kPaperResults)
      files.insert(entry.path());
  return {files.begin(), files.end()};
}

bool without_torch() {
  if (fs::exists(kPlugins / "trainers" / "native.so")) return false;
  std::puts(
      "skipped: the experiments name plugins that need LibTorch (built with DT2IT_TORCH=OFF)");
  return true;
}

class Shipped {
 public:
  Shipped() : stages_(all_stages()), registry_({kPlugins}) {
    for (const auto& [name, type] : stages_) registry_.add_builtin(type.description);
  }
  Experiment load(const fs::path& file, const std::string& profile) {
    Diagnostics diagnostics;
    Experiment experiment = load_experiment(
        file, {profile, kRoot / "configs" / "profiles", {}, cache_}, registry_, diagnostics);
    INFO(diagnostics.text());
    CHECK(diagnostics.ok());
    return experiment;
  }
  StageGraph plan(const Experiment& experiment) {
    return plan_stages(experiment, stages_, registry_, &fingerprints_);
  }

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
      CHECK(experiment.name ==
            file.lexically_relative(kRoot / "experiments").replace_extension().string());
      CHECK_FALSE(experiment.about.empty());
      if (!experiment.rows.empty()) continue;
      const StageGraph graph = shipped.plan(experiment);
      CHECK_FALSE(graph.stages.empty());
      std::set<std::string> keys;
      for (const PlannedStage& stage : graph.stages) CHECK(keys.insert(stage.key).second);
    }
}

// "| Table 5 | 12 | `table5/` | 13 |": rows of the paper's table, folder, files in it.
TEST_CASE(
    "The table map of experiments/README.md is what the folders and the paper's results hold") {
  std::ifstream stream(kRoot / "experiments" / "README.md");
  const std::string page{std::istreambuf_iterator<char>(stream), {}};
  const std::regex line(R"(\| Table (\d) \| (\d+) \| `(table\d)/` \| (\d+) \|)");
  std::map<std::string, PaperTable> tables;
  for (PaperTable& table : read_paper_results(kRoot / "experiments" / kPaperResults))
    tables[table.id] = std::move(table);
  CHECK(tables.size() == 8);
  std::size_t mapped = 0;
  for (auto at = std::sregex_iterator(page.begin(), page.end(), line); at != std::sregex_iterator();
       ++at, ++mapped) {
    const std::string id = "table" + (*at)[1].str();
    INFO(id);
    REQUIRE(tables.contains(id));
    const PaperTable& table = tables[id];
    CHECK(table.rows.size() == std::stoul((*at)[2].str()));
    CHECK((*at)[3].str() == id);
    CHECK(toml_files(kRoot / "experiments" / id).size() == std::stoul((*at)[4].str()));
    std::set<fs::path> named;
    for (const PaperRow& row : table.rows) {
      INFO(row.name << ": " << row.run);
      REQUIRE_FALSE(row.run.empty());
      const fs::path file = kRoot / "experiments" / (row.run + ".toml");
      CHECK(fs::exists(file));
      named.insert(file);
    }
    std::set<fs::path> files;
    for (const fs::path& file : toml_files(kRoot / "experiments" / id)) {
      if (file.stem() != "all" && file.stem() != "all_seeds") {
        files.insert(file);
        continue;
      }
      const toml::table list = toml::parse_file(file.string());  // of rows
      for (const toml::node& row : *list.at_path("experiment.rows").as_array())
        files.insert((file.parent_path() / *row.value<std::string>()).lexically_normal());
    }
    CHECK(named == files);
  }
  CHECK(mapped == tables.size());
}

TEST_CASE("What the paper prints adds up: Mean Acc and Overall Acc follow from the suites") {
  for (const PaperTable& table : read_paper_results(kRoot / "experiments" / kPaperResults)) {
    if (table.columns.size() != 5 || table.columns[3] != "Mean Acc") continue;
    for (const PaperRow& row : table.rows) {
      INFO(table.id << ", " << row.name);
      const auto& v = row.values;
      CHECK(std::abs((v[0] + v[1] + v[2]) / 3 - v[3]) <= 0.11);
      CHECK(std::abs((1247 * v[0] + 4711 * v[1] + 170 * v[2]) / 6128 - v[4]) <= 0.11);
    }
  }
}

TEST_CASE("Rows of Tables 5, 6 and 8 share what they have in common") {
  if (without_torch()) return;
  Shipped shipped;
  for (const std::string profile : {"mini", "paper"}) {
    const auto graph = [&](const std::string& row) {
      return shipped.plan(shipped.load(kRoot / "experiments" / (row + ".toml"), profile));
    };
    const auto key = [](const StageGraph& graph, const char* stage) {
      INFO(stage);
      REQUIRE(graph.find(stage));
      return graph.find(stage)->key;
    };
    const StageGraph alone = graph("table5/internvl2_5_8b"),
                     ours = graph("table5/internvl2_5_8b_dt2it_mrm");
    CHECK(key(alone, "best_of_n.grades_mm_vet") == key(ours, "best_of_n.grades_mm_vet"));
    CHECK(key(graph("table7/method3_iteration2"), "train") == key(ours, "train"));
    const StageGraph before = graph("table6/llava_onevision"), skywork = graph("table6/skywork_vl"),
                     mrm = graph("table6/dt2it_mrm");
    CHECK(key(before, "before.grades_llava_wilder") ==
          key(skywork, "offline_rl.before.grades_llava_wilder"));
    CHECK(key(skywork, "offline_rl.answers") == key(mrm, "offline_rl.answers"));
    CHECK(key(skywork, "offline_rl.dpo") != key(mrm, "offline_rl.dpo"));
    CHECK(key(skywork, "offline_rl.answers_llava_wilder") !=
          key(mrm, "offline_rl.answers_llava_wilder"));
    const StageGraph open = graph("table8/mm_rlhf"), own = graph("table8/ours_as_mm_rlhf");
    CHECK(key(open, "open_set") == key(own, "open_set"));
    CHECK(key(open, "distil") == key(graph("table7/method1_pointwise"), "distil"));
    CHECK(key(open, "train") != key(own, "train"));
  }
}

TEST_CASE("Rows of Table 7 share what they have in common and differ where they say so") {
  if (without_torch()) return;
  Shipped shipped;
  const auto key = [&](const char* row, const char* stage) {
    const Experiment experiment =
        shipped.load(kRoot / "experiments" / "table7" / (std::string(row) + ".toml"), "mini");
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
      CHECK(listed[fs::weakly_canonical(file.parent_path() / row).stem().string()]
                .insert(table)
                .second);
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
