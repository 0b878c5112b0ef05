// SPDX-License-Identifier: Apache-2.0
// A curator written from the template in another folder, built against the installed SDK (install_sdk_template
// leaves it), runs in an experiment without touching this tree.
#include "core/data/records.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/cli/process.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
const std::string kPlugins = build_path("/install_test/template/build/plugins");
const std::string kExperiment = "tests/fixtures/experiments/length_gap.toml";

std::vector<PreferencePair> pairs_of(const fs::path& runs, const std::string& stage) {
  PairReader reader(runs / "length_gap" / "stages" / stage / "pairs.jsonl");
  return testing::drain(reader);
}

}  // namespace

TEST_CASE("A plugin from elsewhere works like one of the tree") {
  REQUIRE(fs::exists(kPlugins + "/curators/length_gap.so"));
  CHECK_FALSE(fs::exists(build_path("/lib/dt2it/plugins/curators/length_gap.so")));
  testing::TemporaryFolder runs;
  const Finished unknown = dt2it({"check", kExperiment, "--profile", "mini"});
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.err, Catch::Contains("'length_gap'"));
  CHECK(dt2it({"check", kExperiment, "--profile", "mini", "--plugin-path", kPlugins}).code == 0);
  CHECK_THAT(dt2it({"plugins", "curators/length_gap", "--plugin-path", kPlugins}).out,
             Catch::Contains("max_ratio"));

  const Finished run =
      dt2it({"run", kExperiment, "--plugin-path", kPlugins, "--runs", runs.path().string()});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const auto all = pairs_of(runs.path(), "mixed"), kept = pairs_of(runs.path(), "curate");
  const auto long_one = [](const PreferencePair& pair) {
    return pair.chosen.text.size() >= 40 &&
           static_cast<double>(pair.chosen.text.size()) >
               1.2 * static_cast<double>(pair.rejected.text.size());
  };
  const auto gone = static_cast<std::size_t>(std::count_if(all.begin(), all.end(), long_one));
  CHECK(gone > 0);
  CHECK(kept.size() == all.size() - gone);
  CHECK(std::none_of(kept.begin(), kept.end(), long_one));

  testing::TemporaryFolder again;
  CHECK(dt2it({"run", kExperiment, "--runs", again.path().string()},
              {{"DT2IT_PLUGIN_PATH", kPlugins}})
            .code == 0);
  CHECK(differences(stored_files(runs.path()), stored_files(again.path())) ==
        std::vector<std::string>{});
}

TEST_CASE("The template's experiment runs where it lies") {
  const fs::path folder = build_path("/install_test/template");
  testing::TemporaryFolder runs;
  const Words rest = {"experiment.toml", "--plugin-path", "build/plugins", "--runs",
                      runs.path().string()};
  const auto call = [&](Words words) {
    words.insert(words.end(), rest.begin(), rest.end());
    return dt2it(words, {}, folder);
  };
  CHECK_THAT(call({"plan"}).out, Catch::Contains("short") && Catch::Contains("<- distil"));
  const Finished run = call({"run", "--stage", "short"});
  INFO(run.err);
  CHECK(run.code == 0);
  CHECK(fs::exists(runs.path() / "experiment/stages/short/pairs.jsonl"));
}

}  // namespace dt2it
