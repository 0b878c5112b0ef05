// SPDX-License-Identifier: Apache-2.0
#include "core/util/workers.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace dt2it {

unsigned hardware_threads() { return std::max(1u, std::thread::hardware_concurrency()); }

bool parallel_for(std::size_t count, std::size_t threads,
                  const std::function<void(std::size_t)>& work, const std::atomic<bool>* stop) {
  if (threads == 0) threads = hardware_threads();
  std::atomic<std::size_t> next{0};  // may pass `count`, by one for each thread
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto keep_error = [&] {
    failed = true;
    const std::lock_guard lock(mutex);
    if (!failure) failure = std::current_exception();
  };
  const auto worker = [&] {
    try {
      while (!failed && !(stop && stop->load(std::memory_order_relaxed))) {
        const std::size_t index = next.fetch_add(1);
        if (index >= count) return;
        work(index);
      }
    } catch (...) {
      keep_error();
    }
  };
  {
    std::vector<std::jthread> others;
    try {
      for (std::size_t i = 1; i < std::min(threads, count); ++i) others.emplace_back(worker);
    } catch (...) {
      keep_error();
    }
    worker();
  }
  if (failure) std::rethrow_exception(failure);
  return next.load() >= count;
}

}  // namespace dt2it
