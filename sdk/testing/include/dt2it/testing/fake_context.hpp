// SPDX-License-Identifier: Apache-2.0
#pragma once

// The host, for tests of plugins: a Context with media in memory, components registered by hand, seeded
// random streams, a captured log and a scratch folder that goes away with it.
//
//   dt2it::testing::FakeContext context;
//   context.add<dt2it::Judge>("teacher", std::make_shared<FakeJudge>(...));
//   PointwiseScorer scorer({.judge = "teacher"}, context);

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dt2it/context.hpp"
#include "dt2it/error.hpp"
#include "dt2it/testing/fake_media_store.hpp"

namespace dt2it::testing {

class FakeContext final : public Context {
 public:
  // Like the host's, a stream depends on the seed, the component's name and the stream's name only.
  explicit FakeContext(std::uint64_t seed = 0, std::string component_name = "component")
      : seed_(seed), name_(std::move(component_name)) {}

  ~FakeContext() override {
    std::error_code ignored;
    if (!scratch_.empty()) std::filesystem::remove_all(scratch_, ignored);
  }
  FakeContext(const FakeContext&) = delete;
  FakeContext& operator=(const FakeContext&) = delete;

  // What component<Interface>(name) gives.
  template <class Interface>
  void add(std::string name, std::shared_ptr<Interface> component) {
    std::lock_guard lock(mutex_);
    components_[{Interface::kKind, std::move(name)}] =
        std::static_pointer_cast<void>(std::move(component));
  }

  // What make<Interface>(type, params) makes.
  template <class Interface>
  void add_type(std::string type,
                std::function<std::shared_ptr<Interface>(const Table&, Context&)> maker) {
    add_maker(Interface::kKind, std::move(type),
              [maker = std::move(maker)](const Table& params, Context& context) {
                return std::static_pointer_cast<void>(maker(params, context));
              });
  }
  void add_maker(std::string kind, std::string type,
                 std::function<std::shared_ptr<void>(const Table&, Context&)> maker) {
    std::lock_guard lock(mutex_);
    makers_[{std::move(kind), std::move(type)}] = std::move(maker);
  }

  struct LogLine {
    LogLevel level;
    std::string message;
  };
  std::vector<LogLine> log_lines() const {
    std::lock_guard lock(mutex_);
    return log_;
  }
  bool logged(std::string_view part) const {
    for (const LogLine& line : log_lines())
      if (line.message.find(part) != std::string::npos) return true;
    return false;
  }

  FakeMediaStore& media_store() { return media_; }

  void log(LogLevel level, std::string_view message) override {
    std::lock_guard lock(mutex_);
    log_.push_back({level, std::string(message)});
  }

  Rng rng(std::string_view stream) override {
    return Rng(stable_hash(name_ + "/" + std::string(stream), seed_));
  }

  MediaStore& media() override { return media_; }

  std::filesystem::path scratch() override {
    std::lock_guard lock(mutex_);
    if (scratch_.empty()) {
      std::string pattern = (std::filesystem::temp_directory_path() / "dt2it-test-XXXXXX").string();
      if (!mkdtemp(pattern.data())) throw Error("cannot make a temporary folder " + pattern);
      scratch_ = pattern;
    }
    return scratch_;
  }

 protected:
  std::shared_ptr<void> find(std::string_view kind, std::string_view name) override {
    std::lock_guard lock(mutex_);
    const auto found = components_.find({std::string(kind), std::string(name)});
    if (found == components_.end())
      throw ConfigError("there is no [" + std::string(kind) + "." + std::string(name) +
                        "] in this FakeContext");
    return found->second;
  }

  std::shared_ptr<void> create(std::string_view kind, std::string_view type,
                               const Table& params) override {
    std::function<std::shared_ptr<void>(const Table&, Context&)> maker;
    {
      std::lock_guard lock(mutex_);
      const auto found = makers_.find({std::string(kind), std::string(type)});
      if (found == makers_.end())
        throw ConfigError("there is no type " + std::string(kind) + "/" + std::string(type) +
                          " in this FakeContext");
      maker = found->second;
    }
    return maker(params, *this);
  }

 private:
  using Key = std::pair<std::string, std::string>;  // kind, name
  const std::uint64_t seed_;
  const std::string name_;
  FakeMediaStore media_;
  mutable std::mutex mutex_;
  std::map<Key, std::shared_ptr<void>> components_;
  std::map<Key, std::function<std::shared_ptr<void>(const Table&, Context&)>> makers_;
  std::vector<LogLine> log_;
  std::filesystem::path scratch_;
};

}  // namespace dt2it::testing
