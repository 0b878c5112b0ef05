// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/error.hpp"

namespace dt2it::records {

// The data file meant by `path`: the file itself, or in a folder the first of `usual_names` that is
// there, else the only .json or .jsonl file in it. Throws DataError naming what was looked for.
std::filesystem::path find_data_file(const std::filesystem::path& path,
                                     const std::vector<std::string>& usual_names);

// Reads JSON objects one after the other from a JSON array (.json) or from lines split at "\n" only
// (.jsonl, .ndjson; also a .json file whose first character is not '['). Memory: the largest
// record, which may have 256 MiB. Not thread-safe.
class RecordReader {
 public:
  explicit RecordReader(std::filesystem::path file);

  // False at the end. `record` is valid until the next call. Throws DataError naming file and line;
  // the records behind one that is no JSON can still be read. NaN and +-Infinity, which Python
  // writes though JSON has no such words, and numbers beyond a double are read as null; of integers
  // beyond 64 bits, which are ids, the digits as a text.
  bool next(simdjson::dom::object& record);
  // Passes over one record without parsing it.
  bool skip();

  // "file:line" where the current record starts.
  std::string where() const { return file_.string() + ":" + std::to_string(line_); }
  const std::filesystem::path& file() const { return file_; }

 private:
  bool next_line(std::string_view& text);
  bool next_element(std::string_view& text);
  [[noreturn]] void fail(const std::string& what) const;
  [[noreturn]] void end(const std::string& what);  // nothing can be read any more
  bool fill();                                     // reads on; false at the end of the file
  char peek();  // skips white space; '\0' at the end of the array's text

  std::filesystem::path file_;
  bool array_ = false;
  std::ifstream stream_;
  std::string text_;  // what was read and is not yet given away, and the current record before it
  std::size_t position_ = 0;  // in the text: what comes next
  bool first_ = true, closed_ = false;
  std::size_t line_ = 0;          // where the current record starts, from 1
  std::size_t reading_line_ = 0;  // at position_
  simdjson::dom::parser parser_;
  simdjson::padded_string padded_;
};

}  // namespace dt2it::records
