// SPDX-License-Identifier: Apache-2.0
#include "dt2it/dataset.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/common/records/record_parser.hpp"
#include "plugins/common/records/record_reader.hpp"

namespace dt2it {
namespace {

// Files in this software's own form: prompts, pairs or text-to-image preferences, one a line.
class JsonlDataset final : public Dataset {
 public:
  struct Params {
    std::filesystem::path file;
    std::filesystem::path media_root;
    static void describe(Schema<Params>& schema) {
      schema
          .field(
              "file", &Params::file,
              "The .jsonl file, or a folder (such as a stage's) with prompts.jsonl, pairs.jsonl or "
              "image_preferences.jsonl.")
          .required()
          .argument();
      schema.field("media_root", &Params::media_root,
                   "Folder that paths of images start from; empty: the folder of the file.");
    }
  };

  JsonlDataset(const Params& params, Context& context) : params_(params), context_(context) {}

  std::unique_ptr<Stream<Prompt>> prompts() override {
    return open<Prompt, records::parse_prompt>("prompts.jsonl");
  }
  std::unique_ptr<Stream<PreferencePair>> pairs() override {
    return open<PreferencePair, records::parse_pair>("pairs.jsonl");
  }
  std::unique_ptr<Stream<ImagePreference>> image_preferences() override {
    return open<ImagePreference, records::parse_image_preference>("image_preferences.jsonl");
  }

 private:
  template <class Record, auto parse>
  class FileStream final : public Stream<Record> {
   public:
    FileStream(const std::filesystem::path& file, records::Source source)
        : reader_(file), source_(std::move(source)) {}
    bool next(Record& record) override {
      simdjson::dom::object object;
      if (!reader_.next(object)) return false;
      record = parse(object, source_, reader_.where());
      return true;
    }

   private:
    records::RecordReader reader_;
    records::Source source_;
  };

  template <class Record, auto parse>
  std::unique_ptr<Stream<Record>> open(const char* usual_name) {
    const std::filesystem::path file = records::find_data_file(params_.file, {usual_name});
    const std::filesystem::path root =
        params_.media_root.empty() ? file.parent_path() : params_.media_root;
    return std::make_unique<FileStream<Record, parse>>(file,
                                                       records::Source{root, context_.media()});
  }

  const Params params_;
  Context& context_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("datasets/jsonl", "1.0.0", registrar) {
  registrar.add<dt2it::Dataset, dt2it::JsonlDataset>(
      "jsonl",
      "Prompts, preference pairs or text-to-image preferences in this software's own JSONL.");
}
