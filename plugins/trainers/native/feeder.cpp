// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/native/feeder.hpp"

#include <utility>

namespace dt2it::native {

Feeder::Feeder(Make make, std::int64_t first, std::int64_t end, std::size_t ahead)
    : make_(std::move(make)), next_made_(first), next_taken_(first), end_(end), ahead_(ahead) {
  if (ahead_ > 0) maker_ = std::thread([this] { work(); });
}

Feeder::~Feeder() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  if (maker_.joinable()) maker_.join();
}

void Feeder::work() {
  try {
    for (; next_made_ < end_; ++next_made_) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return over_ || ready_.size() < ahead_; });
        if (over_) return;
      }
      Batch batch = make_(next_made_);
      const std::lock_guard lock(mutex_);
      ready_.push_back(std::move(batch));
      changed_.notify_all();
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    changed_.notify_all();
  }
}

Batch Feeder::next() {
  if (ahead_ == 0) return make_(next_taken_++);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty() || failure_; });
  if (ready_.empty()) std::rethrow_exception(failure_);
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  ++next_taken_;
  changed_.notify_all();
  return batch;
}

}  // namespace dt2it::native
