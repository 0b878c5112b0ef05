// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dt2it/dataset.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/prompt_sources.hpp"
#include "plugins/common/records/draw.hpp"
#include "plugins/common/records/input_files.hpp"
#include "plugins/common/records/media_places.hpp"
#include "plugins/common/records/prompt_parser.hpp"
#include "plugins/common/records/record_fields.hpp"
#include "plugins/common/records/row_reader.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

// Questions with their images and reference answers, as other programs' data sets hold them (paper
// Table 9).
class PromptsDataset final : public Dataset {
 public:
  struct Params {
    fs::path file;
    fs::path media_root;
    std::string source;
    std::string domain;
    std::map<std::string, std::string> columns;
    std::string turns = "auto";
    bool rationale = true;
    bool images_only = false;
    std::int64_t sample = 0;
    fs::path image_table;
    std::string bad_records = "report";

    static void describe(Schema<Params>& schema) {
      schema
          .field("file", &Params::file,
                 "Records: a .json, .jsonl or .parquet file, a folder of them, a pattern "
                 "(train-*.parquet), an archive or a path "
                 "inside one, InternVL's meta file.")
          .required()
          .argument();
      schema.field(
          "media_root", &Params::media_root,
          "Folder or archive that paths of images start from; empty: the folder of each file.");
      schema.field("source", &Params::source,
                   "Name of the data set; empty: what the record says, else the name of the file "
                   "or folder.");
      schema.field("domain", &Params::domain,
                   "visual_understanding, reasoning, safety or a name of your own; empty: by the "
                   "source, as in the paper's Table 9.");
      schema.field("columns", &Params::columns,
                   "Where things are in the records, such as { question = \"problem\" }; for what "
                   "is not given the usual names are "
                   "tried. Fields: id, messages, system, question, images, videos, turns, "
                   "reference, choices, context, rationale, "
                   "source, domain, image_key.");
      schema
          .field("turns", &Params::turns,
                 "Conversations of several turns: each (a prompt a turn, alone), context (with the "
                 "turns before it), first, last; "
                 "auto: each for the_cauldron, context for others.")
          .choices({"auto", "each", "context", "first", "last"});
      schema.field("rationale", &Params::rationale,
                   "Put the record's explanation behind the reference answer.");
      schema.field("images_only", &Params::images_only, "Pass over records without an image.");
      schema
          .field("sample", &Params::sample,
                 "Take so many records, drawn at random, in their order; 0: all.")
          .min(0);
      schema.field(
          "image_table", &Params::image_table,
          "Records {id, image} that hold the images by the key in column image_key (GQA).");
      schema
          .field("bad_records", &Params::bad_records,
                 "report: a record that cannot be read is given as a prompt without messages, "
                 "which the stage collect counts and "
                 "drops; stop: it is an error.")
          .choices({"report", "stop"});
    }
  };

  PromptsDataset(const Params& params, Context& context) : params_(params), context_(context) {
    form_.columns.rename(params.columns);
    form_.turns = records::turns_named(params.turns);
    form_.rationale = params.rationale;
  }

  std::unique_ptr<Stream<Prompt>> prompts() override {
    if (inputs_.empty())
      inputs_ = records::input_files(params_.file, params_.media_root, params_.source, context_);
    if (!params_.image_table.empty() && images_.empty()) read_images();
    return std::make_unique<PromptStream>(*this);
  }

 private:
  void read_images() {
    for (const records::InputFile& input :
         records::input_files(params_.image_table, {}, "images", context_)) {
      const auto rows = records::open_rows(input.file, {"id", "image"}, context_.media());
      const records::PromptForm form;
      for (simdjson::dom::object row; rows->next(row);) {
        const std::string id = records::required_text(row, "id", rows->where());
        std::vector<Media> media =
            records::media_field(row, "image", input.media_root, context_.media(), rows->where());
        if (!media.empty()) images_[id] = std::move(media.front());
      }
    }
  }

  class PromptStream final : public Stream<Prompt> {
   public:
    explicit PromptStream(PromptsDataset& owner)
        : owner_(owner), keys_(owner.form_.columns.keys()) {
      if (owner.params_.sample == 0) return;
      std::size_t rows = 0;
      for (const records::InputFile& input : owner.inputs_) rows += rows_taken(input);
      whole_.emplace(owner.context_.rng("sample"), static_cast<std::size_t>(owner.params_.sample),
                     rows);
    }

    bool next(Prompt& prompt) override {
      while (at_ == ready_.size())
        if (!next_record()) return false;
      prompt = std::move(ready_[at_++]);
      return true;
    }

   private:
    // Fills ready_; false at the end.
    bool next_record() {
      ready_.clear();
      at_ = 0;
      if (!rows_ && !open_next()) return false;
      if (!rows_) return true;  // a shard that cannot be opened
      const records::InputFile& input = owner_.inputs_[file_ - 1];
      simdjson::dom::object record;
      // Drawn of the records that the share leaves. What is drawn at the end of a file is for the
      // next file's first record.
      const bool in_part = !part_ || part_->take();
      if (in_part && !drawn_) drawn_ = !whole_ || whole_->take();
      const bool wanted = in_part && *drawn_;
      bool counted = false;
      try {
        if (!(wanted ? rows_->next(record) : rows_->skip())) {
          rows_.reset();
          return true;
        }
        if (in_part) drawn_.reset();
        ++row_;
        counted = true;
        if (!wanted) return true;
        const std::string where = rows_->where();
        const records::MediaSource source{input.media_root, *media_};
        ready_ = records::parse_prompts(record, owner_.form_, source,
                                        owner_.images_.empty() ? nullptr : &owner_.images_, where);
      } catch (const DataError& error) {
        if (owner_.params_.bad_records == "stop") throw;
        if (in_part) drawn_.reset();
        ready_ = {unusable(error.what())};
        if (!counted) ++row_;
      }
      finish(input);
      return true;
    }

    bool open_next() {
      while (file_ < owner_.inputs_.size()) {
        const records::InputFile& input = owner_.inputs_[file_++];
        part_.reset();
        try {
          if (input.share < 1) {
            const std::size_t rows = records::count_rows(input.file);
            part_.emplace(owner_.context_.rng("share/" + input.source), shared(rows, input), rows);
          }
          media_.emplace(owner_.context_.media(), input.media_root, false);
          rows_ = records::open_rows(input.file, keys_, owner_.context_.media());
          return true;
        } catch (const DataError& error) {  // a shard that was written half
          if (owner_.params_.bad_records == "stop") throw;
          ready_ = {unusable(error.what())};
          ++row_;
          finish(input);
          return true;
        }
      }
      return false;
    }

    static std::size_t shared(std::size_t rows, const records::InputFile& input) {
      return input.share < 1
                 ? static_cast<std::size_t>(std::llround(static_cast<double>(rows) * input.share))
                 : rows;
    }
    // None of a file that cannot be opened: it is told whatever is drawn.
    static std::size_t rows_taken(const records::InputFile& input) {
      try {
        return shared(records::count_rows(input.file), input);
      } catch (const DataError&) {
        return 0;
      }
    }

    static Prompt unusable(const std::string& why) {
      Prompt prompt;
      prompt.extra = R"({"problem":)";
      append_quoted(why, prompt.extra);
      prompt.extra += '}';
      return prompt;
    }
    static void append_quoted(const std::string& text, std::string& out) {
      out += '"';
      for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
      }
      out += '"';
    }

    // Ids by place: those of foreign records repeat.
    void finish(const records::InputFile& input) {
      const Params& params = owner_.params_;
      if (params.images_only)
        std::erase_if(ready_, [](const Prompt& prompt) {
          return !prompt.messages.empty() && !has_image(prompt);
        });
      for (std::size_t i = 0; i < ready_.size(); ++i) {
        Prompt& prompt = ready_[i];
        if (!params.source.empty() || prompt.source.empty()) prompt.source = input.source;
        if (!params.domain.empty()) prompt.domain = params.domain;
        for (const std::string& name : {prompt.source, input.source})
          if (const PromptSource* row = table9_row(name); row && prompt.domain.empty())
            prompt.domain = row->domain;
        prompt.id = input.source + "/" + std::to_string(row_ - 1);
        if (i > 0 || ready_.size() > 1) prompt.id += "/" + std::to_string(i);
      }
    }
    static bool has_image(const Prompt& prompt) {
      for (const Message& message : prompt.messages)
        for (const Part& part : message.content)
          if (part.kind == Part::Kind::image) return true;
      return false;
    }

    PromptsDataset& owner_;
    const std::vector<std::string> keys_;
    std::size_t file_ = 0;  // the next one
    std::unique_ptr<records::RowReader> rows_;
    std::optional<records::MediaPlaces> media_;
    std::optional<records::Draw> whole_, part_;
    std::optional<bool> drawn_;  // for the next record that its file's share leaves
    std::vector<Prompt> ready_;
    std::size_t at_ = 0, row_ = 0;
  };

  const Params params_;
  Context& context_;
  records::PromptForm form_;
  std::vector<records::InputFile> inputs_;
  std::map<std::string, Media> images_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("datasets/prompts", "1.1.0", registrar) {
  registrar.add<dt2it::Dataset, dt2it::PromptsDataset>(
      "prompts",
      "Questions with images and reference answers as the_cauldron, LLaVA-OneVision, InternVL, "
      "MMPR, ScienceQA and others keep them.");
}
