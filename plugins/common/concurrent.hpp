// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dt2it {

// work(0) ... work(count - 1), `most` at a time from threads of their own: for what waits for
// remote models, or is to use several cores. After an exception no more is begun; it is thrown when what is in flight has
// ended.
inline void concurrently(std::size_t count, int most,
                         const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < std::min(static_cast<std::size_t>(most), count); ++i)
      threads.emplace_back([&] {
        for (std::size_t at = next++; at < count; at = next++) {
          try {
            work(at);
          } catch (...) {
            const std::lock_guard lock(mutex);
            if (!failure) failure = std::current_exception();
            next = count;
          }
        }
      });
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace dt2it
