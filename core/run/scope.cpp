// SPDX-License-Identifier: Apache-2.0
#include "core/run/scope.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {

// May outlive the scope: a remote model whose batch is waited for is held until that has ended. Then it gives no components any
// more.
class StageScope::ComponentContext final : public Context {
 public:
  ComponentContext(StageScope& scope, std::string name)
      : scope_(&scope),
        media_(scope.media_),
        seed_(scope.seed_),
        scratch_(scope.scratch_),
        log_(scope.log_),
        name_(std::move(name)) {}

  void log(LogLevel level, std::string_view message) override {
    log_(level, fmt::format("{}: {}", name_, message));
  }
  Rng rng(std::string_view stream) override {
    return Rng(stable_hash(stream, stable_hash(name_, seed_)));
  }
  MediaStore& media() override { return media_; }
  std::filesystem::path scratch() override {
    std::string folder = name_;
    std::replace(folder.begin(), folder.end(), '/', '.');
    const auto path = scratch_ / folder;
    make_folder(path);
    return path;
  }
  void leave_scope() { scope_ = nullptr; }

 protected:
  std::shared_ptr<void> find(std::string_view kind, std::string_view name) override {
    return scope().find(kind, name);
  }
  std::shared_ptr<void> create(std::string_view kind, std::string_view type,
                               const Table& params) override {
    return scope().make(kind, type, fmt::format("{}+{}", name_, type), params);
  }

 private:
  StageScope& scope() const {
    StageScope* const scope = scope_;
    if (!scope) throw PluginError(name_ + ": asks for a component after its stage has ended");
    return *scope;
  }

  std::atomic<StageScope*> scope_;
  MediaStore& media_;
  const std::uint64_t seed_;
  const std::filesystem::path scratch_;
  const std::function<void(LogLevel, std::string_view)> log_;
  const std::string name_;
};

StageScope::StageScope(PluginRegistry& registry, std::vector<ComponentConfig> components,
                       MediaStore& media, std::uint64_t seed, std::filesystem::path scratch,
                       std::function<void(LogLevel, std::string_view)> log)
    : registry_(registry),
      components_(std::move(components)),
      media_(media),
      seed_(seed),
      scratch_(std::move(scratch)),
      log_(std::move(log)),
      counter_(std::make_shared<CallCounter>()),
      own_context_(std::make_shared<ComponentContext>(*this, "stage")) {}

// Components may hold each other and their contexts: instances go first, contexts last.
StageScope::~StageScope() {
  instances_.clear();
  for (const auto& context : contexts_) context->leave_scope();
}

Context& StageScope::context() { return *own_context_; }

CallTotals StageScope::call_totals() const { return counter_->totals(); }

std::string StageScope::why_unanswered() const { return counter_->why_unanswered(); }

void StageScope::on_call(std::function<void(const ChatReply&)> callback) {
  counter_->on_reply = std::move(callback);
}

void StageScope::use_calls(CallService& calls, std::string stage) {
  calls_ = &calls;
  stage_ = std::move(stage);
}

std::shared_ptr<void> StageScope::find(std::string_view kind, std::string_view name) {
  std::lock_guard lock(mutex_);
  const auto key = std::pair(std::string(kind), std::string(name));
  if (const auto it = instances_.find(key); it != instances_.end()) return it->second;
  const auto config = std::find_if(components_.begin(), components_.end(),
                                   [&](const auto& c) { return c.kind == kind && c.name == name; });
  if (config == components_.end())
    throw ConfigError(fmt::format(
        "no [{}.{}] within reach of this stage: a component can only use what its parameters or "
        "those of the stage name",
        kind, name));
  const std::string label = fmt::format("{}/{}", kind, name);
  if (std::find(in_making_.begin(), in_making_.end(), label) != in_making_.end())
    throw ConfigError(fmt::format("[{}.{}] needs itself", kind, name));
  in_making_.push_back(label);
  struct Leave {
    std::vector<std::string>& stack;
    ~Leave() { stack.pop_back(); }
  } leave{in_making_};
  std::shared_ptr<void> made;
  try {
    made = make(kind, config->type, label, config->params);
  } catch (const ConfigError& error) {
    // What only the component itself can tell of its parameters: said of the innermost one.
    const Location& where = config->where;
    const std::string what = error.what();
    if (where.file.empty()) throw;
    if (said_.empty() || what.find(said_) == what.npos)
      said_ = fmt::format("{}:{}:{}: [{}.{}]: {}", where.file, where.line, where.column, kind, name,
                          what);
    throw ConfigError(said_);
  }
  instances_.emplace(key, made);
  return made;
}

std::shared_ptr<void> StageScope::make(std::string_view kind, std::string_view type,
                                       std::string_view name, const Table& params) {
  std::lock_guard lock(mutex_);
  const auto context =
      contexts_.emplace_back(std::make_shared<ComponentContext>(*this, std::string(name)));
  std::shared_ptr<void> made = registry_.make(kind, type, params, *context);
  if (kind == Mllm::kKind) {
    // Whoever holds the model holds its context.
    struct Held {
      std::shared_ptr<ComponentContext> context;
      std::shared_ptr<void> model;  // goes first
    };
    auto held = std::make_shared<Held>(context, std::move(made));
    auto* const model = static_cast<Mllm*>(held->model.get());
    std::shared_ptr<Mllm> mllm(std::move(held), model);
    const std::size_t slash = name.find('/');  // "mllms/teacher"
    const std::shared_ptr<Mllm> own = mllm;
    if (calls_)
      mllm = calls_->manage(
          own, stage_,
          std::string(slash == std::string_view::npos ? name : name.substr(slash + 1)));
    const bool remote = mllm != own;
    made = std::static_pointer_cast<void>(count_calls(std::move(mllm), counter_, remote));
  } else if (kind == RewardModel::kKind) {
    made = count_rewards(std::static_pointer_cast<RewardModel>(made), counter_);
  }
  return made;
}

}  // namespace dt2it
