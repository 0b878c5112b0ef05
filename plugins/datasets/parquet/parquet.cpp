// SPDX-License-Identifier: Apache-2.0
#include <arrow/api.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "dt2it/dataset.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/common/records/answer_params.hpp"
#include "plugins/common/records/answer_parser.hpp"
#include "plugins/common/records/input_files.hpp"
#include "plugins/common/records/media_places.hpp"
#include "plugins/common/records/pair_stream.hpp"
#include "plugins/common/records/parquet_file.hpp"
#include "plugins/common/records/row_json.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

struct Texts {
  static constexpr const char* kFile =
      "A .parquet file, a folder of them (read in order of their names; those below it where it "
      "has "
      "none), a pattern, an archive or a path inside one.";
  static constexpr const char* kSource =
      "Name of the data set; empty: of the file, of its folder for shards.";
};

// What datasets/preferences reads, in Parquet files.
class ParquetDataset final : public Dataset {
 public:
  using Params = records::AnswerParams<Texts>;

  ParquetDataset(const Params& params, Context& context)
      : form_(records::answer_form_named(params.format)),
        context_(context),
        strict_(params.bad_records == "stop"),
        media_names_(params.media_names),
        named_(params.source),
        inputs_(inputs_of(params, context)),
        columns_(records::columns_of(inputs_.front().file, params.dataset_info)) {}

  std::unique_ptr<Stream<AnswerRecord>> answers(std::function<bool(std::size_t)> wanted) override {
    return std::make_unique<FileStream>(*this, std::move(wanted));
  }
  std::unique_ptr<Stream<PreferencePair>> pairs() override {
    return std::make_unique<records::PairStream>(
        answers({}), named_.empty() && inputs_.size() == 1 ? inputs_.front().source : named_,
        strict_);
  }
  std::size_t count_answers() override {
    std::size_t rows = 0;
    for (const records::InputFile& input : inputs_) try {
        rows += ParquetFile(input.file, columns_.keys()).rows();
      } catch (const DataError&) {
        ++rows;  // it is told as one
      }
    return rows;
  }

 private:
  static std::vector<records::InputFile> inputs_of(const Params& params, Context& context) {
    auto inputs = records::input_files(params.file, params.media_root, params.source, context);
    std::erase_if(inputs, [](const records::InputFile& input) {
      return input.file.extension() != ".parquet";
    });
    if (inputs.empty()) throw DataError(params.file.string() + ": no .parquet file is there");
    return inputs;
  }

  class FileStream final : public Stream<AnswerRecord> {
   public:
    FileStream(ParquetDataset& owner, std::function<bool(std::size_t)> wanted)
        : owner_(owner), wanted_(std::move(wanted)), keys_(owner.columns_.keys()) {}

    bool next(AnswerRecord& record) override {
      for (;;) {
        std::size_t in_group = 0;
        try {
          if (at_ == wanted_rows_.size()) {
            if (!next_group()) return false;
            continue;
          }
          in_group = at_++;
          while (!batch_ ||
                 in_group >= batch_first_ + static_cast<std::size_t>(batch_->num_rows())) {
            if (batch_) batch_first_ += static_cast<std::size_t>(batch_->num_rows());
            batch_ = file_->next(*batches_);
            if (!batch_) throw DataError(file_->path().string() + ": ends before its last row");
          }
        } catch (const DataError& error) {
          // Of several shards one that is broken, or was written half, is one bad record.
          if (owner_.strict_ || owner_.inputs_.size() == 1) throw;
          record = {};
          record.row = first_row_ + wanted_rows_.size();
          record.status = Status::invalid;
          record.detail = error.what();
          record.prompt.source = input_->source;
          give_up_file();
          return true;
        }
        if (!wanted_rows_[in_group]) continue;
        parse(static_cast<std::int64_t>(in_group - batch_first_), record);
        record.row = first_row_ + in_group;
        if (owner_.inputs_.size() > 1) record.prompt.source = input_->source;
        return true;
      }
    }

   private:
    void give_up_file() {
      first_row_ += wanted_rows_.size() + 1;
      wanted_rows_.clear();
      at_ = 0;
      batch_.reset();
      batches_.reset();
      file_.reset();
    }
    // The next group of rows in which one is wanted.
    bool next_group() {
      for (;;) {
        first_row_ += wanted_rows_.size();
        wanted_rows_.clear();
        at_ = 0;
        if (!file_ || ++group_ == file_->groups()) {
          if (next_file_ == owner_.inputs_.size()) return false;
          batch_.reset();
          batches_.reset();  // before its file
          file_.reset();
          input_ = &owner_.inputs_[next_file_++];
          media_.emplace(owner_.context_.media(), input_->media_root, owner_.media_names_);
          file_ = std::make_unique<ParquetFile>(input_->file, keys_);
          group_ = -1;
          file_first_row_ = first_row_;
          continue;
        }
        bool any = false;
        for (std::int64_t i = 0; i < file_->group_rows(group_); ++i) {
          wanted_rows_.push_back(!wanted_ || wanted_(first_row_ + static_cast<std::size_t>(i)));
          any = any || wanted_rows_.back();
        }
        if (!any) continue;
        batches_ = file_->open(group_);
        batch_.reset();
        batch_first_ = 0;
        return true;
      }
    }

    void parse(std::int64_t row, AnswerRecord& record) {
      record = {};
      const std::string where = file_->path().string() + ": row " +
                                std::to_string(first_row_ - file_first_row_ + at_ - 1);
      json_ = "{";
      for (int i = 0; i < batch_->num_columns(); ++i) {
        if (batch_->column(i)->IsNull(row)) continue;
        if (json_.size() > 1) json_ += ',';
        append_json_string(batch_->column_name(i), json_);
        json_ += ':';
        append_json(*batch_->column(i), row, *media_, json_);
      }
      json_ += '}';
      simdjson::dom::object object;
      try {
        if (const auto error = parser_.parse(json_).get(object))
          throw DataError(where + ": its texts cannot be read: " + simdjson::error_message(error));
        record = records::parse_answers(object, owner_.form_, owner_.columns_,
                                        {input_->media_root, *media_}, where);
      } catch (const DataError& error) {
        record = {};
        record.status = Status::invalid;
        record.detail = error.what();
      }
    }

    ParquetDataset& owner_;
    const std::function<bool(std::size_t)> wanted_;
    const std::vector<std::string> keys_;
    std::size_t next_file_ = 0;
    const records::InputFile* input_ = nullptr;  // the file being read
    std::optional<records::MediaPlaces> media_;
    std::unique_ptr<ParquetFile> file_;
    std::size_t file_first_row_ = 0;
    int group_ = -1;
    std::unique_ptr<arrow::RecordBatchReader> batches_;
    std::shared_ptr<arrow::RecordBatch> batch_;
    std::size_t batch_first_ = 0;    // row of the batch within the group
    std::size_t first_row_ = 0;      // of the group, in all files
    std::size_t at_ = 0;             // next row within the group
    std::vector<bool> wanted_rows_;  // of the group
    simdjson::dom::parser parser_;
    std::string json_;
  };

  const records::AnswerForm form_;
  Context& context_;
  const bool strict_, media_names_;
  const std::string named_;
  const std::vector<records::InputFile> inputs_;
  const records::Columns columns_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("datasets/parquet", "1.2.0", registrar) {
  registrar.add<dt2it::Dataset, dt2it::ParquetDataset>(
      "parquet", "Pairs, candidates and answers in Parquet files, images among them.");
}
