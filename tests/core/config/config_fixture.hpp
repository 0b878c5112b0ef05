// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/config/experiment.hpp"
#include "dt2it/testing/fake_context.hpp"

namespace dt2it {

// The component types that the fixtures in tests/fixtures/toml are written for.
class SampleCatalog final : public Catalog {
 public:
  SampleCatalog() {
    add("datasets", "file", {path("path").required(), integer("limit", 0, 1000)});
    add("mllms", "endpoint",
        {text("model").required(), text("url"), number("temperature", 0, 2), list("stop"),
         table("weights"), flag("stream"), component("fallback", "mllms")});
    add("mllms", "echo", {integer("delay", 0, 9)});
    add("judges", "rubric",
        {component("mllm", "mllms").required(), integer("rounds", 1, 5),
         component("second_opinion", "judges"), path("notes")});
    add("stages", "collect", {component("dataset", "datasets").required()});
    add("stages", "score",
        {components("inputs", "stages"), component("judge", "judges").required(),
         text("mode", {"listwise", "pointwise"}), integer("retries", 0, 9)});
    add("stages", "fit",
        {path("pairs").required(), number("rate", 0, 1), paths("extra"),
         components("judges", "judges")});
  }
  const ComponentDescription* find(std::string_view kind, std::string_view type) const override {
    for (const auto& one : all_)
      if (one.kind == kind && one.name == type) return &one;
    return nullptr;
  }
  std::vector<const ComponentDescription*> of_kind(std::string_view kind) const override {
    std::vector<const ComponentDescription*> result;
    for (const auto& one : all_)
      if (one.kind == kind) result.push_back(&one);
    return result;
  }
  std::vector<std::string> kinds() const override {
    return {"datasets", "judges", "mllms", "stages"};
  }

 private:
  struct Spec : ParamSpec {
    Spec required() && {
      ParamSpec::required = true;
      fallback = {};
      return std::move(*this);
    }
  };
  static Spec make(std::string name, ParamType type, Value fallback) {
    Spec spec;
    spec.help = "Help for " + name + ".";
    spec.name = std::move(name);
    spec.type = type;
    spec.fallback = std::move(fallback);
    return spec;
  }
  static Spec text(std::string name, std::vector<std::string> choices = {}) {
    Spec spec =
        make(std::move(name), ParamType::string, {choices.empty() ? std::string() : choices[0]});
    spec.choices = std::move(choices);
    return spec;
  }
  static Spec integer(std::string name, double min, double max) {
    Spec spec = make(std::move(name), ParamType::integer, {std::int64_t{1}});
    spec.min = min;
    spec.max = max;
    return spec;
  }
  static Spec number(std::string name, double min, double max) {
    Spec spec = make(std::move(name), ParamType::number, {0.25});
    spec.min = min;
    spec.max = max;
    return spec;
  }
  static Spec flag(std::string name) { return make(std::move(name), ParamType::boolean, {false}); }
  static Spec list(std::string name) {
    Spec spec = make(std::move(name), ParamType::string, {List{}});
    spec.list = true;
    return spec;
  }
  static Spec table(std::string name) { return make(std::move(name), ParamType::table, {Table{}}); }
  static Spec path(std::string name) {
    Spec spec = text(std::move(name));
    spec.path = true;
    return spec;
  }
  static Spec paths(std::string name) {
    Spec spec = list(std::move(name));
    spec.path = true;
    return spec;
  }
  static Spec component(std::string name, std::string kind) {
    Spec spec = text(std::move(name));
    spec.component_kind = std::move(kind);
    return spec;
  }
  static Spec components(std::string name, std::string kind) {
    Spec spec = list(std::move(name));
    spec.component_kind = std::move(kind);
    return spec;
  }
  void add(std::string kind, std::string name, std::vector<Spec> specs) {
    ComponentDescription& one = all_.emplace_back();
    one.kind = std::move(kind);
    one.name = std::move(name);
    one.help = "A type for tests.";
    one.params.assign(specs.begin(), specs.end());
  }
  std::vector<ComponentDescription> all_;
};

// A folder of TOML files that goes away with the test.
class TomlFolder {
 public:
  TomlFolder& file(const std::string& name, const std::string& text) {
    const auto path = folder() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return *this;
  }
  std::filesystem::path folder() { return context_.scratch(); }

  Experiment load(Diagnostics& diagnostics, const std::string& name = "main.toml",
                  std::vector<std::string> settings = {}, std::string profile = "") {
    LoadOptions options;
    options.profile = std::move(profile);
    options.profiles_folder = folder() / "profiles";
    options.settings = std::move(settings);
    return load_experiment(folder() / name, options, catalog_, diagnostics);
  }

  // All errors, with the folder's name cut away.
  std::string errors(const std::string& name = "main.toml", std::vector<std::string> settings = {},
                     std::string profile = "") {
    Diagnostics diagnostics;
    load(diagnostics, name, std::move(settings), std::move(profile));
    std::string text = diagnostics.text();
    const std::string prefix = folder().string() + "/";
    for (std::size_t at; (at = text.find(prefix)) != std::string::npos;)
      text.erase(at, prefix.size());
    return text;
  }

 private:
  testing::FakeContext context_;
  SampleCatalog catalog_;
};

// The errors of one file.
inline std::string errors_of(const std::string& text, std::vector<std::string> settings = {}) {
  return TomlFolder().file("main.toml", text).errors("main.toml", std::move(settings));
}

}  // namespace dt2it
