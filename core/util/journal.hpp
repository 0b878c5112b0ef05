// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace dt2it {

// The items of a stage that are finished, appended in any order as they finish; what an interrupted run
// goes on from. Each record is one line "<index> <checksum> <text>\n", written by one call, so a process
// killed at any moment leaves at most a torn last record, which opening cuts off. Flushed to disk every
// 200 ms and by sync(). Thread-safe. Texts stay on disk: memory is a few bytes an item.
class Journal {
 public:
  explicit Journal(std::filesystem::path file);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  bool contains(std::size_t index) const;
  std::size_t size() const;
  // `text` has no '\n'. A second record of an index is ignored.
  void append(std::size_t index, std::string_view text);
  std::string read(std::size_t index) const;  // throws Error when there is none
  void sync();

 private:
  struct Place {
    std::uint64_t offset;
    std::uint64_t size;
  };
  std::filesystem::path file_;
  int descriptor_ = -1;
  std::uint64_t end_ = 0;
  std::unordered_map<std::size_t, Place> places_;
  std::chrono::steady_clock::time_point last_sync_;
  mutable std::mutex mutex_;
};

}  // namespace dt2it
