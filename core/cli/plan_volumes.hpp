// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "core/stages/volume_estimate.hpp"

namespace dt2it::cli {

// Foretold work of several rows: each row by its stages, each alone, and all together with stages shared.
class VolumeReport {
 public:
  explicit VolumeReport(PlanFacts facts) : facts_(std::move(facts)) {}
  void add(const std::string& name, const StageGraph& graph, std::ostream& out);
  void print_sums(std::ostream& out) const;

 private:
  struct Row {
    std::string name;
    std::size_t stages = 0;
    VolumeEstimate sum;
  };
  std::string money(const VolumeEstimate& estimate) const;
  void print_line(const std::string& name, const VolumeEstimate& estimate, const std::string& note,
                  std::ostream& out) const;

  const PlanFacts facts_;
  std::set<std::string> keys_;
  std::vector<Row> rows_;
  Row together_;
};

}  // namespace dt2it::cli
