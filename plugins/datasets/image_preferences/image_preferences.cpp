// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "dt2it/dataset.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/common/records/input_files.hpp"
#include "plugins/common/records/media_places.hpp"
#include "plugins/common/records/record_fields.hpp"
#include "plugins/common/records/row_reader.hpp"
#include "plugins/datasets/image_preferences/comparisons.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

// Text-to-image preferences as HPDv2, EvalMuse and Omni-Reward keep them (paper section 3.2).
class ImagePreferencesDataset final : public Dataset {
 public:
  struct Params {
    fs::path file;
    std::string form = "auto";
    fs::path media_root;
    std::string source;
    double min_gap = 0;
    std::int64_t max_pairs = 0;
    std::string bad_records = "report";

    static void describe(Schema<Params>& schema) {
      schema.field("file", &Params::file, "Records, named as in datasets/prompts.")
          .required()
          .argument();
      schema.field("form", &Params::form, "auto: seen from each record; hpdv2, evalmuse, omni.")
          .choices({"auto", "hpdv2", "evalmuse", "omni"});
      schema.field(
          "media_root", &Params::media_root,
          "Folder or archive that paths of images start from; empty: the folder of each file.");
      schema.field("source", &Params::source,
                   "Name of the data set; empty: of the file or folder.");
      schema
          .field(
              "min_gap", &Params::min_gap,
              "Scores or ranks must differ by more than this; equal ones never make a preference.")
          .min(0);
      schema
          .field("max_pairs", &Params::max_pairs,
                 "Preferences made of one text (EvalMuse) or record, drawn at random; 0: all.")
          .min(0);
      schema
          .field("bad_records", &Params::bad_records,
                 "report: a record that cannot be read is given as a preference without text, "
                 "which the stage reformulate counts "
                 "and drops; stop: it is an error.")
          .choices({"report", "stop"});
    }
  };

  ImagePreferencesDataset(const Params& params, Context& context)
      : params_(params), context_(context) {
    const std::map<std::string, t2i::Form> forms{{"auto", t2i::Form::automatic},
                                                 {"hpdv2", t2i::Form::hpdv2},
                                                 {"evalmuse", t2i::Form::evalmuse},
                                                 {"omni", t2i::Form::omni}};
    const auto found = forms.find(params.form);
    if (found == forms.end())
      throw ConfigError("form: '" + params.form +
                        "' is not known (allowed: auto, hpdv2, evalmuse, omni)");
    form_ = found->second;
  }

  std::unique_ptr<Stream<ImagePreference>> image_preferences() override {
    if (inputs_.empty())
      inputs_ = records::input_files(params_.file, params_.media_root, params_.source, context_);
    return std::make_unique<PreferenceStream>(*this);
  }

 private:
  // Images of one text that come record by record (EvalMuse) are gathered first: paths and scores
  // only.
  struct Group {
    std::string text, id;
    const records::InputFile* input;
    std::vector<t2i::Rated> images;
  };

  class PreferenceStream final : public Stream<ImagePreference> {
   public:
    explicit PreferenceStream(ImagePreferencesDataset& owner) : owner_(owner) {}

    bool next(ImagePreference& preference) override {
      for (;;) {
        if (at_ < ready_.size()) {
          const Ready& ready = ready_[at_++];
          try {
            preference = make(ready);
          } catch (const DataError& error) {
            if (owner_.params_.bad_records == "stop") throw;
            preference = unusable(error.what(), *ready.input);
          }
          return true;
        }
        ready_.clear();
        at_ = 0;
        if (!problems_.empty()) {
          preference = unusable(problems_, *input_);
          problems_.clear();
          return true;
        }
        if (!read_record() && !next_group()) {
          say_what_was_dropped();
          return false;
        }
      }
    }

   private:
    struct Ready {
      std::string id, text, better, worse;
      double gap = 0;
      const records::InputFile* input = nullptr;
    };

    bool read_record() {
      if (!rows_) {
        if (file_ == owner_.inputs_.size()) return false;
        input_ = &owner_.inputs_[file_++];
      }
      try {
        if (!rows_) rows_ = records::open_rows(input_->file, {}, owner_.context_.media());
        simdjson::dom::object record;
        if (!rows_->next(record)) {
          rows_.reset();
          return true;
        }
        const std::size_t row = row_++;
        t2i::Comparison comparison = t2i::parse_comparison(record, owner_.form_, rows_->where());
        const std::string id = input_->source + "/" + std::to_string(row);
        if (comparison.images.size() > 1) {
          pair_up({std::move(comparison.text), id, input_, std::move(comparison.images)});
        } else {
          const auto [found, fresh] =
              group_of_.emplace(input_->source + '\n' + comparison.text, groups_.size());
          if (fresh) groups_.push_back({comparison.text, id, input_, {}});
          groups_[found->second].images.push_back(std::move(comparison.images.front()));
        }
      } catch (const DataError& error) {
        if (owner_.params_.bad_records == "stop") throw;
        problems_ = error.what();
      }
      return true;
    }

    bool next_group() {
      if (group_ == groups_.size()) return false;
      Group& group = groups_[group_++];
      pair_up(group);
      group = {};
      return true;
    }

    void pair_up(const Group& group) {
      const t2i::Couples made = t2i::couples_of(group.images, owner_.params_.min_gap,
                                                static_cast<std::size_t>(owner_.params_.max_pairs),
                                                owner_.context_.rng("couples/" + group.id));
      ties_ += made.ties;
      close_ += made.close;
      over_ += made.over;
      for (const t2i::Couple& couple : made.kept) {
        const t2i::Rated &better = group.images[couple.better], &worse = group.images[couple.worse];
        ready_.push_back(
            {group.id +
                 (group.images.size() > 2 || made.kept.size() > 1
                      ? "/" + std::to_string(couple.better) + "-" + std::to_string(couple.worse)
                      : ""),
             group.text, better.image, worse.image, better.score - worse.score, group.input});
      }
    }

    ImagePreference unusable(const std::string& why, const records::InputFile& input) {
      ImagePreference preference;
      preference.id = "unusable/" + std::to_string(unusable_++);
      preference.better.source = why;
      preference.source = input.source;
      return preference;
    }

    ImagePreference make(const Ready& ready) {
      ImagePreference preference;
      preference.id = ready.id;
      preference.text = ready.text;
      preference.source = ready.input->source;
      preference.better = image(ready.better, *ready.input, ready.id);
      preference.worse = image(ready.worse, *ready.input, ready.id);
      preference.extra = R"({"gap":)" + std::to_string(ready.gap) + "}";
      return preference;
    }

    Media image(const std::string& json, const records::InputFile& input,
                const std::string& where) {
      simdjson::dom::parser parser;
      simdjson::dom::element value;
      if (parser.parse(json).get(value)) throw DataError(where + ": an image cannot be read");
      records::MediaPlaces places(owner_.context_.media(), input.media_root, false);
      auto media = records::media_values(value, "image", input.media_root, places, where);
      return media.empty() ? Media{} : std::move(media.front());
    }

    void say_what_was_dropped() {
      if (said_) return;
      said_ = true;
      if (ties_ + close_ + over_ > 0)
        owner_.context_.log(LogLevel::info,
                            owner_.params_.file.string() + ": of the couples of images " +
                                std::to_string(ties_) + " have equal scores, " +
                                std::to_string(close_) + " differ by " + "no more than min_gap, " +
                                std::to_string(over_) + " are over max_pairs");
    }

    ImagePreferencesDataset& owner_;
    std::size_t file_ = 0;
    const records::InputFile* input_ = nullptr;
    std::unique_ptr<records::RowReader> rows_;
    std::vector<Ready> ready_;
    std::size_t at_ = 0, row_ = 0, group_ = 0, unusable_ = 0;
    std::vector<Group> groups_;
    std::unordered_map<std::string, std::size_t> group_of_;
    std::string problems_;
    std::size_t ties_ = 0, close_ = 0, over_ = 0;
    bool said_ = false;
  };

  const Params params_;
  Context& context_;
  t2i::Form form_ = t2i::Form::automatic;
  std::vector<records::InputFile> inputs_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("datasets/image_preferences", "1.1.0", registrar) {
  registrar.add<dt2it::Dataset, dt2it::ImagePreferencesDataset>(
      "image_preferences", "Text-to-image preferences of HPDv2, EvalMuse and Omni-Reward.");
}
