// SPDX-License-Identifier: Apache-2.0
#include "core/util/files.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "core/util/file_lock.hpp"
#include "core/util/journal.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "core/util/sha256.hpp"
#include "dt2it/error.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;
using dt2it::testing::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  LineReader reader(file);
  for (std::string_view line; reader.next(line);) lines.emplace_back(line);
  return lines;
}

}  // namespace

TEST_CASE("SHA-256 as in the standard's examples") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256_hex(std::string(1'000'000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("A file is replaced whole and leaves nothing beside it") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "a.json";
  for (const Flush flush : {Flush::to_disk, Flush::no}) {
    write_file_atomically(file, "first");
    write_file_atomically(file, std::string(300'000, 'x') + '\0', flush);
    CHECK(read_file(file) == std::string(300'000, 'x') + '\0');
  }
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
  CHECK_THROWS_WITH(write_file_atomically(folder.path() / "no" / "a", "x"),
                    Catch::Contains("No such file"));
  CHECK_THROWS_WITH(read_file(folder.path() / "absent"),
                    Catch::Contains("absent: cannot be opened"));
  CHECK_THROWS_AS(read_file(folder.path()), Error);
}

TEST_CASE("A folder is put in place") {
  const TemporaryFolder folder;
  fs::create_directories(folder.path() / "work" / "deep");
  folder.write("work/deep/file", "x");
  fsync_tree(folder.path() / "work");
  rename_into_place(folder.path() / "work", folder.path() / "store" / "done");
  CHECK(read_file(folder.path() / "store" / "done" / "deep" / "file") == "x");
  CHECK_FALSE(fs::exists(folder.path() / "work"));
}

TEST_CASE("Lines end at '\\n' and nowhere else") {
  const TemporaryFolder folder;
  using Lines = std::vector<std::string>;
  CHECK(lines_of(folder.write("a", "")) == Lines{});
  CHECK(lines_of(folder.write("b", "\xEF\xBB\xBFone\r\ntwo\u2028\u0085\x0b\x0c\n\nlast")) ==
        Lines{"one\r", "two\u2028\u0085\x0b\x0c", "", "last"});
  CHECK(lines_of(folder.write("c", std::string_view("\0\n\xEF\xBB\xBF\n", 6))) ==
        Lines{std::string(1, '\0'), "\xEF\xBB\xBF"});

  // Lines that begin and end around the reader's steps.
  Lines expected;
  std::string text;
  for (std::size_t i = 0; i < 40; ++i) {
    expected.push_back(std::string((i * 77'777) % 300'000, static_cast<char>('a' + i % 26)));
    text += expected.back() + "\n";
  }
  CHECK(lines_of(folder.write("d", text)) == expected);

  LineReader numbered(folder.path() / "b");
  std::string_view line;
  for (int i = 0; i < 3; ++i) numbered.next(line);
  CHECK(numbered.where() == (folder.path() / "b").string() + ":3");
  LineReader limited(folder.write("e", "short\n" + std::string(3'000'000, 'x')), 1000);
  CHECK(limited.next(line));
  CHECK_THROWS_WITH(limited.next(line), Catch::Contains("e:2: the line is longer than 1000 bytes"));
  CHECK_THROWS_AS(LineReader(folder.path() / "absent"), DataError);
}

TEST_CASE("Lines written are lines read") {
  const TemporaryFolder folder;
  LineWriter writer(folder.path() / "a");
  std::vector<std::string> expected;
  for (int i = 0; i < 5000; ++i)
    writer.write(expected.emplace_back(std::string(i % 700, 'k') + "\r"));
  writer.close();
  CHECK(lines_of(folder.path() / "a") == expected);
  CHECK_THROWS_AS(LineWriter(folder.path() / "no" / "a"), Error);
}

TEST_CASE("A journal keeps what several threads append") {
  const TemporaryFolder folder;
  {
    Journal journal(folder.path() / "j");
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (std::size_t i = t; i < 1000; i += 4)
          journal.append(i, "record " + std::to_string(i * i));
      });
    for (std::thread& thread : threads) thread.join();
    journal.append(5, "again");  // ignored
    CHECK_THROWS_AS(journal.append(2000, "a\nb"), Error);
  }
  Journal journal(folder.path() / "j");
  CHECK(journal.size() == 1000);
  for (std::size_t i = 0; i < 1000; ++i)
    REQUIRE(journal.read(i) == "record " + std::to_string(i * i));
  CHECK_FALSE(journal.contains(1000));
  CHECK_THROWS_AS(journal.read(1000), Error);
}

TEST_CASE("A journal cut anywhere goes on from its last whole record") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "j";
  {
    Journal journal(file);
    journal.append(3, "three \u2028");
    journal.append(0, "");
    journal.append(7, "seven");
  }
  const std::string whole = read_file(file);
  std::size_t before = 0;
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    folder.write("j", whole.substr(0, size));
    Journal journal(file);
    CHECK(journal.size() ==
          static_cast<std::size_t>(std::count(whole.begin(), whole.begin() + size, '\n')));
    CHECK(journal.size() >= before);
    before = journal.size();
    journal.append(9, "after");
    CHECK(Journal(file).read(9) == "after");
    CHECK(Journal(file).size() == before + 1);
  }
  // A flipped bit loses that record and those behind it, never gives a wrong one.
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    folder.write("j", damaged);
    Journal journal(file);
    CHECK(journal.size() < 3);
    if (journal.contains(3)) CHECK(journal.read(3) == "three \u2028");
    if (journal.contains(7)) CHECK(journal.read(7) == "seven");
  }
}

TEST_CASE("A process killed while it appends leaves a journal to go on from") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "j";
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    Journal journal(file);
    for (std::size_t i = 0;; ++i) journal.append(i, std::string(i % 5000, 'x') + std::to_string(i));
  }
  while (!fs::exists(file) || fs::file_size(file) < 200'000) ::usleep(1000);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  Journal journal(file);
  REQUIRE(journal.size() > 10);
  for (std::size_t i = 0; i < journal.size(); ++i)
    REQUIRE(journal.read(i) == std::string(i % 5000, 'x') + std::to_string(i));
}

TEST_CASE("A lock has one holder, says which, and dies with it") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "lock";
  std::string holder;
  auto lock = FileLock::try_lock(file, holder);
  REQUIRE(lock);
  CHECK_FALSE(FileLock::try_lock(file, holder));
  CHECK_THAT(holder, Catch::StartsWith("process " + std::to_string(::getpid()) + " on "));
  lock.reset();
  CHECK(FileLock::try_lock(file, holder));
  CHECK_THROWS_AS(FileLock::try_lock(folder.path() / "no" / "lock", holder), Error);

  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto held = FileLock::try_lock(file, holder);
    [[maybe_unused]] const ssize_t told = ::write(ready[1], held ? "y" : "n", 1);
    ::pause();
  }
  char answer = 0;
  REQUIRE(::read(ready[0], &answer, 1) == 1);
  REQUIRE(answer == 'y');
  CHECK_FALSE(FileLock::try_lock(file, holder));
  CHECK_THAT(holder, Catch::StartsWith("process " + std::to_string(child) + " on "));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(FileLock::try_lock(file, holder));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("Progress away from a terminal is plain lines") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "stderr";
  const auto written = [&](bool quiet) {
    std::fflush(stderr);
    const int saved = ::dup(STDERR_FILENO);
    REQUIRE(std::freopen(file.c_str(), "w", stderr));
    {
      ProgressBoard board(quiet);
      auto stage = board.start("demo candidates");
      stage->set_total(30);
      stage->set_done(10);
      std::vector<std::thread> threads;
      for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
          for (int i = 0; i < 5; ++i) {
            stage->add(1);
            stage->count_call(i == 0);
          }
        });
      for (std::thread& thread : threads) thread.join();
      stage->finish();
      stage.reset();
      auto left = board.start("stopped");
      left.reset();
      board.say("a line");
    }
    std::fflush(stderr);
    ::dup2(saved, STDERR_FILENO);
    ::close(saved);
    return read_file(file);
  };
  const std::string text = written(false);
  CHECK_THAT(text, Catch::StartsWith("demo candidates: done, 30"));
  CHECK_THAT(text, Catch::Contains("20 calls, 4 failed\na line\n"));
  CHECK_THAT(text, !Catch::Contains("stopped"));
  CHECK(text.find('\r') == std::string::npos);
  CHECK(written(true).empty());
}
