// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace dt2it {

// The lines of a file in any order, without holding it: eight bytes a line in memory. Empty lines do not count. Thread-safe. The
// file must not change. Throws DataError when it cannot be opened or read.
class LineFile {
 public:
  explicit LineFile(std::filesystem::path file);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  std::size_t size() const { return begins_.size() - 1; }
  std::string line(std::size_t index) const;   // without '\n'; with a capacity of 64 bytes more
  std::string where(std::size_t index) const;  // "file:record N", counted from 1
  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
  int descriptor_ = -1;
  std::vector<std::uint64_t> begins_;  // one more than lines: where the last one ends
};

}  // namespace dt2it
