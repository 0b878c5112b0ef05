// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/registry.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/scorer.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;
using Catch::EndsWith;
using Catch::StartsWith;

const fs::path kRoot = fs::path(build_path()) / "tests" / "bad_plugins";

std::string library(const std::string& folder, const std::string& name) {
  return (kRoot / folder / "scorers" / (name + ".so")).string();
}

bool is_mapped(const std::string& path) {
  std::ifstream maps("/proc/self/maps");
  const std::string text{std::istreambuf_iterator<char>(maps), std::istreambuf_iterator<char>()};
  return text.find(path) != std::string::npos;
}

std::string failure(PluginRegistry& registry, const std::string& type) {
  testing::FakeContext context;
  try {
    registry.make("scorers", type, {}, context);
  } catch (const PluginError& error) {
    return error.what();
  }
  return "no PluginError";
}

// The one error of a folder that holds one broken library.
std::string failure(const std::string& name) {
  PluginRegistry registry({kRoot / name});
  const std::string message = failure(registry, name);
  CHECK(failure(registry, name) == message);  // asking again says the same
  CHECK(message.find('\n') == std::string::npos);
  CHECK(registry.loaded().empty());
  return message;
}

std::shared_ptr<Scorer> make(PluginRegistry& registry, const std::string& type, const Table& params,
                             Context& context) {
  return std::static_pointer_cast<Scorer>(registry.make("scorers", type, params, context));
}

}  // namespace

TEST_CASE("A plugin is described without loading it and loaded when it is made") {
  PluginRegistry registry({kRoot / "good"});
  const std::string path = library("good", "good");
  REQUIRE_FALSE(is_mapped(path));
  CHECK(registry.kinds() == std::vector<std::string>{"scorers"});
  REQUIRE(registry.of_kind("scorers").size() == 1);
  const ComponentDescription* description = registry.find("scorers", "good");
  REQUIRE(description);
  CHECK(description->plugin == "scorers/good");
  CHECK(description->version == "1.0.0");
  REQUIRE(description->params.size() == 3);
  CHECK(description->params[1].name == "value");
  CHECK(description->params[1].type == ParamType::number);
  CHECK(description->params[1].fallback == Value{5.0});
  CHECK(description->params[1].max == 10);
  CHECK(description->params[2].component_kind == "scorers");
  CHECK(registry.find("scorers", "bad") == nullptr);
  CHECK(registry.find("judges", "good") == nullptr);
  CHECK_FALSE(is_mapped(path));
  CHECK(registry.loaded().empty());

  testing::FakeContext context;
  const auto scorer = make(registry, "good", {{"value", {7.5}}}, context);
  CHECK(is_mapped(path));
  CHECK(registry.loaded() == std::vector<std::string>{"scorers/good"});
  const std::vector<Response> candidates(3);
  const auto scores = scorer->score({}, candidates);
  REQUIRE(scores.size() == 3);
  CHECK(scores[2].overall == 7.5);
}

TEST_CASE("Components and their code outlive the registry") {
  testing::FakeContext context;
  std::shared_ptr<Scorer> scorer;
  {
    PluginRegistry registry({kRoot / "good"});
    scorer = make(registry, "good", {}, context);
  }
  CHECK(scorer->score({}, std::vector<Response>(1)).size() == 1);
}

TEST_CASE("A library without a description is described by loading it") {
  PluginRegistry registry({kRoot / "undescribed"});
  CHECK_FALSE(is_mapped(library("undescribed", "undescribed")));
  const ComponentDescription* description = registry.find("scorers", "undescribed");
  REQUIRE(description);
  CHECK(description->help == "A scorer for tests of the loader.");
  testing::FakeContext context;
  CHECK(make(registry, "undescribed", {}, context));
}

TEST_CASE("Broken libraries each give one clear error") {
  const std::string rebuild = "; build the plugin again with this SDK";
  CHECK_THAT(failure("no_manifest"),
             StartsWith(library("no_manifest", "no_manifest") +
                        ": it is no dt2it plugin: the symbol dt2it_plugin_manifest "
                        "is missing"));
  CHECK_THAT(failure("wrong_magic"), Contains("wrong magic number"));
  CHECK(failure("wrong_abi") == library("wrong_abi", "wrong_abi") +
                                    ": it was built for SDK ABI 4711, this is SDK ABI " +
                                    std::to_string(DT2IT_SDK_ABI) + rebuild);
  CHECK(failure("wrong_size") == library("wrong_size", "wrong_size") +
                                     ": its manifest has 48 bytes, this SDK's has " +
                                     std::to_string(sizeof(PluginManifest)) + rebuild);
  CHECK(failure("wrong_toolchain") == library("wrong_toolchain", "wrong_toolchain") +
                                          ": it was built with 'gcc 4.1 cxx11abi=0', this is '" +
                                          std::string(kToolchain) + "'" + rebuild);
  CHECK(failure("wrong_place") == library("wrong_place", "wrong_place") +
                                      ": this plugin is named 'scorers/elsewhere', but it lies at "
                                      "'scorers/wrong_place'");
  CHECK(failure("throws") ==
        library("throws", "throws") +
            ": plugin scorers/throws threw while it registered: no licence found");
  CHECK_THAT(failure("throws_int"),
             Contains("scorers/throws_int threw something that is no std::exception"));
  CHECK(failure("twice") ==
        library("twice", "twice") + ": plugin scorers/twice registers scorers/twice twice");
  CHECK(failure("no_register") ==
        library("no_register", "no_register") + ": the symbol dt2it_plugin_register is missing");

  const std::string text_file = failure("not_a_library");
  CHECK_THAT(text_file,
             StartsWith(library("not_a_library", "not_a_library") + ": it cannot be loaded: "));
  CHECK_THAT(text_file, !Contains("Bad file descriptor"));

  const std::string undefined = failure("missing_symbol");
  CHECK_THAT(undefined,
             StartsWith(library("missing_symbol", "missing_symbol") + ": it cannot be loaded: "));
  CHECK_THAT(undefined,
             Contains("undefined symbol") && Contains("dt2it_function_that_nobody_defines"));
}

TEST_CASE("A description that disagrees with its library is refused with both versions") {
  PluginRegistry registry({kRoot / "disagrees"});
  REQUIRE(registry.find("scorers", "disagrees"));
  CHECK_THAT(failure(registry, "disagrees"),
             StartsWith(library("disagrees", "disagrees") + ": its description ") &&
                 Contains("version '1.0.0' against '1.1.0'") && EndsWith("build the plugin again"));
}

TEST_CASE("A broken description or a missing library hurts only when it is named") {
  PluginRegistry registry({kRoot / "broken_description", kRoot / "no_library", kRoot / "good"});
  CHECK(registry.find("scorers", "good"));
  CHECK(registry.of_kind("scorers").size() == 1);
  CHECK_THAT(failure(registry, "broken_description"),
             Contains("broken_description.json: not a plugin description"));
  CHECK_THAT(failure(registry, "no_library"),
             Contains("the library no_library.so beside this description is "
                      "missing"));
  CHECK_THROWS_AS(registry.find("scorers", "no_library"), PluginError);
  CHECK(registry.problems().size() == 2);
}

TEST_CASE("Plugins with different LibTorch versions do not meet in one process") {
  PluginRegistry registry({kRoot / "other_torch"});
  testing::FakeContext context;
  CHECK(make(registry, "torch_old", {}, context));
  CHECK(failure(registry, "torch_new") ==
        library("other_torch", "torch_new") + ": it was built with LibTorch 2.13.0, but " +
            library("other_torch", "torch_old") +
            " is loaded with LibTorch 2.6.0; build both with the same LibTorch");
  CHECK_FALSE(is_mapped(library("other_torch", "torch_new")));  // known from its description
  CHECK(make(registry, "torch_old", {}, context));
}

TEST_CASE("The same component twice in one folder is an error that names both libraries") {
  PluginRegistry registry({kRoot / "duplicate"});
  const std::string message = failure(registry, "same");
  CHECK_THAT(message, Contains("scorers/same is offered twice") &&
                          Contains(library("duplicate", "one")) &&
                          Contains(library("duplicate", "two")));
  CHECK_THROWS_AS(registry.find("scorers", "same"), PluginError);
}

TEST_CASE("An earlier folder wins over a later one") {
  PluginRegistry first({kRoot / "disagrees_old", kRoot / "disagrees"});
  testing::FakeContext context;
  CHECK(make(first, "disagrees", {}, context));  // the later one would be refused
  CHECK(first.problems().empty());
}

TEST_CASE("What a constructor throws keeps its kind and gets the plugin's name") {
  PluginRegistry registry({kRoot / "good"});
  testing::FakeContext context;
  const auto fail = [&](const char* how) {
    return make(registry, "good", {{"fail", {std::string(how)}}}, context);
  };
  const std::string prefix = "plugin scorers/good: ";
  CHECK_THROWS_MATCHES(fail("config"), ConfigError, Catch::Message(prefix + "bad value"));
  CHECK_THROWS_MATCHES(fail("plugin"), PluginError, Catch::Message(prefix + "bad contract"));
  CHECK_THROWS_MATCHES(fail("data"), DataError, Catch::Message(prefix + "bad file"));
  CHECK_THROWS_MATCHES(fail("model"), ModelError, Catch::Message(prefix + "bad weights"));
  CHECK_THROWS_MATCHES(fail("base"), Error, Catch::Message(prefix + "bad day"));
  CHECK_THROWS_MATCHES(fail("standard"), PluginError, Catch::Message(prefix + "first line"));
  CHECK_THROWS_AS(fail("int"), PluginError);
  CHECK_THROWS_MATCHES(make(registry, "good", {{"valu", {1.0}}}, context), ConfigError,
                       Catch::Message(prefix + "unknown parameter 'valu'"));
  CHECK_THROWS_MATCHES(
      make(registry, "goood", {}, context), ConfigError,
      Catch::Message("there is no scorers type 'goood' (did you mean 'good'? allowed: good); "
                     "plugins elsewhere: --plugin-path DIR or DT2IT_PLUGIN_PATH"));
}

TEST_CASE("Built-in types are described like plugins and are not made by the registry") {
  PluginRegistry registry({});
  ComponentDescription stage;
  stage.kind = "stages";
  stage.name = "train";
  registry.add_builtin(stage);
  REQUIRE(registry.find("stages", "train"));
  CHECK(registry.kinds() == std::vector<std::string>{"stages"});
  testing::FakeContext context;
  CHECK_THROWS_AS(registry.make("stages", "train", {}, context), ConfigError);
}

TEST_CASE("Many threads may ask at once") {
  PluginRegistry registry({kRoot / "good", kRoot / "undescribed", kRoot / "throws"});
  std::vector<int> made(8);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < made.size(); ++i)
    threads.emplace_back([&, i] {
      testing::FakeContext context;
      for (int round = 0; round < 20; ++round) {
        made[i] += make(registry, i % 2 ? "good" : "undescribed", {}, context) != nullptr;
        registry.of_kind("scorers");
      }
    });
  for (auto& thread : threads) thread.join();
  for (int count : made) CHECK(count == 20);
}

TEST_CASE("The default search path: command line, variable, install tree") {
  setenv("DT2IT_PLUGIN_PATH", "/a/one::/a/two", 1);
  const auto path = PluginRegistry::default_search_path({"from/the/command/line"});
  unsetenv("DT2IT_PLUGIN_PATH");
  REQUIRE(path.size() == 4);
  CHECK(path[0] == "from/the/command/line");
  CHECK(path[1] == "/a/one");
  CHECK(path[2] == "/a/two");
  CHECK(path[3] ==
        fs::path(build_path()) / "lib" / "dt2it" / "plugins");  // this program is in bin/
  CHECK(PluginRegistry::default_search_path({}).size() == 1);
  PluginRegistry nothing({"/no/such/folder"});
  CHECK(nothing.kinds().empty());
}

}  // namespace dt2it
