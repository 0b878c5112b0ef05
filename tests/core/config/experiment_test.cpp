// SPDX-License-Identifier: Apache-2.0
#include "core/config/experiment.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>

#include "core/config/suggest.hpp"
#include "tests/core/config/config_fixture.hpp"
#include "tests/paths.hpp"
#include "tests/slowness.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
const fs::path kFixtures = fs::path(source_path()) / "tests" / "fixtures" / "toml";

Experiment load_fixture(Diagnostics& diagnostics, std::vector<std::string> settings = {}) {
  LoadOptions options;
  options.profile = "test";
  options.profiles_folder = kFixtures / "profiles";
  options.settings = std::move(settings);
  return load_experiment(kFixtures / "child.toml", options, SampleCatalog(), diagnostics);
}

const Value& param(const ComponentConfig* component, const char* name) {
  REQUIRE(component);
  REQUIRE(component->params.contains(name));
  return component->params.find(name)->second;
}

Value text(const char* value) { return {std::string(value)}; }

}  // namespace

TEST_CASE("Layers merge in order: profile, parents, file, --set") {
  Diagnostics diagnostics;
  const Experiment experiment =
      load_fixture(diagnostics, {"mllms.writer.temperature=2", "judges.teacher.rounds = 4",
                                 "mllms.writer.model=plain words", "experiment.seed=11"});
  INFO(diagnostics.text());
  REQUIRE(diagnostics.ok());
  CHECK(experiment.profile == "test");
  CHECK(experiment.name == "child");
  CHECK(experiment.paper == "Table 1, row 2");
  CHECK(experiment.about == "Two\nlines, and a plain ${.");
  CHECK(experiment.seed == 11);
  CHECK(experiment.expect == std::map<std::string, std::string>{{"overall", ">= parent + 0.02"},
                                                                {"parts.general", "> 0.1"}});
  const ComponentConfig* writer = experiment.component("mllms", "writer");
  CHECK(param(writer, "model") == text("plain words"));
  CHECK(param(writer, "url") == text("http://localhost:1/v1"));
  CHECK(param(writer, "temperature") == Value{2.0});  // an integer where a number is expected
  CHECK(param(writer, "stop") == Value{List{text("###"), text("\n\n")}});
  CHECK(param(writer, "weights") == Value{Table{{"short", {1.0}}, {"long", {2.5}}}});
  CHECK(param(writer, "stream") == Value{false});  // default
  CHECK(writer->given.at("temperature").file == "--set mllms.writer.temperature");
  CHECK(writer->given.at("stop").file == (kFixtures / "profiles" / "test.toml").string());
  CHECK(writer->given.at("stop").line == 11);
  CHECK_FALSE(writer->given.contains("stream"));
  CHECK(param(experiment.component("datasets", "prompts"), "path") ==
        Value{(kFixtures / "profiles" / "data" / "prompts.jsonl").string()});

  REQUIRE(experiment.stages.size() == 3);
  CHECK(experiment.stages[0].name == "collect");
  CHECK(experiment.stages[1].name == "score");
  CHECK(experiment.stages[2].type == "fit");
  const StageConfig* score = experiment.stage("score");
  REQUIRE(score);
  CHECK(score->type == "score");
  CHECK(score->params.at("mode") == text("pointwise"));
  CHECK(score->params.at("retries") == Value{std::int64_t{2}});
  REQUIRE(score->with.size() == 1);
  CHECK(param(&score->with[0], "rounds") == Value{std::int64_t{3}});
  CHECK(param(&score->with[0], "mllm") == text("writer"));
  CHECK(param(experiment.component("judges", "teacher"), "rounds") == Value{std::int64_t{4}});
  CHECK(experiment.stage("train")->params.at("pairs") == text("stage:score"));
  CHECK(experiment.component("judges", "nobody") == nullptr);
  CHECK(experiment.stage("nothing") == nullptr);
}

TEST_CASE("What speaks of one file is not inherited, the seed is") {
  TomlFolder folder;
  folder.file("parent.toml", "[experiment]\npaper='P'\nabout='A'\nseed=3\nexpect={x='> 1'}\n")
      .file("main.toml", "extends='parent.toml'\n");
  Diagnostics diagnostics;
  const Experiment experiment = folder.load(diagnostics);
  REQUIRE(diagnostics.ok());
  CHECK(experiment.paper.empty());
  CHECK(experiment.about.empty());
  CHECK(experiment.expect.empty());
  CHECK(experiment.seed == 3);
}

TEST_CASE("Another type starts afresh, so that swapping a component is one line") {
  TomlFolder folder;
  folder
      .file("parent.toml",
            "[mllms.a]\ntype='endpoint'\nmodel='m'\n[judges.j]\ntype='rubric'\nmllm='a'\n")
      .file("main.toml", "extends='parent.toml'\n[mllms.a]\ntype='echo'\n");
  Diagnostics diagnostics;
  const Experiment experiment = folder.load(diagnostics);
  INFO(diagnostics.text());
  REQUIRE(diagnostics.ok());
  CHECK(experiment.component("mllms", "a")->type == "echo");
  CHECK_FALSE(experiment.component("mllms", "a")->params.contains("model"));
  CHECK(folder.errors("main.toml", {"mllms.a.type=endpoint"}) ==
        "main.toml:2:8: [mllms.a] needs 'model' (a string): Help for model.\n");
}

TEST_CASE("Names below an experiments folder") {
  TomlFolder folder;
  folder.file("experiments/table7/row.toml", "").file("main.toml", "");
  Diagnostics diagnostics;
  CHECK(folder.load(diagnostics, "experiments/table7/row.toml").name == "table7/row");
  CHECK(folder.load(diagnostics).name == "main");
  CHECK(diagnostics.ok());
}

TEST_CASE("The resolved text says where values come from and reads back the same") {
  Diagnostics diagnostics;
  const Experiment experiment = load_fixture(diagnostics);
  REQUIRE(diagnostics.ok());
  CHECK_THAT(experiment.resolved,
             Catch::Contains("rate = 0.001  # " + (kFixtures / "child.toml").string() + ":20\n"));
  CHECK_THAT(experiment.resolved, Catch::Contains("stream = false  # default\n"));
  CHECK_THAT(experiment.resolved,
             Catch::Contains("url = \"http://localhost:1/${DT2IT_TEST_UNSET:-v1}\"  # "));

  TomlFolder folder;
  folder.file("parent.toml", "");  // the promise names it
  folder.file("main.toml", experiment.resolved);
  const Experiment again = folder.load(diagnostics);
  INFO(diagnostics.text());
  REQUIRE(diagnostics.ok());
  CHECK(again.about == experiment.about);
  CHECK(again.seed == experiment.seed);
  CHECK(again.expect == experiment.expect);
  REQUIRE(again.components.size() == experiment.components.size());
  for (const ComponentConfig& component : experiment.components) {
    const ComponentConfig* other = again.component(component.kind, component.name);
    REQUIRE(other);
    CHECK(other->type == component.type);
    CHECK(other->params == component.params);
  }
  REQUIRE(again.stages.size() == experiment.stages.size());
  for (std::size_t i = 0; i < again.stages.size(); ++i) {
    CHECK(again.stages[i].name == experiment.stages[i].name);
    CHECK(again.stages[i].params == experiment.stages[i].params);
    REQUIRE(again.stages[i].with.size() == experiment.stages[i].with.size());
    for (std::size_t j = 0; j < again.stages[i].with.size(); ++j)
      CHECK(again.stages[i].with[j].params == experiment.stages[i].with[j].params);
  }
}

TEST_CASE("Environment variables are read only where written, and no secret is printed") {
  setenv("DT2IT_TEST_VALUE", "secret", 1);
  TomlFolder folder;
  folder.file("main.toml",
              "[mllms.a]\ntype='endpoint'\nmodel='x${DT2IT_TEST_VALUE}y$${DT2IT_TEST_VALUE}$'\n");
  Diagnostics diagnostics;
  const Experiment experiment = folder.load(diagnostics);
  unsetenv("DT2IT_TEST_VALUE");
  REQUIRE(diagnostics.ok());
  CHECK(param(experiment.component("mllms", "a"), "model") == text("xsecrety${DT2IT_TEST_VALUE}$"));
  CHECK(experiment.resolved.find("secret") == std::string::npos);
  CHECK(folder.errors() == "main.toml:3:7: the environment variable DT2IT_TEST_VALUE is not set\n");
}

TEST_CASE("Files are read once when a cache is given, and again when they change") {
  TomlFolder folder;
  folder.file("profiles/p.toml", "[mllms.a]\ntype='echo'\n").file("main.toml", "");
  LoadOptions options;
  options.profile = "p";
  options.profiles_folder = folder.folder() / "profiles";
  options.cache = make_toml_cache();
  SampleCatalog catalog;
  const auto load = [&] {
    Diagnostics diagnostics;
    load_experiment(folder.folder() / "main.toml", options, catalog, diagnostics);
    return diagnostics.text();
  };
  CHECK(load().empty());
  CHECK(load().empty());
  folder.file("profiles/p.toml", "[mllms.a]\ntype='nothing of the kind'\n");
  const std::string broken = load();
  CHECK_THAT(broken, Catch::Contains("p.toml:2:6: there is no mllms type 'nothing of the kind'"));
  CHECK(load() == broken);
}

TEST_CASE("Checking 120 experiments with a large profile takes well under a second") {
  TomlFolder folder;
  std::string profile;
  for (int i = 0; i < 100; ++i) {
    const std::string n = std::to_string(i);
    profile += "[mllms.m" + n + "]\ntype='endpoint'\nmodel='m'\n[judges.j" + n +
               "]\ntype='rubric'\nmllm='m" + n + "'\n";
  }
  folder.file("profiles/p.toml", profile);
  folder.file("main.toml", "[datasets.d]\ntype='file'\npath='p'\n[stages.collect]\ndataset='d'\n");
  LoadOptions options;
  options.profile = "p";
  options.profiles_folder = folder.folder() / "profiles";
  options.cache = make_toml_cache();
  SampleCatalog catalog;
  const auto start = std::chrono::steady_clock::now();
  Diagnostics diagnostics;
  for (int i = 0; i < 120; ++i)
    load_experiment(folder.folder() / "main.toml", options, catalog, diagnostics);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CHECK(diagnostics.ok());
  CHECK(seconds < testing::kSlowness);  // the whole of `dt2it check experiments` has 2 s
}

TEST_CASE("Near misses are guessed") {
  CHECK(edit_distance("judge", "juge") == 1);
  CHECK(edit_distance("jugde", "judge") == 1);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(allowed_text("temprature", {"model", "temperature"}) ==
        " (did you mean 'temperature'? allowed: model, temperature)");
  CHECK(allowed_text("zzz", {"model"}) == " (allowed: model)");
  CHECK(allowed_text("zzz", {}) == " (there are none)");
}

}  // namespace dt2it
