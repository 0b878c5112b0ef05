// SPDX-License-Identifier: Apache-2.0
#pragma once

// What calls of remote models a run will make, before it makes any: the real scorers, strategies and curators are asked
// about a sample of the prompts or pairs, with models that only take down what they were asked.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/plugin/registry.hpp"
#include "core/run/graph.hpp"
#include "core/run/store.hpp"

namespace dt2it {

struct CallEstimate {
  std::string stage, mllm, model, purpose;
  std::int64_t calls = 0;
  std::int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  double cost = 0;
  std::string price_date;  // empty: no prices are given
  bool batch = false;
  bool at_most = false;       // as if every prompt or pair needed it
  bool from_answers = false;  // lengths of answers as stored calls had them; else assumed
};

// What an iterate stage asks judges, beside full re-distillation with the same judges.
struct IterationEstimate {
  std::string stage;
  std::int64_t full = 0;             // calls, if every pair came to the judges in every pass
  std::int64_t expected = 0;         // calls at the share below
  double share = 0;                  // of the pairs, that come to the judges
  bool measured = false;             // the share, in stages that are finished; else assumed
  std::int64_t pairs = 0, once = 0;  // of its sets; calls to judge each of them once
};

struct CallEstimates {
  std::vector<CallEstimate> lines;
  std::vector<IterationEstimate> iterations;
  std::vector<std::string> unknown;  // stages whose calls cannot be told beforehand
};

// Of the stages that are not finished. `calls`: the call store, for the lengths of answers; it may be absent.
CallEstimates estimate_calls(const Experiment& experiment, const StageGraph& graph,
                             PluginRegistry& registry, const StageStore& store,
                             const std::filesystem::path& calls);

}  // namespace dt2it
