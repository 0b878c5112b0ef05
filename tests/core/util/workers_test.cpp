// SPDX-License-Identifier: Apache-2.0
#include "core/util/workers.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace dt2it;

namespace {

// True when `wanted` calls were in it at the same time; gives up after some seconds.
class Meeting {
 public:
  explicit Meeting(int wanted) : wanted_(wanted) {}
  bool come() {
    std::unique_lock lock(mutex_);
    ++here_;
    changed_.notify_all();
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return here_ >= wanted_; });
  }

 private:
  const int wanted_;
  int here_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace

TEST_CASE("Each index is worked on once, whatever the number of threads") {
  for (const std::size_t threads : {0u, 1u, 2u, 7u, 64u})
    for (const std::size_t count : {0u, 1u, 2u, 63u, 5000u}) {
      std::vector<int> calls(count, 0);
      std::vector<std::size_t> results(count, 0);
      CHECK(parallel_for(count, threads, [&](std::size_t i) {
        ++calls[i];
        results[i] = i * i;
      }));
      CHECK(std::all_of(calls.begin(), calls.end(), [](int n) { return n == 1; }));
      for (std::size_t i = 0; i < count; ++i) REQUIRE(results[i] == i * i);
    }
}

TEST_CASE("One thread is the caller's own, in the order of the indices") {
  std::vector<std::size_t> order;
  std::set<std::thread::id> ids;
  parallel_for(20, 1, [&](std::size_t i) {
    order.push_back(i);
    ids.insert(std::this_thread::get_id());
  });
  std::vector<std::size_t> expected(20);
  std::iota(expected.begin(), expected.end(), 0);
  CHECK(order == expected);
  CHECK(ids == std::set{std::this_thread::get_id()});
}

TEST_CASE("As many run at once as were asked for, the caller among them, and no more") {
  Meeting meeting(4);
  std::atomic<int> met{0};
  std::atomic<bool> caller{false};
  std::mutex mutex;
  std::set<std::thread::id> ids;
  const std::thread::id own = std::this_thread::get_id();
  parallel_for(100, 4, [&](std::size_t) {
    if (meeting.come()) ++met;
    if (std::this_thread::get_id() == own) caller = true;
    const std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  CHECK(met == 100);
  CHECK(caller.load());
  CHECK(ids.size() == 4);
}

TEST_CASE("After an exception no index is begun, what is in flight ends, and the first is thrown") {
  Meeting meeting(2);
  std::atomic<int> begun{0}, ended{0};
  const auto work = [&](std::size_t i) {
    ++begun;
    meeting.come();  // both are in flight when the first throws
    if (i == 0) throw std::invalid_argument("the first");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    ++ended;
    throw std::runtime_error("a later one");
  };
  CHECK_THROWS_AS(parallel_for(1000, 2, work), std::invalid_argument);
  CHECK(begun == 2);
  CHECK(ended == 1);
  CHECK_THROWS_AS(parallel_for(5, 1, [](std::size_t) { throw 7; }), int);
}

TEST_CASE("A stop lets what is in flight end, and says that some were left") {
  std::atomic<bool> stop{false};
  std::atomic<int> worked{0};
  const auto work = [&](std::size_t i) {
    if (i == 9) stop = true;
    ++worked;
  };
  CHECK_FALSE(parallel_for(100'000, 3, work, &stop));
  CHECK(worked >= 10);
  CHECK(worked < 100'000);
  worked = 0;
  CHECK_FALSE(parallel_for(5, 3, work, &stop));  // set from the start
  CHECK(worked == 0);
  stop = false;
  CHECK(parallel_for(5, 3, work, &stop));
  CHECK(worked == 5);
  worked = 0;
  CHECK(parallel_for(10, 1, work, &stop));  // set by the last: nothing was left
  CHECK(worked == 10);
}

TEST_CASE("The machine runs at least one thread") { CHECK(hardware_threads() >= 1); }
