// SPDX-License-Identifier: Apache-2.0
#include "core/util/pool.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

using namespace dt2it;

TEST_CASE("A pool makes as many as are in use at once, and lends each to one thread") {
  static std::atomic<int> made;
  struct Thing {
    Thing() { ++made; }
    std::atomic<bool> in_use{false};
  };
  made = 0;
  Pool<Thing> pool;
  for (int i = 0; i < 5; ++i) CHECK_FALSE(pool.take()->in_use.load());
  CHECK(made.load() == 1);
  {
    const auto one = pool.take(), other = pool.take();
    CHECK(&*one != &*other);
  }
  CHECK(made.load() == 2);
  std::vector<std::thread> threads;
  std::atomic<bool> shared{false};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        const auto thing = pool.take();
        if (thing->in_use.exchange(true)) shared = true;
        thing->in_use = false;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(shared.load());
  CHECK(made.load() <= 10);
}
