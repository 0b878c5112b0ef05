// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace dt2it {

// How many records each step of a stage left over, and why the others went: funnel.json, shown in the
// report. {"steps":[{"name":"pairs","count":10,"dropped":{"tie":2}}]}
class Funnel {
 public:
  void step(std::string name, std::size_t count) { steps_.push_back({std::move(name), count, {}}); }
  // Counts records that the step made last dropped.
  void drop(const std::string& reason, std::size_t count = 1) {
    if (count) steps_.back().dropped[reason] += count;
  }
  void write(const std::filesystem::path& folder) const;

 private:
  struct Step {
    std::string name;
    std::size_t count;
    std::map<std::string, std::size_t> dropped;
  };
  std::vector<Step> steps_;
};

}  // namespace dt2it
