// SPDX-License-Identifier: Apache-2.0
#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/writer.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/exporter.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/exporters/records/exported_pair.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

void must(const arrow::Status& status) {
  if (!status.ok()) throw Error("Parquet: " + status.ToString());
}
template <class T>
T must(arrow::Result<T> result) {
  must(result.status());
  return std::move(result).ValueUnsafe();
}

std::shared_ptr<arrow::DataType> messages_type() {
  const auto part =
      arrow::struct_({arrow::field("type", arrow::utf8()), arrow::field("text", arrow::utf8())});
  return arrow::list(arrow::struct_(
      {arrow::field("role", arrow::utf8()), arrow::field("content", arrow::list(part))}));
}

// What `datasets` must know of the columns to see images in them; messages are told by the types
// themselves.
constexpr char kFeatures[] =
    R"({"info":{"features":{)"
    R"("prompt":[{"role":{"dtype":"string","_type":"Value"},"content":[{"type":{"dtype":"string","_type":"Value"},"text":{"dtype":"string","_type":"Value"}}]}],)"
    R"("chosen":[{"role":{"dtype":"string","_type":"Value"},"content":[{"type":{"dtype":"string","_type":"Value"},"text":{"dtype":"string","_type":"Value"}}]}],)"
    R"("rejected":[{"role":{"dtype":"string","_type":"Value"},"content":[{"type":{"dtype":"string","_type":"Value"},"text":{"dtype":"string","_type":"Value"}}]}],)"
    R"("images":[{"_type":"Image"}],"dt2it":{"dtype":"string","_type":"Value"}}}})";

// A column of messages, filled row by row.
class Messages {
 public:
  explicit Messages(arrow::MemoryPool* pool)
      : type_(std::make_shared<arrow::StringBuilder>(pool)),
        text_(std::make_shared<arrow::StringBuilder>(pool)),
        role_(std::make_shared<arrow::StringBuilder>(pool)) {
    const auto message_type =
        std::static_pointer_cast<arrow::ListType>(messages_type())->value_type();
    const auto parts_type = message_type->field(1)->type();
    part_ = std::make_shared<arrow::StructBuilder>(
        std::static_pointer_cast<arrow::ListType>(parts_type)->value_type(), pool,
        std::vector<std::shared_ptr<arrow::ArrayBuilder>>{type_, text_});
    parts_ = std::make_shared<arrow::ListBuilder>(pool, part_, parts_type);
    message_ = std::make_shared<arrow::StructBuilder>(
        message_type, pool, std::vector<std::shared_ptr<arrow::ArrayBuilder>>{role_, parts_});
    rows_ = std::make_shared<arrow::ListBuilder>(pool, message_, messages_type());
  }
  void begin_row() { must(rows_->Append()); }
  void begin_message(const char* role) {
    must(message_->Append());
    must(role_->Append(role));
    must(parts_->Append());
  }
  void text(const std::string& text) {
    must(part_->Append());
    must(type_->Append("text"));
    must(text_->Append(exported::valid_utf8(text)));  // which the type promises
  }
  void image() {
    must(part_->Append());
    must(type_->Append("image"));
    must(text_->AppendNull());
  }
  std::shared_ptr<arrow::Array> finish() { return must(rows_->Finish()); }

 private:
  std::shared_ptr<arrow::StringBuilder> type_, text_, role_;
  std::shared_ptr<arrow::StructBuilder> part_, message_;
  std::shared_ptr<arrow::ListBuilder> parts_, rows_;
};

// One batch of rows.
class Rows {
 public:
  explicit Rows(const std::shared_ptr<arrow::Schema>& schema)
      : schema_(schema),
        pool_(arrow::default_memory_pool()),
        prompt_(pool_),
        chosen_(pool_),
        rejected_(pool_),
        bytes_(std::make_shared<arrow::BinaryBuilder>(pool_)),
        path_(std::make_shared<arrow::StringBuilder>(pool_)),
        image_(std::make_shared<arrow::StructBuilder>(
            image_type(), pool_, std::vector<std::shared_ptr<arrow::ArrayBuilder>>{bytes_, path_})),
        images_(pool_, image_, arrow::list(image_type())),
        provenance_(pool_) {}

  static std::shared_ptr<arrow::DataType> image_type() {
    return arrow::struct_(
        {arrow::field("bytes", arrow::binary()), arrow::field("path", arrow::utf8())});
  }

  // The bytes of all images first: one that is not there must not leave half a row.
  void add(const PreferencePair& pair, MediaStore& store, const std::string& provenance) {
    std::vector<std::pair<Bytes, std::string>> pictures;
    for (const Media* image : exported::images_of(pair.prompt))
      pictures.emplace_back(store.bytes(*image),
                            image->id + "." + std::string(exported::ending_of(*image)));
    prompt_.begin_row();
    for (const Message& message : pair.prompt.messages) {
      prompt_.begin_message(message.role == Message::Role::user     ? "user"
                            : message.role == Message::Role::system ? "system"
                                                                    : "assistant");
      for (const Part& part : message.content)
        part.kind == Part::Kind::text ? prompt_.text(part.text) : prompt_.image();
    }
    for (const auto& [column, text] :
         {std::pair{&chosen_, &pair.chosen.text}, std::pair{&rejected_, &pair.rejected.text}}) {
      column->begin_row();
      column->begin_message("assistant");
      column->text(*text);
    }
    must(images_.Append());
    for (const auto& [bytes, name] : pictures) {
      must(image_->Append());
      must(bytes_->Append(bytes.data(), static_cast<std::int32_t>(bytes.size())));
      must(path_->Append(name));
      size_ += bytes.size();
    }
    must(provenance_.Append(provenance));
    size_ += provenance.size() + pair.chosen.text.size() + pair.rejected.text.size();
    ++count_;
  }
  std::shared_ptr<arrow::RecordBatch> finish() {
    const auto count = static_cast<std::int64_t>(count_);
    count_ = size_ = 0;
    return arrow::RecordBatch::Make(schema_, count,
                                    {prompt_.finish(), chosen_.finish(), rejected_.finish(),
                                     must(images_.Finish()), must(provenance_.Finish())});
  }
  std::size_t count() const { return count_; }
  std::size_t size() const { return size_; }

 private:
  const std::shared_ptr<arrow::Schema> schema_;
  arrow::MemoryPool* const pool_;
  Messages prompt_, chosen_, rejected_;
  std::shared_ptr<arrow::BinaryBuilder> bytes_;
  std::shared_ptr<arrow::StringBuilder> path_;
  std::shared_ptr<arrow::StructBuilder> image_;
  arrow::ListBuilder images_;
  arrow::StringBuilder provenance_;
  std::size_t count_ = 0, size_ = 0;
};

// TRL's vision preference form in Parquet shards with images inside, and a data card: a folder that
// `datasets.load_dataset` opens.
class ParquetExporter final : public Exporter {
 public:
  struct Params {
    std::int64_t shard_mb = 450;
    bool provenance = true;
    static void describe(Schema<Params>& schema) {
      schema.field("shard_mb", &Params::shard_mb, "Size of a shard, about, in MB.")
          .min(1)
          .max(1900);
      schema.field("provenance", &Params::provenance,
                   "Add a column dt2it with ids, sources and scores as JSON text, which our reader "
                   "puts back.");
    }
  };
  ParquetExporter(const Params& params, Context& context) : params_(params), context_(context) {}

  ExportCounts write(Stream<PreferencePair>& pairs, const fs::path& folder,
                     const ExportNotes& notes) override {
    ExportCounts counts;
    const auto schema = arrow::schema(
        {arrow::field("prompt", messages_type()), arrow::field("chosen", messages_type()),
         arrow::field("rejected", messages_type()),
         arrow::field("images", arrow::list(Rows::image_type())),
         arrow::field("dt2it", arrow::utf8())},
        arrow::key_value_metadata({{"huggingface", kFeatures}}));
    fs::create_directories(folder / "data");
    Rows rows(schema);
    std::vector<fs::path> shards;
    std::shared_ptr<arrow::io::FileOutputStream> file;
    std::unique_ptr<parquet::arrow::FileWriter> writer;
    std::size_t in_shard = 0;
    const auto close = [&] {
      if (!writer) return;
      must(writer->Close());
      must(file->Close());
      writer.reset();
      in_shard = 0;
    };
    const auto flush = [&] {
      if (rows.count() == 0) return;
      if (!writer) {
        shards.push_back(folder / "data" / ("part-" + std::to_string(shards.size())));
        file = must(arrow::io::FileOutputStream::Open(shards.back().string()));
        const auto properties =
            parquet::WriterProperties::Builder().compression(parquet::Compression::SNAPPY)->build();
        // The schema goes in as it is, with what `datasets` reads from it.
        const auto arrow_properties =
            parquet::ArrowWriterProperties::Builder().store_schema()->build();
        writer = must(parquet::arrow::FileWriter::Open(*schema, arrow::default_memory_pool(), file,
                                                       properties, arrow_properties));
      }
      in_shard += rows.size();
      const auto table = must(arrow::Table::FromRecordBatches({rows.finish()}));
      must(writer->WriteTable(*table));
      if (in_shard >= static_cast<std::size_t>(params_.shard_mb) << 20) close();
    };
    for (PreferencePair pair; pairs.next(pair);) {
      std::string problem =
          exported::objection(pair);  // marks are none: texts and images are apart
      if (problem.empty() && pair.rejected_prompt)
        problem = "the two sides have prompts of their own";
      if (!problem.empty()) {
        ++counts.left_out[problem];
        continue;
      }
      try {
        rows.add(pair, context_.media(),
                 params_.provenance ? exported::provenance(pair) : std::string());
      } catch (const DataError&) {
        ++counts.left_out["an image is absent"];
        continue;
      }
      ++counts.written;
      if (rows.count() == 100 || rows.size() > (std::size_t{32} << 20)) flush();
    }
    flush();
    close();
    for (std::size_t i = 0; i < shards.size(); ++i) {
      char name[64];
      std::snprintf(name, sizeof name, "train-%05zu-of-%05zu.parquet", i, shards.size());
      fs::rename(shards[i], folder / "data" / name);
    }
    exported::TextFile card(folder / "README.md");
    card.write(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: "
        "data/train-*\n---\n\n" +
        exported::valid_utf8(notes.card));
    card.close();
    return counts;
  }

 private:
  const Params params_;
  Context& context_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("exporters/parquet", "1.1.0", registrar) {
  registrar.add<dt2it::Exporter, dt2it::ParquetExporter>(
      "parquet",
      "Pairs in TRL's vision form, images inside: a folder for Hugging Face datasets, with a data "
      "card.");
}
