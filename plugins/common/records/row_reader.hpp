// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/media.hpp"

namespace dt2it::records {

// The records of one file of any carrier, as JSON objects, in constant memory. Not thread-safe.
class RowReader {
 public:
  virtual ~RowReader() = default;
  // False at the end. `row` is valid until the next call. Throws DataError naming file and row;
  // rows behind one that is no JSON can still be read; where the file itself is broken, false comes
  // next.
  virtual bool next(simdjson::dom::object& row) = 0;
  // Passes over the row that would come next, without a look at its media where the carrier allows
  // that.
  virtual bool skip() = 0;
  virtual std::string where() const = 0;  // "file:line" or "file: row N" of the current record
};

// JSON array, JSON lines or Parquet by the file's ending. `columns` are the only ones read from
// Parquet (empty: all), whose binary values are put into `media`. Throws DataError when the file
// cannot be opened, or is Parquet and Arrow was not built in.
std::unique_ptr<RowReader> open_rows(const std::filesystem::path& file,
                                     const std::vector<std::string>& columns, MediaStore& media);

// How many records a file has; of JSON by a scan that does not parse.
std::size_t count_rows(const std::filesystem::path& file);

}  // namespace dt2it::records
