// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "plugins/trainers/llama_factory/files.hpp"

namespace dt2it::testing {

// Waits up to ten seconds.
inline bool soon(const std::function<bool()>& what) {
  for (int i = 0; i < 1000; ++i) {
    if (what()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

// False also for a process that has ended but was not waited for.
inline bool runs(pid_t pid) {
  const std::filesystem::path file = std::filesystem::path("/proc") / std::to_string(pid) / "stat";
  try {
    const std::string stat = llama_factory::read_text(file);
    return stat.at(stat.rfind(')') + 2) != 'Z';
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace dt2it::testing
