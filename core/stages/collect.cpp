// SPDX-License-Identifier: Apache-2.0
// Step 1 of the distillation (paper section 3.1 and appendix A): the prompts of a data set, without what cannot be used or must not
// be, in the mixture that is asked for.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <optional>
#include <unordered_set>

#include "core/data/records.hpp"
#include "core/media/media_store.hpp"
#include "core/run/layout.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/mixture.hpp"
#include "core/stages/record_journal.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"
#include "dt2it/question.hpp"

namespace dt2it {
namespace {

constexpr std::size_t kReviewed = 4096;  // prompts shown to a curator at once

struct CollectParams {
  std::string dataset;
  std::int64_t limit = 0;
  std::map<std::string, std::int64_t> quota;
  std::map<std::string, std::int64_t> domain_quota;
  bool deduplicate = false;
  bool need_reference = false;
  std::string images = "any";
  std::vector<std::string> scripts;
  std::string decontaminate;

  static void describe(Schema<CollectParams>& schema) {
    schema.component<Dataset>("dataset", &CollectParams::dataset, "Data set to read.").required();
    schema.field("limit", &CollectParams::limit, "Read only so many records; 0: all.").min(0);
    schema.field("quota", &CollectParams::quota,
                 "Most prompts of a source, by its name, drawn at random: { dvqa = 20000 }; \"*\": "
                 "of every other one.");
    schema.field("domain_quota", &CollectParams::domain_quota,
                 "Most prompts of a domain, likewise; after `quota`.");
    schema.field("deduplicate", &CollectParams::deduplicate,
                 "Keep the first of prompts with the same images and the same words.");
    schema.field("need_reference", &CollectParams::need_reference,
                 "Drop prompts without a reference answer.");
    schema
        .field("images", &CollectParams::images,
               "any; present: drop prompts with an image that is absent, of no known type, or too "
               "large to be decoded; decoded: also "
               "those with one that does not decode.")
        .choices({"any", "present", "decoded"});
    schema
        .field("scripts", &CollectParams::scripts,
               "Keep only questions mostly written in these; none given: all.")
        .choices({"latin", "han", "kana", "hangul", "cyrillic", "arabic", "other"});
    schema.component<Curator>("decontaminate", &CollectParams::decontaminate,
                              "Curator (curators/decontaminate) whose discards are dropped; it "
                              "sees prompts without answers.");
  }
};

// Images and words of all messages; case and spaces do not count.
std::uint64_t content_hash(const Prompt& prompt) {
  std::string content;
  for (const Message& message : prompt.messages) {
    content += static_cast<char>('0' + static_cast<int>(message.role));
    for (const Part& part : message.content) {
      if (part.kind != Part::Kind::text) {
        content += '\1' + (part.media.present() ? part.media.id : part.media.source);
        for (const std::string& frame : part.media.frames) content += '\1' + frame;
        continue;
      }
      for (const char c : part.text)
        if (!std::isspace(static_cast<unsigned char>(c)))
          content += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return stable_hash(content);
}

class Collection {
 public:
  Collection(const CollectParams& params, StageRun& stage)
      : params_(params), stage_(stage), journal_(stage) {
    if (!params.decontaminate.empty())
      curator_ = stage.context().component<Curator>(params.decontaminate);
  }

  void run(Stream<Prompt>& stream) {
    Prompt prompt;
    while ((params_.limit == 0 || read_ < static_cast<std::size_t>(params_.limit)) &&
           stream.next(prompt)) {
      stage_.check_stop();
      const std::size_t record = read_++;
      ++mixture_.of(prompt).read;
      stage_.progress->add(1);
      if (const auto fate = journal_.fate(record))
        take_up(prompt, *fate);
      else if (const auto [reason, detail] = objection(prompt); !reason.empty())
        drop(record, prompt, reason, detail);
      else if (curator_)
        review(record, std::move(prompt));
      else
        pass(record, prompt);
      prompt = {};
    }
    finish_review();
  }

  void write() {
    const std::vector<char> wanted = mixture_.draw(params_.quota, params_.domain_quota);
    const std::size_t kept =
        journal_.write(layout::kPrompts, read_, [&](std::size_t row) { return wanted[row] != 0; });
    mixture_.write(stage_.output / layout::kMixture);
    Funnel funnel;
    if (dropped_count_.empty() && kept == read_) {
      funnel.step("prompts", kept);
    } else {
      funnel.step("records", read_);
      funnel.step("prompts", kept);
      for (const auto& [reason, count] : dropped_count_) funnel.drop(reason, count);
      funnel.drop("over the quota", wanted.size() - kept);
    }
    funnel.write(stage_.output);
  }

 private:
  static constexpr const char* kContaminated = "contaminated";

  // Why a prompt is not taken, and more about it; empty: it is.
  std::pair<std::string, std::string> objection(const Prompt& prompt) {
    if (prompt.messages.empty()) return {"unusable record", prompt.extra};
    if (params_.need_reference && prompt.reference.empty()) return {"no reference answer", ""};
    if (!params_.scripts.empty()) {
      const std::string_view script = main_script(question_of(prompt));
      if (std::ranges::find(params_.scripts, script) == params_.scripts.end())
        return {"other script", std::string(script)};
    }
    if (params_.images != "any")
      for (const Message& message : prompt.messages)
        for (const Part& part : message.content)
          if (part.kind != Part::Kind::text)
            if (std::string problem = problem_of(part); !problem.empty())
              return {part.media.present() ? "image cannot be used" : "image missing",
                      std::move(problem)};
    if (params_.deduplicate && !seen_.insert(content_hash(prompt)).second) return {"duplicate", ""};
    return {};
  }

  // What an earlier process found out about a record.
  void take_up(const Prompt& prompt, const RecordJournal::Fate& fate) {
    if (fate.kept || fate.reason == kContaminated) {
      if (params_.deduplicate) seen_.insert(content_hash(prompt));
    }
    if (fate.kept)
      count_pass(prompt);
    else
      count_drop(prompt, fate.reason);
  }

  std::string problem_of(const Part& part) {
    const Media& media = part.media;
    if (!media.present()) return media.source;
    if (part.kind == Part::Kind::video) return {};
    if (media.mime.empty()) return media.source + ": of no known type";
    if (std::int64_t{media.width} * media.height > kMaxImagePixels)
      return fmt::format("{}: {} x {} pixels (allowed: {})", media.source, media.width,
                         media.height, kMaxImagePixels);
    if (params_.images != "decoded") return {};
    const DecodedImage decoded = stage_.context().media().decode(media);
    return decoded.status == Status::ok ? std::string() : media.source + ": " + decoded.detail;
  }

  void count_pass(const Prompt& prompt) {
    mixture_.pass(prompt, stage_.context().rng("mixture/" + prompt.id).next());
  }
  void count_drop(const Prompt& prompt, const std::string& reason) {
    ++dropped_count_[reason];
    ++mixture_.of(prompt).dropped[reason];
  }

  void pass(std::size_t record, const Prompt& prompt) {
    count_pass(prompt);
    journal_.keep(record, to_json(prompt));
  }
  void drop(std::size_t record, const Prompt& prompt, const std::string& reason,
            const std::string& detail) {
    count_drop(prompt, reason);
    journal_.drop(record, prompt.id, prompt.source, reason, detail);
  }

  void review(std::size_t record, Prompt prompt) {
    PreferencePair pair;
    pair.id = prompt.id;
    pair.source = prompt.source;
    pair.prompt = std::move(prompt);
    waiting_.push_back(std::move(pair));
    waiting_records_.push_back(record);
    if (waiting_.size() == kReviewed) finish_review();
  }

  // In order: what a later record of the same batch became is never on record without the earlier ones.
  void finish_review() {
    if (waiting_.empty()) return;
    const std::vector<Decision> decisions = curator_->review(waiting_);
    if (decisions.size() != waiting_.size())
      throw PluginError(fmt::format("curator '{}' gave {} decisions for {} prompts",
                                    params_.decontaminate, decisions.size(), waiting_.size()));
    for (std::size_t i = 0; i < waiting_.size(); ++i) {
      if (decisions[i].action != Decision::Action::discard) {
        pass(waiting_records_[i], waiting_[i].prompt);
        continue;
      }
      JsonWriter json;
      json.begin_object().key("reason").value(decisions[i].reason);
      if (!decisions[i].detail.empty()) json.key("evidence").raw(decisions[i].detail);
      json.end_object();
      drop(waiting_records_[i], waiting_[i].prompt, kContaminated, json.text());
    }
    waiting_.clear();
    waiting_records_.clear();
  }

  const CollectParams& params_;
  StageRun& stage_;
  RecordJournal journal_;
  std::shared_ptr<Curator> curator_;
  std::vector<PreferencePair> waiting_;
  std::vector<std::size_t> waiting_records_;
  std::unordered_set<std::uint64_t> seen_;
  Mixture mixture_;
  std::size_t read_ = 0;
  std::map<std::string, std::size_t> dropped_count_;
};

void run_prompts(const CollectParams& params, StageRun& stage) {
  const auto stream = stage.context().component<Dataset>(params.dataset)->prompts();
  Collection collection(params, stage);
  collection.run(*stream);
  collection.write();
}

struct CollectPairsParams {
  std::string dataset;
  std::int64_t limit = 0;
  static void describe(Schema<CollectPairsParams>& schema) {
    schema.component<Dataset>("dataset", &CollectPairsParams::dataset, "Data set to read.")
        .required();
    schema.field("limit", &CollectPairsParams::limit, "Read only so many records; 0: all.").min(0);
  }
};

void run_pairs(const CollectPairsParams& params, StageRun& stage) {
  const auto stream = stage.context().component<Dataset>(params.dataset)->pairs();
  LineWriter out(stage.output / layout::kPairs), dropped(stage.output / layout::kDropped);
  PreferencePair pair;
  std::size_t read = 0, kept = 0;
  std::map<std::string, std::size_t> reasons;
  while ((params.limit == 0 || read < static_cast<std::size_t>(params.limit)) &&
         stream->next(pair)) {
    stage.check_stop();
    stage.progress->add(1);
    ++read;
    if (!pair.prompt.messages.empty()) {
      out.write(to_json(pair));
      ++kept;
      continue;
    }
    // What the data set could not make a pair of: {"dropped": reason, "detail": why}.
    simdjson::dom::parser parser;
    simdjson::dom::element why;
    std::string_view reason = "unusable record", detail;
    if (!parser.parse(pair.extra).get(why)) {
      if (why["dropped"].get(reason)) reason = "unusable record";
      if (why["detail"].get(detail)) detail = {};
    }
    ++reasons[std::string(reason)];
    JsonWriter json;
    json.begin_object()
        .key("id")
        .value(pair.id)
        .key("source")
        .value(pair.source)
        .key("reason")
        .value(reason);
    if (!detail.empty()) json.key("detail").value(detail);
    json.end_object();
    dropped.write(json.text());
  }
  out.close();
  dropped.close();
  Funnel funnel;
  if (!reasons.empty()) funnel.step("records of " + params.dataset, read);
  funnel.step("pairs of " + params.dataset, kept);
  for (const auto& [reason, count] : reasons) funnel.drop(reason, count);
  funnel.write(stage.output);
}

}  // namespace

StageType collect_stage() {
  return make_stage<CollectParams>("collect",
                                   "Collects the prompts of a data set with their reference "
                                   "answers: what is usable, in the mixture asked for.",
                                   "3", run_prompts);
}

StageType collect_pairs_stage() {
  return make_stage<CollectPairsParams>("collect_pairs",
                                        "Collects the preference pairs of a data set as they are; "
                                        "what gives none is counted with its reason.",
                                        "2", run_pairs);
}

VolumeOutput collect_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<CollectParams>();
  VolumeOutput output;
  output.prompts = forecast.fact("datasets." + params.dataset);
  if (params.limit > 0)
    output.prompts = std::min(output.prompts, static_cast<double>(params.limit));
  forecast.makes(output.prompts,
                 forecast.fact("bytes_per_record") + forecast.fact("bytes_per_image"), "prompts");
  return output;
}

VolumeOutput collect_pairs_volume(VolumeForecast& forecast) {
  VolumeOutput output;
  output.pairs = forecast.fact("datasets." + forecast.params<CollectPairsParams>().dataset);
  forecast.makes(output.pairs,
                 2 * forecast.fact("bytes_per_record") + forecast.fact("bytes_per_image"), "pairs");
  return output;
}

}  // namespace dt2it
