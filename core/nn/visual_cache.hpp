// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <future>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "dt2it/backbone.hpp"

namespace dt2it::nn {

// A picture ready for the model, or why there is none.
struct Visual {
  Status status = Status::missing_media;
  std::shared_ptr<const PreparedVisual> pixels;
  std::vector<double> times;    // videos: seconds of each temporal step
  double seconds_per_step = 0;  // videos
  std::string detail;           // why not ok
};

// The most recently used visuals within a budget. Whoever asks for one that is being made waits for
// it. Thread-safe.
class VisualCache {
 public:
  explicit VisualCache(std::size_t bytes) : budget_(bytes) {}

  // The one of this process for visuals that are prepared alike, while anyone holds it: several models that look at the same
  // data decode and resize each picture once. `rules`: all that decides how a medium is prepared. The first who asks for
  // it sets the budget.
  static std::shared_ptr<VisualCache> shared(const std::string& rules, std::size_t bytes);

  // Failures are not kept. What `make` throws comes through.
  std::shared_ptr<const Visual> get(const std::string& key, const std::function<Visual()>& make);

 private:
  struct Entry {
    std::shared_future<std::shared_ptr<const Visual>> visual;
    std::list<std::string>::iterator age;
    std::size_t bytes = 0;  // 0 while it is made
  };
  const std::size_t budget_;
  std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;
  std::list<std::string> ages_;  // most recently used first
  std::size_t bytes_ = 0;
};

}  // namespace dt2it::nn
