// SPDX-License-Identifier: Apache-2.0
// Machines in trouble: a full disk, a folder that cannot be written, a clock that jumps, two programs in one folder. What can go
// on ends in the bytes of a quiet run; what cannot says what is wrong, names the file, and goes on when the trouble is over.
#include <cstdio>

#include "tests/cli/process.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using testing::TemporaryFolder;

Words run_words(const fs::path& runs) {
  return dt2it_words({"run", "tests/fixtures/experiments/data.toml", "--set",
                      "datasets.prompts.count=40", "--runs", runs.string(), "--jobs", "2",
                      "--workers", "4"});
}

const std::map<std::string, std::string>& quiet_run() {
  static const std::map<std::string, std::string> files = [] {
    TemporaryFolder runs;
    REQUIRE(Process(run_words(runs.path())).wait().code == 0);
    return stored_files(runs.path());
  }();
  return files;
}

// The words behind a shell's.
Words behind(const std::string& script, const Words& words) {
  Words all{"bash", "-c", script + "; exec \"$0\" \"$@\""};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

// Mount points of one's own: not every machine allows them.
bool may_mount() {
  static const bool may =
      Process({"unshare", "-rm", "bash", "-c", "mount -t tmpfs -o size=1m none /mnt"})
          .wait()
          .code == 0;
  if (!may) std::puts("skipped: this user may not mount (unshare -rm)");
  return may;
}

}  // namespace

TEST_CASE("Files that cannot grow stop a run with a message, and it goes on later") {
  for (const int kib : {4, 32, 96}) {  // the message, too, goes into a file
    INFO(kib << " KiB a file");
    TemporaryFolder runs;
    // bash counts in KiB; without the trap the system would kill.
    const Finished stopped =
        Process(behind("trap '' XFSZ; ulimit -f " + std::to_string(kib), run_words(runs.path())))
            .wait();
    INFO(stopped.err);
    CHECK(stopped.signal == 0);
    REQUIRE(stopped.code == 1);
    CHECK_THAT(stopped.err, Contains(runs.path().string()));
    CHECK_THAT(stopped.err,
               Contains("File too large") || Contains("disk I/O error") || Contains("full"));
    REQUIRE(Process(run_words(runs.path())).wait().code == 0);
    CHECK(differences(stored_files(runs.path()), quiet_run()) == std::vector<std::string>{});
  }
}

TEST_CASE("A full disk stops a run with a message, and it goes on when there is room") {
  if (!may_mount()) return;
  for (const int kib : {64, 400, 1000}) {
    INFO(kib << " KiB of disk");
    TemporaryFolder place, out;
    const std::string mount = (place.path() / "disk").string();
    fs::create_directories(mount);
    const Words words = run_words(fs::path(mount) / "runs");
    Words all{"unshare", "-rm", "bash", "-c",
              "mount -t tmpfs -o size=" + std::to_string(kib) + "k none '" + mount +
                  "' || exit 99; \"$0\" \"$@\"; code=$?; [ $code = 1 ] || exit $((100 + code)); "
                  "echo FULL >&2; mount -o remount,size=500m '" +
                  mount + "' && \"$0\" \"$@\" && cp -r '" + mount + "/runs' '" +
                  out.path().string() + "/runs'"};
    all.insert(all.end(), words.begin(), words.end());
    const Finished end = Process(all).wait();
    INFO(end.err);
    REQUIRE(end.code == 0);
    const std::string first = end.err.substr(0, end.err.find("FULL"));
    CHECK_THAT(first, Contains("No space left on device") || Contains("full"));
    CHECK_THAT(first, Contains(mount));
    CHECK(differences(stored_files(out.path() / "runs"), quiet_run()) ==
          std::vector<std::string>{});
  }
}

TEST_CASE("A folder that cannot be written is named at once") {
  TemporaryFolder folder;
  write_file_atomically(folder.path() / "file", "x");
  const Finished blocked = Process(run_words(folder.path() / "file" / "runs")).wait();
  CHECK(blocked.code == 1);
  CHECK_THAT(blocked.err, Contains((folder.path() / "file").string()));
  if (!may_mount()) return;
  const std::string place = (folder.path() / "read_only").string();
  fs::create_directories(place);
  const Finished read_only =
      Process([&] {
        Words all{"unshare", "-rm", "bash", "-c",
                  "mount -t tmpfs -o ro none '" + place + "' || exit 99; exec \"$0\" \"$@\""};
        const Words words = run_words(fs::path(place) / "runs");
        all.insert(all.end(), words.begin(), words.end());
        return all;
      }())
          .wait();
  INFO(read_only.err);
  CHECK(read_only.code == 1);
  CHECK_THAT(read_only.err, Contains(place) && Contains("Read-only file system"));
}

TEST_CASE("A clock that jumps changes nothing") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::puts("skipped: sanitizers want to be loaded first");
#else
  TemporaryFolder runs;
  const Finished end = Process(run_words(runs.path()), {{"LD_PRELOAD", DT2IT_CLOCK_JUMP}}).wait();
  INFO(end.err);
  REQUIRE(end.code == 0);
  CHECK(differences(stored_files(runs.path()), quiet_run()) == std::vector<std::string>{});
  // Files from the future and from long ago are what they were.
  const auto now = fs::file_time_type::clock::now();
  std::size_t number = 0;
  for (const auto& entry : fs::recursive_directory_iterator(runs.path()))
    fs::last_write_time(entry.path(),
                        now + std::chrono::hours(++number % 2 ? 24 * 400 : -24 * 400));
  const Finished again = Process(run_words(runs.path())).wait();
  INFO(again.err);
  REQUIRE(again.code == 0);
  CHECK(differences(stored_files(runs.path()), quiet_run()) == std::vector<std::string>{});
#endif
}

TEST_CASE("Three programs in one folder end in one result") {
  for (int round = 0; round < 3; ++round) {
    TemporaryFolder runs;
    std::vector<std::unique_ptr<Process>> processes;
    for (int i = 0; i < 3; ++i)
      processes.push_back(std::make_unique<Process>(run_words(runs.path())));
    if (round == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(150));
      processes[0]->signal(SIGKILL);
    }
    for (std::size_t i = 0; i < processes.size(); ++i) {
      const Finished end = processes[i]->wait();
      INFO(end.err);
      if (round != 2 || i != 0) CHECK(end.code == 0);
    }
    CHECK(differences(stored_files(runs.path()), quiet_run()) == std::vector<std::string>{});
    CHECK(fs::is_empty(runs.path() / ".work"));
  }
}

}  // namespace dt2it
