// SPDX-License-Identifier: Apache-2.0
#pragma once

// What pairs the stages of an experiment will have, before they have run: how many of each source,
// and a few of them.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/run/graph.hpp"
#include "core/run/scope.hpp"
#include "core/run/store.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

struct SourceOfPairs {
  std::vector<PreferencePair> sample;
  std::int64_t count = 0;
};

struct PairsAhead {
  std::map<std::string, SourceOfPairs> sources;
  bool at_most = false;  // stages before may drop some
  std::int64_t count() const {
    std::int64_t all = 0;
    for (const auto& [name, source] : sources) all += source.count;
    return all;
  }
};

class PlannedPairs {
 public:
  using MakeScope = std::function<std::unique_ptr<StageScope>(const PlannedStage&)>;
  // The most pairs that a stage of type pair makes, of how many prompts, and some of these.
  struct Distilled {
    std::vector<Prompt> sample;
    std::int64_t pairs = 0;
  };
  using Distil = std::function<std::optional<Distilled>(const PlannedStage&)>;

  PlannedPairs(const StageGraph& graph, const StageStore& store, MakeScope make_scope,
               Distil distil)
      : graph_(graph),
        store_(store),
        make_scope_(std::move(make_scope)),
        distil_(std::move(distil)) {}

  // Empty: they cannot be told. Errors of data sets pass through.
  const std::optional<PairsAhead>& of(const PlannedStage& stage);
  // Those that a stage reads.
  std::optional<PairsAhead> before(const PlannedStage& stage);

 private:
  std::optional<PairsAhead> find(const PlannedStage& stage);
  PairsAhead read(const std::filesystem::path& file) const;
  PairsAhead collected(const PlannedStage& stage);
  PairsAhead reformulated(const PlannedStage& stage);

  const StageGraph& graph_;
  const StageStore& store_;
  const MakeScope make_scope_;
  const Distil distil_;
  std::map<std::string, std::optional<PairsAhead>> known_;
};

// Parameters of a stage or component; the fallback where there is none of that type.
std::int64_t integer_of(const Table& params, const char* name, std::int64_t fallback);
std::string text_of(const Table& params, const char* name);
std::vector<std::string> texts_of(const Table& params, const char* name);

// How many records a data set has, by its parameters `count` and `file`; 0: these do not say.
std::int64_t records_of(const Table& dataset);

}  // namespace dt2it
