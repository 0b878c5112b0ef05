// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <vector>

#include "dt2it/dataset.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/common/records/answer_params.hpp"
#include "plugins/common/records/answer_parser.hpp"
#include "plugins/common/records/draw.hpp"
#include "plugins/common/records/input_files.hpp"
#include "plugins/common/records/media_places.hpp"
#include "plugins/common/records/pair_stream.hpp"
#include "plugins/common/records/record_reader.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

struct Texts {
  static constexpr const char* kFile =
      "A .jsonl file, or a .json file with an array; or a folder with one of these; also an "
      "archive "
      "or a path inside one, a pattern, InternVL's meta file (MMPR).";
  static constexpr const char* kSource =
      "Name of the data set; empty: of the file, or of MMPR's subset.";
};

// Preference pairs, candidates and single answers as other programs keep them, in JSON or JSONL.
class PreferencesDataset final : public Dataset {
 public:
  using Params = records::AnswerParams<Texts>;

  PreferencesDataset(const Params& params, Context& context)
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
        answers({}),
        named_.empty() && inputs_.size() == 1 ? inputs_.front().file.stem().string() : named_,
        strict_);
  }

  std::size_t count_answers() override {
    std::size_t count = 0;
    for (const records::InputFile& input : inputs_)
      count += static_cast<std::size_t>(static_cast<double>(count_of(input.file)) * input.share);
    return count;
  }

 private:
  static std::vector<records::InputFile> inputs_of(const Params& params, Context& context) {
    std::error_code ignored;
    const bool plain = fs::is_directory(params.file, ignored) ||
                       params.file.extension() == ".json" || params.file.extension() == ".jsonl" ||
                       !fs::exists(params.file.parent_path(), ignored);
    const bool pattern = params.file.string().find_first_of("*?[") != std::string::npos &&
                         !fs::exists(params.file, ignored);
    const fs::path file = plain && !pattern && fs::exists(params.file, ignored)
                              ? records::find_data_file(params.file, {"pairs.jsonl"})
                              : params.file;
    auto inputs = records::input_files(file, params.media_root, params.source, context);
    for (const records::InputFile& input : inputs)
      if (input.file.extension() == ".parquet")
        throw DataError(input.file.string() + ": is Parquet (use type = \"parquet\")");
    return inputs;
  }

  // Lines, or objects of the outer array: fast, and wrong by what is not a record.
  static std::size_t count_of(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    std::vector<char> buffer(1 << 20);
    std::size_t lines = 0, objects = 0;
    int depth = 0;
    bool in_string = false, escaped = false, array = false, started = false;
    while (stream.read(buffer.data(), static_cast<std::streamsize>(buffer.size())),
           stream.gcount() > 0) {
      const char* const end = buffer.data() + stream.gcount();
      if (!started) {
        const char* first = std::find_if(buffer.data(), const_cast<char*>(end),
                                         [](char c) { return c == '[' || c == '{'; });
        array = first != end && *first == '[';
        started = true;
      }
      if (!array) {
        lines += static_cast<std::size_t>(std::count(buffer.data(), const_cast<char*>(end), '\n'));
        continue;
      }
      for (const char* c = buffer.data(); c != end; ++c) {
        if (in_string) {
          if (escaped)
            escaped = false;
          else if (*c == '\\')
            escaped = true;
          else if (*c == '"')
            in_string = false;
        } else if (*c == '"') {
          in_string = true;
        } else if (*c == '{' || *c == '[') {
          objects += *c == '{' && depth == 1;
          ++depth;
        } else if (*c == '}' || *c == ']') {
          --depth;
        }
      }
    }
    return array ? objects : lines;
  }

  class FileStream final : public Stream<AnswerRecord> {
   public:
    FileStream(PreferencesDataset& owner, std::function<bool(std::size_t)> wanted)
        : owner_(owner), wanted_(std::move(wanted)) {}

    bool next(AnswerRecord& record) override {
      for (;;) {
        if (!reader_ && !open_next()) return false;
        simdjson::dom::object object;
        std::string problem;
        try {
          if (!reader_->next(object)) {
            reader_.reset();
            continue;
          }
        } catch (const DataError& error) {
          problem = error.what();
        }
        if (draw_ && !draw_->take()) continue;
        const std::size_t row = row_++;
        if (wanted_ && !wanted_(row)) continue;
        record = {};
        if (problem.empty()) try {
            record = records::parse_answers(object, owner_.form_, owner_.columns_,
                                            {input_->media_root, *media_}, reader_->where());
          } catch (const DataError& error) {
            problem = error.what();
            record = {};
            for (const std::string& name : owner_.columns_.id)
              if (std::string_view id; !object[name].get(id)) {
                record.id = id;
                break;
              }
          }
        record.row = row;
        if (owner_.inputs_.size() > 1) record.prompt.source = input_->source;
        if (!problem.empty()) {
          record.status = Status::invalid;
          record.detail = std::move(problem);
        }
        return true;
      }
    }

   private:
    bool open_next() {
      if (file_ == owner_.inputs_.size()) return false;
      input_ = &owner_.inputs_[file_++];
      reader_.emplace(input_->file);
      media_.emplace(owner_.context_.media(), input_->media_root, owner_.media_names_);
      draw_.reset();
      if (input_->share < 1) {
        const std::size_t rows = count_of(input_->file);
        draw_.emplace(
            owner_.context_.rng("share/" + input_->source),
            static_cast<std::size_t>(std::llround(static_cast<double>(rows) * input_->share)),
            rows);
      }
      return true;
    }

    PreferencesDataset& owner_;
    const std::function<bool(std::size_t)> wanted_;
    std::size_t file_ = 0;
    const records::InputFile* input_ = nullptr;
    std::optional<records::RecordReader> reader_;
    std::optional<records::MediaPlaces> media_;
    std::optional<records::Draw> draw_;
    std::size_t row_ = 0;
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

DT2IT_PLUGIN("datasets/preferences", "1.2.0", registrar) {
  registrar.add<dt2it::Dataset, dt2it::PreferencesDataset>(
      "preferences",
      "Pairs, candidates and answers as LLaMA-Factory, TRL, LLaVA and others keep them, in JSON or "
      "JSONL.");
}
