// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace arrow {
class RecordBatch;
class RecordBatchReader;
class Status;
}  // namespace arrow
namespace parquet::arrow {
class FileReader;
}

namespace dt2it {

// One Parquet file, columns that matter only, row group after row group, a few rows at a time
// (images lie in them). Whatever Arrow finds wrong with a file is a DataError that starts with its
// name.
class ParquetFile {
 public:
  // `columns`: top-level names; those that are not there are passed over; none given: all. No
  // column left: DataError.
  ParquetFile(const std::filesystem::path& path, const std::vector<std::string>& columns);
  ~ParquetFile();

  std::size_t rows() const;
  int groups() const;
  std::int64_t group_rows(int group) const;
  std::unique_ptr<arrow::RecordBatchReader> open(int group) const;
  std::shared_ptr<arrow::RecordBatch> next(
      arrow::RecordBatchReader& batches) const;  // null at the end
  const std::filesystem::path& path() const { return path_; }

 private:
  template <class Work>
  auto guarded(Work work) const;
  [[noreturn]] void fail(const arrow::Status& status) const;
  const std::filesystem::path path_;
  std::unique_ptr<parquet::arrow::FileReader> reader_;
  std::vector<int> leaves_;
};

}  // namespace dt2it
