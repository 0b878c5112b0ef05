// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/calls/call_service.hpp"
#include "core/media/media_store.hpp"
#include "core/plugin/registry.hpp"
#include "core/run/graph.hpp"
#include "core/run/store.hpp"
#include "core/util/progress.hpp"
#include "core/util/shard.hpp"

namespace dt2it {

struct RunOptions {
  std::filesystem::path runs = "runs";
  int jobs = 0;  // stages at work at once; 0: as many as there are cores, at most 4
  int workers =
      0;  // items in flight within a stage; 0: 8, or as many calls as its remote models take
  bool quiet = false;
  double max_cost = 0;               // cap of the run, in the currency of the prices; 0: none
  std::int64_t max_tokens = 0;       // likewise in tokens
  bool offline = false;              // remote models answer from the call store only
  bool keep_unanswered = false;      // stages end although calls or rewards got no answer
  std::filesystem::path call_store;  // file; empty: calls.sqlite in runs/.calls
  std::string stage;  // run only this stage of each experiment and what it needs; empty: all
  Shard shard;        // with `stage`, which must be shardable: only this part of it
  // How the experiments were read; kept in run.json so that a report says how to make the run again.
  std::vector<std::string> settings;     // --set
  std::vector<std::string> plugin_path;  // --plugin-path
};

// The media store of a runs folder, with the decoder that the codecs plugin gives. Outlives all stages.
class HostMedia {
 public:
  HostMedia(PluginRegistry& registry, const std::filesystem::path& root);
  ~HostMedia();
  MediaStore& store() { return *store_; }

 private:
  class CodecContext;
  std::unique_ptr<CodecContext> context_;
  std::unique_ptr<FileMediaStore> store_;
};

// Runs experiments: stages of equal key once, independent ones side by side.
class Runner {
 public:
  Runner(PluginRegistry& registry, const StageTypes& types, RunOptions options);

  // Plans; throws ConfigError. All experiments are added before run().
  const StageGraph& add(Experiment experiment);

  // Runs what is not finished. Throws the first error after running stages have stopped and saved what
  // they have; Interrupted when `stop` was set. Each experiment's run folder is written in any case.
  void run(const std::atomic<bool>& stop);

  std::filesystem::path run_folder(const Experiment& experiment) const;
  const StageStore& store() const { return store_; }

  struct Entry {
    Experiment experiment;
    StageGraph graph;
  };
  const std::vector<std::unique_ptr<Entry>>& entries() const { return entries_; }

 private:
  struct Job {
    const Entry* entry;
    const PlannedStage* stage;
    std::vector<std::string> waits_for;  // keys
    std::set<std::string> devices;       // accelerators
  };
  // What a stage gets to run with: inputs, and its configuration with the paths of this runs folder.
  struct Resolved {
    std::map<std::string, std::filesystem::path> inputs;
    std::vector<ComponentConfig> components;
    StageConfig config;
  };

  std::set<std::string> wanted() const;  // keys
  Resolved resolve(const Job& job) const;

  int workers_for(const PlannedStage& stage) const;
  void run_stage(const Job& job, const std::atomic<bool>& stop);
  void run_shard(const Job& job, const std::atomic<bool>& stop);
  void write_run_folder(const Entry& entry) const;

  PluginRegistry& registry_;
  const StageTypes& types_;
  const RunOptions options_;
  StageStore store_;
  HostMedia media_;
  CallService calls_;
  std::unique_ptr<ProgressBoard> board_;
  std::vector<std::unique_ptr<Entry>> entries_;
  Fingerprints fingerprints_;
};

}  // namespace dt2it
