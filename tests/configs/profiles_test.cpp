// SPDX-License-Identifier: Apache-2.0
#include <toml++/toml.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <regex>
#include <set>
#include <string>

#include "tests/paths.hpp"

namespace {

namespace fs = std::filesystem;

toml::table profile(const std::string& name) {
  return toml::parse_file(dt2it::source_path("/configs/profiles/") + name + ".toml");
}

std::set<std::string> components(const toml::table& tables) {
  std::set<std::string> names;
  if (const auto parent = tables["extends"].value<std::string>())
    names = components(profile(fs::path(*parent).stem().string()));
  for (const auto& [kind, group] : tables)
    if (group.is_table() && kind != "plan")  // sizes for `dt2it plan`: no components
      for (const auto& [name, component] : *group.as_table())
        // datasets.source_...: parts of a profile's own, which experiments do not name.
        if (component.is_table() && !(kind == "datasets" && name.str().starts_with("source_")))
          names.insert(std::string(kind.str()) + '.' + std::string(name.str()));
  return names;
}

}  // namespace

TEST_CASE("all profiles define the same components, so that an experiment is one file under each") {
  const std::set<std::string> expected = components(profile("mini"));
  REQUIRE(expected.size() > 40);
  std::size_t compared = 0;
  for (const auto& entry : fs::directory_iterator(dt2it::source_path("/configs/profiles"))) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".toml") continue;
    INFO(name);
    CHECK(components(profile(name)) == expected);
    ++compared;
  }
  CHECK(compared >= 2);
}

TEST_CASE("the paper profile draws nothing and simulates nothing") {
  const toml::table tables = profile("paper");
  for (const auto& [name, component] : *tables["datasets"].as_table())
    CHECK((*component.as_table())["type"].value_or<std::string>("") != "mini_world");
  for (const auto& [name, component] : *tables["mllms"].as_table())
    CHECK((*component.as_table())["type"].value_or<std::string>("") == "openai");
}

TEST_CASE(
    "a profile names variables that hold keys, never keys, and has a default for every other "
    "variable") {
  const toml::table tables = profile("paper");
  const std::regex variable(R"(\$\{[A-Z0-9_]+:-[^}]*\})"),
      name(R"([A-Z0-9_]+|\$\{[A-Z0-9_]+:-[A-Z0-9_]*\})");
  for (const auto& [kind, group] : tables)
    for (const auto& [component, table] : *group.as_table())
      for (const auto& [key, value] : table.is_table() ? *table.as_table() : toml::table{}) {
        const auto text = value.value<std::string>();
        if (!text) continue;
        INFO(kind.str() << '.' << component.str() << '.' << key.str() << " = " << *text);
        CHECK(std::regex_replace(*text, variable, "").find("${") == std::string::npos);
        if (key.str() == "api_key_env") CHECK(std::regex_match(*text, name));
      }
}
