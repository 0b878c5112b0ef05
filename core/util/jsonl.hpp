// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dt2it {

// Lines of a file, split on '\n' only (a '\r', U+2028 ... are data), in constant memory. A byte order mark at
// the start is skipped; a last line without '\n' counts. Throws DataError: cannot be opened or read; a line
// longer than `max_line` bytes.
class LineReader {
 public:
  explicit LineReader(std::filesystem::path file, std::size_t max_line = std::size_t{1} << 30);

  // The view is valid until the next call; at least 64 bytes behind it can be read, whatever they are.
  bool next(std::string_view& line);

  std::size_t line_number() const { return line_number_; }  // of the line last given, from 1
  const std::filesystem::path& file() const { return file_; }
  std::string where() const;  // "file:line"

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path file_;
  std::size_t max_line_;
  std::unique_ptr<std::FILE, Close> stream_;
  bool fill();  // reads on; false at the end of the file
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // of the unread part of the buffer
  std::size_t line_number_ = 0;
  bool at_end_ = false;
};

// Writes lines; nothing is promised to be on disk before close() returns. Throws Error when the disk is full
// or the file cannot be written; the file's name is in the message.
class LineWriter {
 public:
  explicit LineWriter(std::filesystem::path file);
  ~LineWriter();  // without close(): discards nothing, promises nothing
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;
  void write(std::string_view line);  // without '\n'
  void close();

 private:
  void flush();
  std::filesystem::path file_;
  int descriptor_ = -1;
  std::string buffer_;
};

}  // namespace dt2it
