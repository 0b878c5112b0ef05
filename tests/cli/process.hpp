// SPDX-License-Identifier: Apache-2.0
#pragma once

// Runs programs, most of all build/<preset>/bin/dt2it, as a user would.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "core/util/files.hpp"
#include "tests/core/stored_files.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/paths.hpp"

namespace dt2it {

using Words = std::vector<std::string>;

struct Finished {
  int code = -1;  // exit code; -1 when a signal ended it
  int signal = 0;
  std::string out, err;
};

class Process {
 public:
  Process(const Words& words, const std::map<std::string, std::string>& environment = {},
          const std::filesystem::path& folder = source_path()) {
    // Opened before there is a child, which may be killed at once.
    const int out = open_for_writing("out"), err = open_for_writing("err");
    child_ = ::fork();
    REQUIRE(child_ >= 0);
    if (child_ == 0) {
      for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
      ::dup2(out, STDOUT_FILENO);
      ::dup2(err, STDERR_FILENO);
      ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
      if (::chdir(folder.c_str()) != 0) ::_exit(126);
      std::vector<char*> arguments;
      for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
      arguments.push_back(nullptr);
      ::execvp(arguments[0], arguments.data());
      ::_exit(127);
    }
    ::close(out);
    ::close(err);
  }
  ~Process() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    wait();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void signal(int number) const {
    if (child_ > 0) ::kill(child_, number);
  }
  // True when it has ended within this time.
  bool ended_within(std::chrono::milliseconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    for (;;) {
      siginfo_t info{};
      if (::waitid(P_PID, static_cast<id_t>(child_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          info.si_pid != 0)
        return true;
      if (std::chrono::steady_clock::now() >= end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  std::string out_so_far() const { return read_file(output_.path() / "out"); }
  std::string err_so_far() const { return read_file(output_.path() / "err"); }
  Finished wait() {
    int status = 0;
    ::waitpid(child_, &status, 0);
    child_ = 0;
    Finished result;
    if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
    result.out = read_file(output_.path() / "out");
    result.err = read_file(output_.path() / "err");
    return result;
  }

 private:
  int open_for_writing(const char* name) const {
    const int file =
        ::open((output_.path() / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    REQUIRE(file >= 0);
    return file;
  }

  testing::TemporaryFolder output_;
  pid_t child_ = 0;
};

inline std::string dt2it_program() { return build_path("/bin/dt2it"); }

inline Words dt2it_words(const Words& words) {
  Words all{dt2it_program()};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

inline Finished dt2it(const Words& words,
                      const std::map<std::string, std::string>& environment = {},
                      const std::filesystem::path& folder = source_path()) {
  return Process(dt2it_words(words), environment, folder).wait();
}

// Names of files that differ, or are in one of the two only.
inline std::vector<std::string> differences(const std::map<std::string, std::string>& a,
                                            const std::map<std::string, std::string>& b) {
  std::vector<std::string> names;
  for (const auto& [name, bytes] : a)
    if (const auto it = b.find(name); it == b.end() || it->second != bytes) names.push_back(name);
  for (const auto& [name, bytes] : b)
    if (!a.contains(name)) names.push_back(name);
  return names;
}

}  // namespace dt2it
