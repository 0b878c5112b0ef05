// SPDX-License-Identifier: Apache-2.0
#pragma once

// An experiment file, resolved: profile, parents, the file itself and --set merged (in that order;
// tables merge, arrays and scalars replace), ${NAME} expanded from the environment, every table
// checked against the Catalog, defaults filled in, paths made absolute. The only place that knows
// TOML.
//
//   extends = "listwise.toml"            # one parent (installed_file.hpp: parent_file)
//   [experiment]  paper, about, seed, seeds, expect, rows
//   [KIND.NAME]   type = "..."  + parameters of that component type
//   [stages.NAME] type = "..."  (default: NAME) + parameters of that stage type
//   [stages.NAME.with.KIND.NAME] parameters that replace those of [KIND.NAME] within this stage
//   only
//
// A table that states another `type` than the layer below it starts afresh. [experiment] paper,
// about, expect and rows speak of one file and are not inherited; seed and seeds are. In strings ${NAME} is
// the environment variable (unset: an error), ${NAME:-text} has a default, $${ is a plain ${.
// `expect` maps a metric to "OP TARGET": OP one of >= <= > < ==, TARGET a number, or another row (a
// file beside this one, without .toml) with an optional "+ NUMBER" or "- NUMBER".

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/config/catalog.hpp"
#include "dt2it/params.hpp"

namespace dt2it {

struct Location {
  std::string file;
  int line = 0;
  int column = 0;
};

// Everything wrong with a configuration, in file order, each as file:line:col.
struct Diagnostics {
  struct Entry {
    Location where;
    std::string message;
    std::string text()
        const;  // "file:line:col: message"; without line and column where there are none
  };
  std::vector<Entry> errors;
  void add(Location where, std::string message) {
    errors.push_back({std::move(where), std::move(message)});
  }
  bool ok() const { return errors.empty(); }
  std::string text() const;  // one line each
};

struct ComponentConfig {
  std::string kind;
  std::string name;
  std::string type;
  Table params;  // checked; defaults filled in; paths absolute or "stage:NAME"
  Location where;
  std::map<std::string, Location> given;  // where each parameter was set; defaults are not here
};

struct StageConfig {
  std::string name;
  std::string type;
  Table params;
  std::vector<ComponentConfig> with;  // complete components: base merged with the overrides
  Location where;
  std::map<std::string, Location> given;
  std::string
      gate;  // made by composites: a stage whose gate.json may say that this one is passed by
};

// What an experiment promises on the mini profile: "vl_rewardbench.overall_accuracy" = ">=
// listwise".
struct Experiment {
  std::filesystem::path file;
  std::string
      name;  // path below the experiments folder without .toml, e.g. "table7/method1_listwise"
  std::string profile;  // "mini"
  std::string paper;    // "Table 7, Method 1, row 3"
  std::string about;
  std::uint64_t seed = 0;
  std::vector<std::uint64_t> seeds;  // to be run with each of these in turn
  std::map<std::string, std::string> expect;
  std::vector<std::filesystem::path> rows;  // a file that only lists others
  std::vector<ComponentConfig> components;
  std::vector<StageConfig> stages;  // in file order
  std::string resolved;             // the merged TOML, as `dt2it show` prints it

  const ComponentConfig* component(std::string_view kind, std::string_view name) const;
  const StageConfig* stage(std::string_view name) const;
};

class TomlCache;
std::shared_ptr<TomlCache> make_toml_cache();

struct LoadOptions {
  std::string profile = "mini";           // configs/profiles/NAME.toml, or a path; empty: none
  std::filesystem::path profiles_folder;  // where named profiles are
  std::vector<std::string> settings;      // --set a.b=c, c in TOML syntax, else taken as a string
  std::shared_ptr<TomlCache> cache;  // when loading many: files already parsed are not read again
};

// Adds every problem to `diagnostics`; the result is usable only when there are none.
Experiment load_experiment(const std::filesystem::path& file, const LoadOptions& options,
                           const Catalog& catalog, Diagnostics& diagnostics);

}  // namespace dt2it
