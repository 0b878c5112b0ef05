// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "core/config/experiment.hpp"
#include "core/run/fingerprint.hpp"
#include "core/run/stage.hpp"

namespace dt2it {

// A plain stage of an expanded experiment, ready to run.
struct PlannedStage {
  StageConfig config;
  const StageType* type = nullptr;
  std::vector<std::string> inputs;          // names of the stages it reads, each once
  std::vector<ComponentConfig> components;  // all that it can reach, with its own overrides applied
  std::string key;                          // 32 hex digits; equal keys mean equal results
  std::string identity;                     // JSON of all that the key covers
  std::string folder() const { return config.type + "-" + key.substr(0, 16); }
};

// The accelerators that a stage's components name by a parameter `device` ("cuda", "cuda:1"; "auto" where there is one), by
// index. `present`: whether the machine has any.
std::set<std::string> accelerators_of(const PlannedStage& stage, bool present);

// Every stage after its inputs.
struct StageGraph {
  std::vector<PlannedStage> stages;
  const PlannedStage* find(std::string_view name) const;
};

// Expands composites, finds what each stage reads and reaches, and computes keys. The key covers the
// stage's type, version and parameters, the seed, the parameters and plugin versions of all components
// within reach, the content of files that parameters name, and the keys of its inputs; not its name, so
// that experiments share stages. Without `fingerprints` no data is read and keys stay empty. Throws
// ConfigError for what only shows after expansion.
StageGraph plan_stages(const Experiment& experiment, const StageTypes& types,
                       const Catalog& catalog, Fingerprints* fingerprints);

// The parameters with every path text (or element of a list of paths) replaced by what `replace` gives.
Table replace_paths(Table params, const std::vector<ParamSpec>& specs,
                    const std::function<std::string(const std::string&)>& replace);

}  // namespace dt2it
