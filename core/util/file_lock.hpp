// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace dt2it {

// An exclusive lock between processes (and within one). The kernel lets go of it when the process dies,
// however it dies, so there are no stale locks. Throws Error when the file cannot be opened.
class FileLock {
 public:
  // Null when another holds it; `holder` then says who, e.g. "process 4711 on host since 10:15:02".
  static std::unique_ptr<FileLock> try_lock(const std::filesystem::path& file, std::string& holder);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace dt2it
