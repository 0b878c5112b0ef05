// SPDX-License-Identifier: Apache-2.0
#include "core/run/runner.hpp"

#include <fmt/format.h>
#include <simdjson.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <set>
#include <thread>

#include "core/run/layout.hpp"
#include "core/run/scope.hpp"
#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "core/util/program_version.hpp"
#include "core/util/rethrow.hpp"
#include "core/util/value_text.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

// ---------------------------------------------------------------- media

// Decoders get no components and no randomness: decoding depends on the bytes alone.
class HostMedia::CodecContext final : public Context {
 public:
  explicit CodecContext(HostMedia& media) : media_(media) {}
  void log(LogLevel, std::string_view message) override { spdlog::info("codecs: {}", message); }
  Rng rng(std::string_view stream) override { return Rng(stable_hash(stream)); }
  MediaStore& media() override { return media_.store(); }
  fs::path scratch() override { return fs::temp_directory_path(); }

 protected:
  std::shared_ptr<void> find(std::string_view, std::string_view) override {
    throw ConfigError("a codec can use no other components");
  }
  std::shared_ptr<void> create(std::string_view, std::string_view, const Table&) override {
    throw ConfigError("a codec can use no other components");
  }

 private:
  HostMedia& media_;
};

HostMedia::HostMedia(PluginRegistry& registry, const fs::path& root)
    : context_(std::make_unique<CodecContext>(*this)),
      store_(std::make_unique<FileMediaStore>(root, [&registry, this] {
        return std::static_pointer_cast<Codec>(
            registry.make(Codec::kKind, "opencv", Table{}, *context_));
      })) {}

HostMedia::~HostMedia() = default;

// ---------------------------------------------------------------- planning

namespace {

int default_jobs() {
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 4u));
}

// Of NVIDIA or AMD; core knows no LibTorch.
bool has_accelerator() { return fs::exists("/dev/nvidiactl") || fs::exists("/dev/kfd"); }

// Whether the stage whose folder this is says that what comes after it is passed by.
bool ended(const fs::path& gate) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  bool end = false;
  const std::string text = read_file(gate / layout::kGate);
  if (parser.parse(text).get(root) || root["end"].get(end))
    throw DataError((gate / layout::kGate).string() + ": 'end' is expected");
  return end;
}

void log_plugin(LogLevel level, std::string_view message) {
  switch (level) {
    case LogLevel::debug: spdlog::debug("{}", message); break;
    case LogLevel::info: spdlog::info("{}", message); break;
    case LogLevel::warning: spdlog::warn("{}", message); break;
    case LogLevel::error: spdlog::error("{}", message); break;
  }
}

}  // namespace

Runner::Runner(PluginRegistry& registry, const StageTypes& types, RunOptions options)
    : registry_(registry),
      types_(types),
      options_(std::move(options)),
      store_(options_.runs),
      media_(registry, store_.media()),
      calls_({options_.call_store.empty() ? layout::call_store(store_.runs()) : options_.call_store,
              options_.max_cost, options_.max_tokens, options_.offline},
             log_plugin),
      board_(std::make_unique<ProgressBoard>(options_.quiet)) {}

const StageGraph& Runner::add(Experiment experiment) {
  auto entry = std::make_unique<Entry>();
  entry->graph = plan_stages(experiment, types_, registry_, &fingerprints_);
  entry->experiment = std::move(experiment);
  entries_.push_back(std::move(entry));
  return entries_.back()->graph;
}

fs::path Runner::run_folder(const Experiment& experiment) const {
  std::string name = experiment.name;
  if (experiment.profile != "mini") name += "@" + fs::path(experiment.profile).stem().string();
  if (experiment.seed != 0) name += fmt::format("@seed{}", experiment.seed);
  return store_.runs() / name;
}

// ---------------------------------------------------------------- running

void Runner::run(const std::atomic<bool>& stop) {
  std::vector<Job> todo;
  std::set<std::string> done;  // keys
  std::set<std::string> planned;
  const std::set<std::string> to_run = wanted();
  const bool accelerator = has_accelerator();
  for (const auto& entry : entries_)
    for (const PlannedStage& stage : entry->graph.stages) {
      if (!to_run.contains(stage.key) || !planned.insert(stage.key).second) continue;
      if (store_.complete(stage.folder())) {
        store_.tidy(stage.folder());
        done.insert(stage.key);
        continue;
      }
      Job job{entry.get(), &stage, {}, accelerators_of(stage, accelerator)};
      for (const std::string& input : stage.inputs)
        job.waits_for.push_back(entry->graph.find(input)->key);
      todo.push_back(std::move(job));
    }

  if (todo.empty())
    board_->say(done.size() == 1 ? "the stage was there already"
                                 : fmt::format("all {} stages were there already", done.size()));

  // Also now, so that `clean` and `report` know what this run is at work on.
  for (const auto& entry : entries_) write_run_folder(*entry);
  std::set<std::string> stages;
  for (const auto& entry : entries_)
    for (const PlannedStage& stage : entry->graph.stages) stages.insert(stage.folder());
  calls_.count_spent({stages.begin(), stages.end()});

  std::mutex mutex;
  std::condition_variable changed;
  std::exception_ptr failure;
  std::atomic<bool> halt{false};  // the user's stop, or a failure elsewhere
  int running = 0;
  std::set<std::string> busy;  // a large model fills an accelerator: its stages take turns

  auto worker = [&] {
    std::unique_lock lock(mutex);
    for (;;) {
      if (stop.load()) halt = true;
      if (halt || (todo.empty() && running == 0)) break;
      const auto ready = std::find_if(todo.begin(), todo.end(), [&](const Job& job) {
        return std::ranges::all_of(job.waits_for,
                                   [&](const std::string& key) { return done.contains(key); }) &&
               std::ranges::none_of(
                   job.devices, [&](const std::string& device) { return busy.contains(device); });
      });
      if (ready == todo.end()) {
        changed.wait_for(lock, std::chrono::milliseconds(100));
        continue;
      }
      const Job job = *ready;
      todo.erase(ready);
      ++running;
      busy.insert(job.devices.begin(), job.devices.end());
      lock.unlock();
      std::exception_ptr error;
      try {
        run_stage(job, halt);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      --running;
      for (const std::string& device : job.devices) busy.erase(device);
      if (error) {
        if (!failure) failure = error;
        halt = true;
      } else {
        done.insert(job.stage->key);
      }
      changed.notify_all();
    }
    changed.notify_all();
  };

  // The signal only sets `stop`; stages look at `halt`, which also a failure elsewhere sets.
  std::atomic<bool> over{false};
  std::thread watcher([&] {
    while (!over) {
      if (stop.load()) halt = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  const int jobs = options_.jobs > 0 ? options_.jobs : default_jobs();
  std::vector<std::thread> threads;
  for (int i = 1; i < jobs; ++i) threads.emplace_back(worker);
  worker();
  for (std::thread& thread : threads) thread.join();
  over = true;
  watcher.join();
  board_->close();

  for (const auto& entry : entries_) write_run_folder(*entry);
  if (failure) std::rethrow_exception(failure);
  if (stop.load() && !todo.empty()) throw Interrupted();
}

// All stages, or those that RunOptions::stage needs, itself included.
std::set<std::string> Runner::wanted() const {
  std::set<std::string> keys;
  for (const auto& entry : entries_) {
    std::vector<const PlannedStage*> todo;
    for (const PlannedStage& stage : entry->graph.stages)
      if (options_.stage.empty() || stage.config.name == options_.stage) todo.push_back(&stage);
    if (todo.empty()) {
      std::string names;
      for (const PlannedStage& stage : entry->graph.stages)
        names += (names.empty() ? "" : ", ") + stage.config.name;
      throw ConfigError(fmt::format("{}: no stage is named '{}' (there are: {})",
                                    entry->experiment.name, options_.stage, names));
    }
    if (options_.shard.count > 1 && !todo.front()->type->shardable)
      throw ConfigError(fmt::format("{}: stage '{}' of type '{}' cannot be done in parts",
                                    entry->experiment.name, options_.stage,
                                    todo.front()->config.type));
    while (!todo.empty()) {
      const PlannedStage* stage = todo.back();
      todo.pop_back();
      if (!keys.insert(stage->key).second) continue;
      for (const std::string& input : stage->inputs) todo.push_back(entry->graph.find(input));
    }
  }
  return keys;
}

// A remote model's calls wait for the network, not for cores: as many items as it takes calls at once.
int Runner::workers_for(const PlannedStage& stage) const {
  constexpr std::int64_t kUsual = 8, kMost = 1024;
  if (options_.workers > 0) return options_.workers;
  std::int64_t calls = 0;
  for (const ComponentConfig& component : stage.components)
    if (const auto it = component.params.find("max_in_flight");
        component.kind == Mllm::kKind && it != component.params.end())
      if (const auto* count = std::get_if<std::int64_t>(&it->second.data)) calls += *count;
  return static_cast<int>(std::clamp(calls, kUsual, kMost));
}

Runner::Resolved Runner::resolve(const Job& job) const {
  const PlannedStage& stage = *job.stage;
  Resolved resolved;
  for (const std::string& input : stage.inputs)
    resolved.inputs[input] = store_.finished(job.entry->graph.find(input)->folder());
  const auto path_of = [&](const std::string& text) -> std::string {
    constexpr std::string_view kPrefix = "stage:";
    if (!text.starts_with(kPrefix)) return text;
    const std::string name = text.substr(kPrefix.size());
    return (resolved.inputs.at(name) / job.entry->graph.find(name)->type->result).string();
  };
  resolved.components = stage.components;
  for (ComponentConfig& component : resolved.components)
    component.params = replace_paths(
        component.params, registry_.find(component.kind, component.type)->params, path_of);
  resolved.config = stage.config;
  resolved.config.params =
      replace_paths(stage.config.params, stage.type->description.params, path_of);
  return resolved;
}

// A part of a stage, left in its work folder. The stage is not claimed: other processes do other parts.
void Runner::run_shard(const Job& job, const std::atomic<bool>& stop) {
  const PlannedStage& stage = *job.stage;
  const fs::path work = store_.work(stage.folder());
  make_folder(work);
  Resolved resolved = resolve(job);
  const std::unique_ptr<StageProgress> progress = board_->start(fmt::format(
      "{} {} {}", job.entry->experiment.name, stage.config.name, options_.shard.text()));
  StageScope scope(registry_, std::move(resolved.components), media_.store(),
                   job.entry->experiment.seed,
                   work / ("scratch." + std::to_string(options_.shard.index)), log_plugin);
  scope.use_calls(calls_, stage.folder());
  try {
    StageRun run(resolved.config, job.entry->experiment, scope, std::move(resolved.inputs), work,
                 {}, workers_for(stage), stop, progress.get());
    run.shard = options_.shard;
    run.keep_unanswered = options_.keep_unanswered;
    stage.type->run(run);
  } catch (const Interrupted&) {
    throw;
  } catch (...) {
    rethrow_with<Error>(fmt::format("{} stage '{}', shard {}: ", job.entry->experiment.name,
                                    stage.config.name, options_.shard.text()));
  }
  progress->finish();
}

void Runner::run_stage(const Job& job, const std::atomic<bool>& stop) {
  const PlannedStage& stage = *job.stage;
  const StageConfig& config = stage.config;
  if (options_.shard.count > 1 && config.name == options_.stage) return run_shard(job, stop);
  const std::string folder = stage.folder();
  std::string holder;
  std::optional<StageStore::Claim> claim = store_.claim(folder, holder);
  bool told = false;
  while (!claim) {
    if (!told)
      spdlog::warn("stage {} ({}) is being worked on by {}; waiting for it", config.name, folder,
                   holder);
    told = true;
    if (stop.load()) throw Interrupted();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    claim = store_.claim(folder, holder);
  }
  if (store_.complete(folder)) {  // another process was first
    store_.drop(folder, std::move(*claim));
    return;
  }

  Resolved resolved = resolve(job);
  const std::unique_ptr<StageProgress> progress =
      board_->start(fmt::format("{} {}", job.entry->experiment.name, config.name));
  StageScope scope(registry_, std::move(resolved.components), media_.store(),
                   job.entry->experiment.seed, claim->work / "scratch", log_plugin);
  scope.on_call([progress = progress.get()](const ChatReply& reply) {
    progress->count_call(reply.status != Status::ok);
  });
  scope.use_calls(calls_, folder);
  const auto begin = std::chrono::steady_clock::now();
  try {
    StageRun run(resolved.config, job.entry->experiment, scope, std::move(resolved.inputs),
                 claim->work, claim->output, workers_for(stage), stop, progress.get());
    run.keep_unanswered = options_.keep_unanswered;
    if (const fs::path gate = config.gate.empty() ? fs::path() : run.input(config.gate);
        !gate.empty() && ended(gate))
      stage.type->pass_by(run, gate);
    else
      stage.type->run(run);
  } catch (const Interrupted&) {
    throw;
  } catch (...) {
    rethrow_with<Error>(fmt::format("{} stage '{}': ", job.entry->experiment.name, config.name));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

  // What the stage is: part of the result, and free of names that only this experiment knows it by. What it
  // cost in this run: beside it, since a resumed run costs less than an unbroken one.
  write_file_atomically(claim->output / layout::kStage, stage.identity + "\n");
  const CallTotals calls = scope.call_totals();
  JsonWriter cost;
  cost.begin_object();
  cost.key("seconds").value(seconds);
  cost.key("calls").value(calls.calls);
  cost.key("failures").value(calls.failures);
  cost.key("prompt_tokens").value(calls.prompt_tokens);
  cost.key("completion_tokens").value(calls.completion_tokens);
  if (const std::vector<LedgerRow> ledger = calls_.ledger(folder); !ledger.empty()) {
    // Of all processes that worked on the stage, unlike the above.
    cost.key("ledger").begin_array();
    for (const LedgerRow& row : ledger) {
      cost.begin_object();
      cost.key("mllm")
          .value(row.mllm)
          .key("endpoint")
          .value(row.endpoint)
          .key("model")
          .value(row.model);
      cost.key("purpose")
          .value(row.purpose)
          .key("calls")
          .value(row.calls)
          .key("paid")
          .value(row.paid);
      cost.key("failed").value(row.failed).key("statuses").value(row.statuses);
      cost.key("prompt_tokens")
          .value(row.prompt_tokens)
          .key("cached_tokens")
          .value(row.cached_tokens);
      cost.key("completion_tokens").value(row.completion_tokens).key("cost").value(row.cost);
      cost.key("usage_unknown").value(row.usage_unknown);
      cost.end_object();
    }
    cost.end_array();
  }
  cost.end_object();
  // In the work folder first, where a killed process may leave parts of files; then beside the result.
  write_file_atomically(claim->work / "cost.json", cost.text() + "\n");
  fs::rename(claim->work / "cost.json", layout::cost_file(store_.runs(), folder));
  store_.finish(folder, std::move(*claim));
  progress->finish();
}

// ---------------------------------------------------------------- run folders

namespace {

// By renaming: another process may write the same run folder.
void set_link(const fs::path& link, const fs::path& target) {
  std::error_code absent;
  if (fs::read_symlink(link, absent) == target) return;
  fs::path fresh = link;
  fresh += fmt::format(".{}", ::getpid());
  fs::create_directory_symlink(target, fresh);
  fs::rename(fresh, link);
}

}  // namespace

void Runner::write_run_folder(const Entry& entry) const {
  const Experiment& experiment = entry.experiment;
  const fs::path folder = run_folder(experiment);
  make_folder(folder / layout::kStages);
  write_file_atomically(folder / layout::kResolved, experiment.resolved);
  std::set<fs::path> links;
  JsonWriter json;
  json.begin_object();
  json.key("name").value(experiment.name);
  json.key("file").value(experiment.file.string());
  json.key("profile").value(experiment.profile);
  json.key("seed").value(static_cast<std::int64_t>(experiment.seed));
  json.key("paper").value(experiment.paper);
  json.key("about").value(experiment.about);
  json.key("version").value(program_version());
  const auto texts = [&](const char* key, const std::vector<std::string>& values) {
    json.key(key).begin_array();
    for (const std::string& value : values) json.value(value);
    json.end_array();
  };
  texts("settings", options_.settings);
  texts("plugin_path", options_.plugin_path);
  json.key("expect").begin_object();
  for (const auto& [metric, relation] : experiment.expect) json.key(metric).value(relation);
  json.end_object();
  json.key("stages").begin_array();
  for (const PlannedStage& stage : entry.graph.stages) {
    const bool complete = store_.complete(stage.folder());
    json.begin_object();
    json.key("name").value(stage.config.name);
    json.key("type").value(stage.config.type);
    json.key("key").value(stage.key);
    json.key("folder").value(stage.folder());
    json.key("complete").value(complete);
    json.key("inputs").begin_array();
    for (const std::string& input : stage.inputs) json.value(input);
    json.end_array();
    json.end_object();
    if (complete) {
      const fs::path link = folder / layout::kStages / stage.config.name;
      set_link(link, fs::relative(store_.finished(stage.folder()), link.parent_path()));
      links.insert(link);
    }
  }
  for (const auto& entry :
       fs::directory_iterator(folder / layout::kStages))  // of stages that there were once
    if (entry.is_symlink() && !links.contains(entry.path())) fs::remove(entry.path());
  json.end_array();
  json.end_object();
  write_file_atomically(folder / layout::kRun, json.text() + "\n");
}

}  // namespace dt2it
