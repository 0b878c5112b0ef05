// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "plugins/trainers/native/units.hpp"

namespace dt2it::native {

struct Batch {
  std::vector<std::size_t> records;  // of all processes, in order
  std::vector<Unit> units;           // this process's share
};

// Makes the batches of steps first ... end - 1 ahead of their use, in order.
class Feeder {
 public:
  using Make = std::function<Batch(std::int64_t step)>;
  // `ahead` 0: each batch is made when it is asked for, by who asks.
  Feeder(Make make, std::int64_t first, std::int64_t end, std::size_t ahead);
  ~Feeder();
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;

  // The next one; throws what making it threw.
  Batch next();

 private:
  void work();

  const Make make_;
  std::int64_t next_made_, next_taken_;
  const std::int64_t end_;
  const std::size_t ahead_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::exception_ptr failure_;
  bool over_ = false;
  std::thread maker_;
};

}  // namespace dt2it::native
