// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/parquet_file.hpp"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>

#include <algorithm>

#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kBatchRows = 16;
constexpr std::int64_t kMostRows = std::int64_t{1} << 27;  // of a group

}  // namespace

// The reader throws for some damages and returns a status for others.
template <class Work>
auto ParquetFile::guarded(Work work) const {
  try {
    return work();
  } catch (const DataError&) {
    throw;
  } catch (
      const std::exception& error) {  // ParquetException, and what sizes that are not so lead to
    throw DataError(path_.string() + ": " + error.what());
  }
}

ParquetFile::ParquetFile(const fs::path& path, const std::vector<std::string>& columns)
    : path_(path) {
  guarded([&] {
    auto mapped = arrow::io::MemoryMappedFile::Open(path.string(), arrow::io::FileMode::READ);
    if (!mapped.ok()) fail(mapped.status());
    parquet::arrow::FileReaderBuilder builder;
    if (const auto status = builder.Open(*mapped); !status.ok()) fail(status);
    parquet::ArrowReaderProperties properties;
    properties.set_batch_size(kBatchRows);
    properties.set_pre_buffer(false);  // the file is mapped
    properties.set_use_threads(false);
    auto built = builder.properties(properties)->Build();
    if (!built.ok()) fail(built.status());
    reader_ = std::move(*built);
    const auto metadata = reader_->parquet_reader()->metadata();
    std::int64_t rows = 0;
    for (int group = 0; group < metadata->num_row_groups(); ++group) {
      const std::int64_t own = metadata->RowGroup(group)->num_rows();
      if (own < 0 || own > kMostRows)
        throw DataError(path.string() + ": damaged: a group says it has " + std::to_string(own) +
                        " rows");
      rows += own;
    }
    if (rows != metadata->num_rows())
      throw DataError(path.string() + ": damaged: it says it has " +
                      std::to_string(metadata->num_rows()) + " rows, its groups have " +
                      std::to_string(rows));
    for (int i = 0; i < metadata->num_columns(); ++i) {
      const std::string top = metadata->schema()->Column(i)->path()->ToDotVector().front();
      if (columns.empty() || std::find(columns.begin(), columns.end(), top) != columns.end())
        leaves_.push_back(i);
    }
    if (leaves_.empty()) {
      std::string names;
      for (int i = 0; i < metadata->schema()->group_node()->field_count(); ++i)
        names += (i ? ", " : "") + metadata->schema()->group_node()->field(i)->name();
      throw DataError(path.string() +
                      ": has no column of the records looked for (it has: " + names + ")");
    }
  });
}

ParquetFile::~ParquetFile() = default;

std::size_t ParquetFile::rows() const {
  return static_cast<std::size_t>(reader_->parquet_reader()->metadata()->num_rows());
}

int ParquetFile::groups() const { return reader_->num_row_groups(); }

std::int64_t ParquetFile::group_rows(int group) const {
  return reader_->parquet_reader()->metadata()->RowGroup(group)->num_rows();
}

std::unique_ptr<arrow::RecordBatchReader> ParquetFile::open(int group) const {
  return guarded([&] {
    auto batches = reader_->GetRecordBatchReader({group}, leaves_);
    if (!batches.ok()) fail(batches.status());
    return std::move(*batches);
  });
}

std::shared_ptr<arrow::RecordBatch> ParquetFile::next(arrow::RecordBatchReader& batches) const {
  return guarded([&] {
    std::shared_ptr<arrow::RecordBatch> batch;
    if (const auto status = batches.ReadNext(&batch); !status.ok()) fail(status);
    // The reader believes the offsets of a damaged file. Texts that are no UTF-8 are a matter of their record.
    if (batch)
      for (const auto& column : batch->columns())
        if (const auto status = column->ValidateFull();
            !status.ok() && status.message().find("UTF8") == std::string::npos)
          fail(status);
    return batch;
  });
}

void ParquetFile::fail(const arrow::Status& status) const {
  throw DataError(path_.string() + ": " + status.message());
}

}  // namespace dt2it
