// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/config/experiment.hpp"

namespace dt2it {

inline Value names(const std::vector<std::string>& list) { return detail::to_value(list); }

// Collects the plain stages that stand for a composite. They are named <composite>.<part>, the last has
// the composite's own name, and all inherit its component overrides.
class Expansion {
 public:
  explicit Expansion(const StageConfig& composite) : composite_(composite) {}

  // Returns the full name, for other parts to refer to.
  std::string add(const std::string& part, const std::string& type, Table params,
                  const std::vector<ComponentConfig>& with = {}) {
    return push(composite_.name + "." + part, type, std::move(params), with);
  }
  std::string finish(const std::string& type, Table params,
                     const std::vector<ComponentConfig>& with = {}) {
    return push(composite_.name, type, std::move(params), with);
  }
  // Stages that are added from now on are passed by where this one says so; empty: none.
  void gate(std::string stage) { gate_ = std::move(stage); }

  std::vector<StageConfig> stages() && { return std::move(stages_); }
  const std::vector<StageConfig>& stages() const& { return stages_; }

 private:
  std::string push(std::string name, const std::string& type, Table params,
                   const std::vector<ComponentConfig>& with) {
    StageConfig stage{std::move(name), type, std::move(params), with, composite_.where};
    for (const ComponentConfig& inherited : composite_.with) {
      bool replaced = false;
      for (const ComponentConfig& own : with)
        replaced |= own.kind == inherited.kind && own.name == inherited.name;
      if (!replaced) stage.with.push_back(inherited);
    }
    stage.gate = gate_;
    stages_.push_back(std::move(stage));
    return stages_.back().name;
  }

  const StageConfig& composite_;
  std::string gate_;
  std::vector<StageConfig> stages_;
};

}  // namespace dt2it
