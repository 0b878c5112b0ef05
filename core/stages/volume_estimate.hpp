// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the stages of a plan will come to in records, calls, tokens, money, GPU hours and disk, from the sizes and rates that
// [plan] of the profile states. Nothing is read or asked: it can be told before any data are there.

#include <map>
#include <string>
#include <vector>

#include "core/config/plan_facts.hpp"
#include "core/run/graph.hpp"

namespace dt2it {

struct VolumeEstimate {
  std::string stage, type, key, what;        // `what`: "337K pairs"
  double calls = 0, sent = 0, answered = 0;  // of models behind HTTP; tokens
  double cost = 0;
  bool unpriced = false;  // a paid model without prices is asked
  double gpu_hours = 0;
  double disk = 0;  // bytes that stay

  void add(const VolumeEstimate& other);
};

// One for each stage, in the graph's order.
std::vector<VolumeEstimate> estimate_volumes(const StageGraph& graph, const PlanFacts& facts);

}  // namespace dt2it
