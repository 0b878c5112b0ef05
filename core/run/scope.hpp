// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/calls/call_counter.hpp"
#include "core/calls/call_service.hpp"
#include "core/config/experiment.hpp"
#include "core/plugin/registry.hpp"
#include "dt2it/context.hpp"

namespace dt2it {

// The components of one stage run: made on first use, shared within the stage, destroyed with it. Only
// components that the stage names, directly or through others, can be had, so that its key covers all
// that it depends on. Thread-safe.
class StageScope {
 public:
  // `components`: what may be used, paths already resolved. `log` gets plugins' messages.
  StageScope(PluginRegistry& registry, std::vector<ComponentConfig> components, MediaStore& media,
             std::uint64_t seed, std::filesystem::path scratch,
             std::function<void(LogLevel, std::string_view)> log);
  ~StageScope();

  Context& context();  // the stage's own
  CallTotals call_totals() const;
  std::string why_unanswered() const;  // the last call that got no answer
  void on_call(
      std::function<void(const ChatReply&)> callback);  // before the first component is made
  // Remote models are asked by way of `calls`, in the name of `stage`; without it they cannot be used.
  void use_calls(CallService& calls, std::string stage);  // likewise
  // In place of the component of that kind and name, which is then not made.
  void stand_in(std::string kind, std::string name, std::shared_ptr<void> instance) {
    instances_[{std::move(kind), std::move(name)}] = std::move(instance);
  }
  // False: `stop` was set before all calls that wait for batches had their answers.
  bool finish_batches(const std::atomic<bool>& stop) {
    return !calls_ || calls_->finish_batches(stop);
  }

 private:
  class ComponentContext;

  std::shared_ptr<void> find(std::string_view kind, std::string_view name);
  std::shared_ptr<void> make(std::string_view kind, std::string_view type, std::string_view name,
                             const Table& params);

  PluginRegistry& registry_;
  const std::vector<ComponentConfig> components_;
  MediaStore& media_;
  const std::uint64_t seed_;
  const std::filesystem::path scratch_;
  const std::function<void(LogLevel, std::string_view)> log_;
  std::recursive_mutex mutex_;  // a component may ask for others while it is made
  std::vector<std::string> in_making_;
  std::string said_;  // of a component that could not be made
  std::vector<std::shared_ptr<ComponentContext>> contexts_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<void>, std::less<>> instances_;
  std::shared_ptr<CallCounter> counter_;
  CallService* calls_ = nullptr;
  std::string stage_;
  std::shared_ptr<ComponentContext> own_context_;
};

}  // namespace dt2it
