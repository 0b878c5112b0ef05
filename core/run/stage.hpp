// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a stage is and what it gets while it runs. Stages are the host's own; everything that a user may
// want to exchange is a plugin that a stage asks for by name.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/experiment.hpp"
#include "core/util/shard.hpp"
#include "dt2it/context.hpp"

namespace dt2it {

class Journal;
class StageScope;
class ProgressBoard;
class StageProgress;

// Thrown out of a stage when the user asked to stop; what is done is saved.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

// Names the stage parameters by which one stage names another.
struct StageInputs {
  static constexpr const char* kKind = "stages";
};

class StageRun {
 public:
  StageRun(const StageConfig& config, const Experiment& experiment, StageScope& scope,
           std::map<std::string, std::filesystem::path> inputs, std::filesystem::path work,
           std::filesystem::path output, int workers, const std::atomic<bool>& stop,
           StageProgress* progress)
      : config(config),
        experiment(experiment),
        scope(scope),
        inputs(std::move(inputs)),
        work(std::move(work)),
        output(std::move(output)),
        workers(workers),
        stop(stop),
        progress(progress) {}

  const StageConfig& config;
  const Experiment& experiment;
  StageScope& scope;
  const std::map<std::string, std::filesystem::path> inputs;  // stage name -> finished folder
  const std::filesystem::path work;    // journals and training state; survives an interrupted run
  const std::filesystem::path output;  // becomes the stage's folder when the stage returns
  const int workers;                   // items in flight
  const std::atomic<bool>& stop;
  StageProgress* const progress;  // never null
  // Only where StageType::shardable: which part of the work this process does. A process with a part leaves it in work/ for
  // the run that does the rest; it has no output, and others may be at work beside it.
  Shard shard;
  // Status::unavailable is a result (--keep-unanswered). Else it is none: such items are left for the next run.
  bool keep_unanswered = false;

  std::filesystem::path input(const std::string& stage) const { return inputs.at(stage); }
  Context& context() const;  // the stage's own: component<T>(name), rng(stream), media()
  void check_stop() const {
    if (stop.load(std::memory_order_relaxed)) throw Interrupted();
  }

  // Works on items 0 ... count-1, `workers` at a time, and writes what `work_on` returns (JSON text, one
  // line; empty: no line) to output/file in item order. Finished items are journalled in work/, so an
  // interrupted stage goes on where it stopped. The first exception stops the stage after what is in flight.
  // Items of which a remote model left a call unanswered are worked on once more at the end, and then end the
  // stage by `end_unanswered`.
  void for_each_item(const std::string& file, std::size_t count,
                     const std::function<std::string(std::size_t)>& work_on);

  // For stages that have done all they could: throws ModelError where `count` > 0 of `all` items ("pairs") got no
  // answer and such are not to be kept. The caller has put none of them on record.
  void end_unanswered(std::size_t count, std::size_t all, std::string_view items) const;

 private:
  using WorkOn = std::function<std::string(std::size_t)>;
  struct Unanswered {
    std::size_t item = 0;
    std::string line;  // what was made of it all the same
  };
  // Works on `todo` until all calls that wait for batches have their answers.
  std::vector<Unanswered> work_through(std::vector<std::size_t> todo, Journal& journal,
                                       const WorkOn& work_on);
};

struct StageType {
  ComponentDescription description;  // kind "stages"
  std::string
      result;  // what "stage:NAME" means, relative to the stage's folder ("checkpoint"); empty: all
  // For composites: the plain stages that stand for this one; the last has its name.
  std::function<std::vector<StageConfig>(const StageConfig&, const Experiment&)> expand;
  std::function<void(StageRun&)> run;  // for plain stages
  bool shardable = false;
  bool names_inputs =
      false;  // the result holds the names of its input stages, so they go into its key
  // What stands for the result where an earlier gate ended the rounds (StageConfig::gate); given the gate's folder.
  std::function<void(StageRun&, const std::filesystem::path&)> pass_by;
};

// All stage types, by name.
using StageTypes = std::map<std::string, StageType, std::less<>>;

// `version` goes into the keys of the stage: raise it when the same parameters give other files.
template <class P>
StageType make_stage(std::string name, std::string help, std::string version,
                     std::function<void(const P&, StageRun&)> run) {
  auto schema = std::make_shared<Schema<P>>();
  P::describe(*schema);
  StageType type;
  type.description = {"stages", std::move(name),   std::move(help), schema->specs(),
                      "",       std::move(version)};
  type.run = [schema, run = std::move(run)](StageRun& stage) {
    run(schema->make(stage.config.params), stage);
  };
  return type;
}

template <class P>
StageType make_composite(
    std::string name, std::string help,
    std::function<std::vector<StageConfig>(const P&, const StageConfig&, const Experiment&)>
        expand) {
  auto schema = std::make_shared<Schema<P>>();
  P::describe(*schema);
  StageType type;
  type.description = {"stages", std::move(name), std::move(help), schema->specs(), "", "1"};
  type.expand = [schema, expand = std::move(expand)](const StageConfig& config,
                                                     const Experiment& experiment) {
    return expand(schema->make(config.params), config, experiment);
  };
  return type;
}

}  // namespace dt2it
