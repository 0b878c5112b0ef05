// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dt2it::llama_factory {

struct ChildCommand {
  std::vector<std::string> arguments;              // the program first, looked for in PATH
  std::map<std::string, std::string> environment;  // beside this process's own, which it overrides
  std::filesystem::path folder;                    // to run in
  std::filesystem::path log;                       // gets what it prints, behind what is there
};

// A program in a process group of its own, so that whatever it starts ends with it. It is asked to
// end when the thread that started it does, also by SIGKILL, and is killed by the destructor. Used
// from that one thread.
class ChildProcess {
 public:
  // Throws Error when the program cannot be started.
  explicit ChildProcess(const ChildCommand& command);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Its exit code, or 128 + the signal that ended it; empty while it runs.
  std::optional<int> poll();

  // SIGTERM to the group, after `grace` SIGKILL; returns when it is gone.
  int stop(std::chrono::milliseconds grace);

 private:
  pid_t pid_ = -1;
  std::optional<int> code_;
};

}  // namespace dt2it::llama_factory
