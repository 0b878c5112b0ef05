// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace dt2it {

// Things that are costly to make and hold much memory, lent to one thread at a time: as many as are in use at once, where a
// thread_local would be one for each of a thousand waiting threads. Thread-safe.
template <class T>
class Pool {
 public:
  class Lease {
   public:
    Lease(Pool& pool, std::unique_ptr<T> thing) : pool_(&pool), thing_(std::move(thing)) {}
    Lease(Lease&&) noexcept = default;
    ~Lease() {
      if (thing_) pool_->give_back(std::move(thing_));
    }
    T& operator*() const { return *thing_; }
    T* operator->() const { return thing_.get(); }

   private:
    Pool* pool_;
    std::unique_ptr<T> thing_;
  };

  Lease take() {
    {
      std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        Lease lease(*this, std::move(free_.back()));
        free_.pop_back();
        return lease;
      }
    }
    return {*this, std::make_unique<T>()};
  }

 private:
  void give_back(std::unique_ptr<T> thing) {
    std::lock_guard lock(mutex_);
    free_.push_back(std::move(thing));
  }
  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> free_;
};

}  // namespace dt2it
