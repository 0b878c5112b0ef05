// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "core/run/scope.hpp"
#include "core/run/stage.hpp"
#include "core/util/progress.hpp"
#include "dt2it/error.hpp"
#include "dt2it/testing/fake_media_store.hpp"
#include "tests/core/run/host_fixture.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

// A stage that runs again and again in the same work folder.
class ItemsFixture {
 public:
  ItemsFixture()
      : scope_(host_.registry(), {}, media_, 0, host_.path() / "scratch",
               [](LogLevel, std::string_view) {}) {
    fs::create_directories(host_.path() / "work");
  }
  std::string work(std::size_t count, const std::function<std::string(std::size_t)>& on_item,
                   int workers = 4) {
    fs::remove_all(host_.path() / "output");
    fs::create_directories(host_.path() / "output");
    const auto progress = board_.start("items");
    StageRun run(config_, experiment_, scope_, {}, host_.path() / "work", host_.path() / "output",
                 workers, stop, progress.get());
    run.for_each_item("items.jsonl", count, on_item);
    return read_file(host_.path() / "output" / "items.jsonl");
  }
  bool has_output() const { return fs::exists(host_.path() / "output" / "items.jsonl"); }
  std::atomic<bool> stop{false};

 private:
  HostFixture host_;
  testing::FakeMediaStore media_;
  StageScope scope_;
  StageConfig config_;
  Experiment experiment_;
  ProgressBoard board_{true};
};

std::string line(std::size_t i) { return "{\"i\":" + std::to_string(i) + "}"; }

std::string lines(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += line(i) + "\n";
  return text;
}

}  // namespace

TEST_CASE("Items are written in their order, whatever the order of work") {
  ItemsFixture stage;
  std::atomic<int> at_once{0}, most{0};
  const std::string text = stage.work(40, [&](std::size_t i) {
    const int now = ++at_once;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(i % 3 == 0 ? 6 : 1));
    --at_once;
    return line(i);
  });
  CHECK(text == lines(40));
  CHECK(most > 1);
  CHECK(most <= 4);
}

TEST_CASE("No items and items without a line are fine") {
  ItemsFixture stage;
  CHECK(stage.work(0, line).empty());
  ItemsFixture other;
  CHECK(other.work(5, [](std::size_t i) { return i % 2 ? line(i) : std::string(); }) ==
        line(1) + "\n" + line(3) + "\n");
}

TEST_CASE("An exception stops the stage; the next run goes on with the rest") {
  ItemsFixture stage;
  std::mutex mutex;
  std::multiset<std::size_t> worked;
  const auto run = [&](bool broken) {
    return stage.work(30, [&](std::size_t i) {
      if (broken && i == 12) throw DataError("item 12 is broken");
      std::lock_guard lock(mutex);
      worked.insert(i);
      return line(i);
    });
  };
  CHECK_THROWS_WITH(run(true), "item 12 is broken");
  CHECK_FALSE(stage.has_output());
  const std::size_t before = worked.size();
  CHECK(before >= 1);
  CHECK(before < 30);
  CHECK(run(false) == lines(30));
  for (std::size_t i = 0; i < 30; ++i) CHECK(worked.count(i) == 1);  // nothing twice
}

TEST_CASE("A stop lets what is in flight end and keeps it") {
  ItemsFixture stage;
  std::atomic<std::size_t> worked{0};
  const auto on_item = [&](std::size_t i) {
    if (++worked == 5) stage.stop = true;
    return line(i);
  };
  CHECK_THROWS_AS(stage.work(100, on_item, 2), Interrupted);
  CHECK(worked <= 6);
  CHECK_FALSE(stage.has_output());
  stage.stop = false;
  const std::size_t first = worked;
  CHECK(stage.work(100, [&](std::size_t i) { return ++worked, line(i); }, 2) == lines(100));
  CHECK(worked == 100);
  CHECK(first >= 5);
}

}  // namespace dt2it
