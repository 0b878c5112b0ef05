// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/row_reader.hpp"

#include <algorithm>
#include <fstream>

#include "dt2it/error.hpp"
#include "plugins/common/records/record_reader.hpp"
#ifdef DT2IT_PARQUET
#include <arrow/api.h>

#include "plugins/common/records/parquet_file.hpp"
#include "plugins/common/records/row_json.hpp"
#endif

namespace dt2it::records {
namespace {

namespace fs = std::filesystem;

class JsonRows final : public RowReader {
 public:
  explicit JsonRows(const fs::path& file) : reader_(file) {}
  bool next(simdjson::dom::object& row) override { return reader_.next(row); }
  bool skip() override { return reader_.skip(); }
  std::string where() const override { return reader_.where(); }

 private:
  RecordReader reader_;
};

#ifdef DT2IT_PARQUET
class ParquetRows final : public RowReader {
 public:
  ParquetRows(const fs::path& file, const std::vector<std::string>& columns, MediaStore& media)
      : file_(file, columns), media_(media) {}

  bool next(simdjson::dom::object& row) override {
    if (!advance()) return false;
    json_ = "{";
    for (int i = 0; i < batch_->num_columns(); ++i) {
      if (batch_->column(i)->IsNull(at_)) continue;
      if (json_.size() > 1) json_ += ',';
      append_json_string(batch_->column_name(i), json_);
      json_ += ':';
      append_json(*batch_->column(i), at_, media_, json_);
    }
    json_ += '}';
    if (const auto error = parser_.parse(json_).get(row))
      throw DataError(where() + ": its texts cannot be read: " + simdjson::error_message(error));
    return true;
  }
  bool skip() override { return advance(); }
  std::string where() const override {
    return file_.path().string() + ": row " + std::to_string(row_ - 1);
  }

 private:
  bool advance() {
    try {
      return advance_or_throw();
    } catch (const DataError&) {
      group_ = file_.groups();  // nothing more can be read
      batches_.reset();
      batch_.reset();
      throw;
    }
  }
  bool advance_or_throw() {
    ++at_;
    while (!batch_ || at_ >= batch_->num_rows()) {
      if (batches_) batch_ = file_.next(*batches_);
      if (!batches_ || !batch_) {
        batches_.reset();
        if (group_ >= file_.groups() || ++group_ >= file_.groups()) return false;
        batches_ = file_.open(group_);
        batch_.reset();
        continue;
      }
      at_ = 0;
    }
    ++row_;
    return true;
  }

  const ParquetFile file_;
  MediaStore& media_;
  int group_ = -1;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::int64_t at_ = -1;
  std::size_t row_ = 0;
  simdjson::dom::parser parser_;
  std::string json_;
};
#endif

}  // namespace

std::unique_ptr<RowReader> open_rows(const fs::path& file,
                                     [[maybe_unused]] const std::vector<std::string>& columns,
                                     [[maybe_unused]] MediaStore& media) {
  if (file.extension() != ".parquet") return std::make_unique<JsonRows>(file);
#ifdef DT2IT_PARQUET
  return std::make_unique<ParquetRows>(file, columns, media);
#else
  throw DataError(
      file.string() +
      ": Parquet cannot be read, since this build is without Arrow (./dev setup fetches it)");
#endif
}

std::size_t count_rows(const fs::path& file) {
#ifdef DT2IT_PARQUET
  if (file.extension() == ".parquet") return ParquetFile(file, {}).rows();
#endif
  RecordReader reader(file);
  std::size_t rows = 0;
  try {
    while (reader.skip()) ++rows;
  } catch (const DataError&) {
    ++rows;  // cut short: readers tell of its end as one record
  }
  return rows;
}

}  // namespace dt2it::records
