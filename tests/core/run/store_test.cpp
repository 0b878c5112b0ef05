// SPDX-License-Identifier: Apache-2.0
#include "core/run/store.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "core/util/files.hpp"
#include "tests/core/temporary_folder.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

// A child process that claims a folder, says so and then waits to be killed.
class Claimant {
 public:
  Claimant(const fs::path& runs, const std::string& folder) {
    int channel[2];
    REQUIRE(::pipe(channel) == 0);
    child_ = ::fork();
    if (child_ == 0) {
      StageStore store(runs);
      std::string holder;
      const auto claim = store.claim(folder, holder);
      const char answer = claim ? 'y' : 'n';
      if (::write(channel[1], &answer, 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(channel[1]);
    char answer = 0;
    REQUIRE(::read(channel[0], &answer, 1) == 1);
    ::close(channel[0]);
    REQUIRE(answer == 'y');
  }
  ~Claimant() { kill(); }
  void kill() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    int status = 0;
    ::waitpid(child_, &status, 0);
    child_ = 0;
  }
  pid_t process() const { return child_; }

 private:
  pid_t child_ = 0;
};

}  // namespace

TEST_CASE("A stage's folder appears whole or not at all") {
  testing::TemporaryFolder folder;
  StageStore store(folder.path() / "runs");
  std::string holder;
  auto claim = store.claim("mix-1", holder);
  REQUIRE(claim);
  fs::create_directories(claim->output / "inner");
  write_file_atomically(claim->output / "inner" / "a.txt", "a");
  write_file_atomically(claim->work / "journal", "j");
  CHECK_FALSE(store.complete("mix-1"));
  CHECK(fs::is_empty(store.runs() / ".store"));
  store.finish("mix-1", std::move(*claim));
  CHECK(store.complete("mix-1"));
  CHECK(read_file(store.finished("mix-1") / "inner" / "a.txt") == "a");
  CHECK(fs::is_empty(store.runs() / ".work"));  // neither work folder nor lock
}

TEST_CASE("Unfinished output goes, the journals of the work folder stay") {
  testing::TemporaryFolder folder;
  StageStore store(folder.path() / "runs");
  std::string holder;
  {
    const auto claim = store.claim("mix-1", holder);
    REQUIRE(claim);
    write_file_atomically(claim->output / "half", "h");
    write_file_atomically(claim->work / "journal", "j");
  }
  const auto again = store.claim("mix-1", holder);
  REQUIRE(again);
  CHECK(fs::is_empty(again->output));
  CHECK(read_file(again->work / "journal") == "j");
  CHECK_FALSE(store.complete("mix-1"));
}

TEST_CASE("One at a time works on a stage; what dies lets go") {
  testing::TemporaryFolder folder;
  StageStore store(folder.path() / "runs");
  std::string holder;
  {
    const auto claim = store.claim("mix-1", holder);
    REQUIRE(claim);
    CHECK_FALSE(store.claim("mix-1", holder));  // in the same process, too
    CHECK_THAT(holder, Catch::StartsWith("process " + std::to_string(::getpid()) + " on "));
    CHECK(store.claim("mix-2", holder));
  }
  CHECK(store.claim("mix-1", holder));

  Claimant other(folder.path() / "runs", "mix-1");
  CHECK_FALSE(store.claim("mix-1", holder));
  CHECK_THAT(holder, Catch::StartsWith("process " + std::to_string(other.process()) + " on ") &&
                         Catch::Contains(" since 20"));
  other.kill();
  CHECK(store.claim("mix-1", holder));
}

TEST_CASE("What a process left that was killed just after finishing goes; what is at work stays") {
  testing::TemporaryFolder folder;
  StageStore store(folder.path() / "runs");
  std::string holder;
  fs::create_directories(store.work("mix-1") / "scratch");
  store.tidy("mix-1");
  write_file_atomically(store.runs() / ".work" / "mix-2.lock", "process 1 on another");
  store.tidy("mix-2");
  CHECK(fs::is_empty(store.runs() / ".work"));
  const auto claim = store.claim("mix-1", holder);
  store.tidy("mix-1");
  CHECK(fs::exists(store.work("mix-1")));
}

TEST_CASE("Dropping a claim leaves nothing") {
  testing::TemporaryFolder folder;
  StageStore store(folder.path() / "runs");
  std::string holder;
  auto claim = store.claim("mix-1", holder);
  REQUIRE(claim);
  store.drop("mix-1", std::move(*claim));
  CHECK(fs::is_empty(store.runs() / ".work"));
  CHECK(store.claim("mix-1", holder));
}

}  // namespace dt2it
