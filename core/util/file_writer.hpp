// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace dt2it {

// Large files, written without a buffer of its own: pieces should be large. The disk is set to work
// while more is to come, so that flushing the whole to it takes less long. Throws Error with the
// file's name when the disk is full or the file cannot be written.
class FileWriter {
 public:
  enum class Begin : std::uint8_t { empty, behind_what_is_there };
  explicit FileWriter(std::filesystem::path file, Begin begin = Begin::empty);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  // In the file when it returns; not yet on disk.
  void write(std::string_view bytes);
  void close();

 private:
  std::filesystem::path file_;
  int descriptor_ = -1;
  std::uint64_t waiting_ = 0;  // bytes that the disk was not yet told of
};

}  // namespace dt2it
