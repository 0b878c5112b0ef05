// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/llama_factory/child_process.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "dt2it/error.hpp"
#include "plugins/trainers/llama_factory/files.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/plugins/trainers_llama_factory/processes.hpp"

using namespace dt2it;
using namespace dt2it::llama_factory;
using namespace std::chrono_literals;
using dt2it::testing::runs;
using dt2it::testing::soon;
using dt2it::testing::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

ChildCommand shell(const TemporaryFolder& folder, const std::string& script) {
  return {{"sh", "-c", script}, {}, folder.path(), folder.path() / "log"};
}

int ended(ChildProcess& process) {
  REQUIRE(soon([&] { return process.poll().has_value(); }));
  return *process.poll();
}

pid_t number_in(const fs::path& file) {
  REQUIRE(soon([&] { return fs::exists(file) && fs::file_size(file) > 0; }));
  return std::stoi(read_text(file));
}

}  // namespace

TEST_CASE("A child's exit code, output, folder and environment") {
  const TemporaryFolder folder;
  folder.write("log", "before\n");
  ::setenv("DT2IT_TEST_KEPT", "kept", 1);
  ::setenv("DT2IT_TEST_CHANGED", "old", 1);
  ChildCommand command = shell(
      folder,
      "pwd; echo $DT2IT_TEST_KEPT $DT2IT_TEST_CHANGED $DT2IT_TEST_NEW; echo bad >&2; cat; exit 7");
  command.environment = {{"DT2IT_TEST_CHANGED", "new"}, {"DT2IT_TEST_NEW", "a b"}};
  ChildProcess process(command);
  CHECK(ended(process) == 7);
  CHECK(process.poll() == 7);
  CHECK(process.stop(1s) == 7);
  CHECK(read_text(folder.path() / "log") ==
        "before\n" + fs::canonical(folder.path()).string() + "\nkept new a b\nbad\n");
}

TEST_CASE("A program that cannot be started is an error that says why") {
  const TemporaryFolder folder;
  ChildCommand command = shell(folder, "");
  command.arguments = {"no-such-program-4711"};
  CHECK_THROWS_WITH(ChildProcess(command),
                    Catch::Contains("'no-such-program-4711' cannot be started: No such file"));
  command.arguments = {folder.write("plain", "text").string()};
  CHECK_THROWS_WITH(ChildProcess(command), Catch::Contains("Permission denied"));
  command = shell(folder, "");
  command.folder = folder.path() / "absent";
  CHECK_THROWS_WITH(ChildProcess(command), Catch::Contains("cannot be started"));
  command = shell(folder, "");
  command.log = folder.path() / "absent" / "log";
  CHECK_THROWS_WITH(ChildProcess(command), Catch::Contains("absent/log: cannot be written"));
}

TEST_CASE("A child that a signal ends") {
  const TemporaryFolder folder;
  ChildProcess process(shell(folder, "kill -SEGV $$"));
  CHECK(ended(process) == 128 + SIGSEGV);
}

TEST_CASE("Stopping asks first, and takes all that the child has started along") {
  const TemporaryFolder folder;
  SECTION("one that ends when asked") {
    ChildProcess process(
        shell(folder, "trap 'echo bye >bye; exit 0' TERM; sleep 300 & echo $! >inner; wait"));
    const pid_t inner = number_in(folder.path() / "inner");
    CHECK(process.stop(20s) == 0);
    CHECK(fs::exists(folder.path() / "bye"));
    CHECK(soon([&] { return !runs(inner); }));
  }
  SECTION("one that does not") {
    ChildProcess process(
        shell(folder, "trap '' TERM; sleep 300 & echo $! >inner; while :; do sleep 1; done"));
    const pid_t inner = number_in(folder.path() / "inner");
    CHECK(process.stop(200ms) == 128 + SIGKILL);
    CHECK(soon([&] { return !runs(inner); }));
  }
  SECTION("by the destructor") {
    pid_t inner = 0;
    {
      ChildProcess process(shell(folder, "sleep 300 & echo $! >inner; wait"));
      inner = number_in(folder.path() / "inner");
      CHECK(runs(inner));
    }
    CHECK(soon([&] { return !runs(inner); }));
  }
}

TEST_CASE("A child ends when its parent is killed") {
  const TemporaryFolder folder;
  const pid_t parent = ::fork();
  if (parent == 0) {
    ChildProcess process(shell(folder, "echo $$ >pid; exec sleep 300"));
    // Written to, too: the child ends with us.
    const fs::path pid = folder.path() / "pid";
    while (!fs::exists(pid) || fs::file_size(pid) == 0) std::this_thread::sleep_for(5ms);
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(parent, nullptr, 0);
  const pid_t child = number_in(folder.path() / "pid");
  CHECK(soon([&] { return !runs(child); }));
}
