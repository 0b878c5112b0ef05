// SPDX-License-Identifier: Apache-2.0
// Text-to-image preferences as pairs for a reward model (paper section 3.2).
#include "core/data/records.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/stages.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/reformulator.hpp"

namespace dt2it {
namespace {

struct ReformulateParams {
  std::string dataset;
  std::string reformulator;
  std::int64_t limit = 0;

  static void describe(Schema<ReformulateParams>& schema) {
    schema.component<Dataset>("dataset", &ReformulateParams::dataset, "Text-to-image preferences.")
        .required();
    schema
        .component<Reformulator>("reformulator", &ReformulateParams::reformulator,
                                 "How a preference becomes a pair.")
        .required();
    schema.field("limit", &ReformulateParams::limit, "Use only so many preferences; 0: all.")
        .min(0);
  }
};

bool whole(const Prompt& prompt) {
  for (const Message& message : prompt.messages)
    for (const Part& part : message.content)
      if (part.kind != Part::Kind::text && !part.media.present()) return false;
  return true;
}

void run(const ReformulateParams& params, StageRun& stage) {
  const auto stream = stage.context().component<Dataset>(params.dataset)->image_preferences();
  const auto reformulator = stage.context().component<Reformulator>(params.reformulator);
  LineWriter out(stage.output / "pairs.jsonl");
  LineWriter dropped(stage.output / "dropped.jsonl");
  const auto drop = [&](const ImagePreference& preference, std::string_view reason,
                        std::string_view detail) {
    JsonWriter json;
    json.begin_object().key("id").value(preference.id).key("source").value(preference.source);
    json.key("reason").value(reason).key("detail").value(detail).end_object();
    dropped.write(json.text());
  };
  ImagePreference preference;
  std::size_t read = 0, kept = 0, unusable = 0, missing = 0, broken = 0;
  while ((params.limit == 0 || read < static_cast<std::size_t>(params.limit)) &&
         stream->next(preference)) {
    stage.check_stop();
    ++read;
    if (preference.text.empty()) {  // what the data set could not read
      ++unusable;
      drop(preference, "unusable record", preference.better.source);
      continue;
    }
    if (!preference.better.present() || !preference.worse.present()) {
      ++missing;
      drop(preference, "image missing",
           (preference.better.present() ? preference.worse : preference.better).source);
      continue;
    }
    PreferencePair pair = reformulator->reformulate(preference);
    if (!whole(pair.prompt) || (pair.rejected_prompt && !whole(*pair.rejected_prompt))) {
      ++broken;
      drop(preference, "image cannot be decoded", preference.id);
      continue;
    }
    if (pair.source.empty()) pair.source = params.dataset;
    out.write(to_json(pair));
    ++kept;
    stage.progress->add(1);
  }
  out.close();
  dropped.close();
  Funnel funnel;
  funnel.step("text-to-image preferences", read);
  funnel.step("pairs", kept);
  funnel.drop("unusable record", unusable);
  funnel.drop("image missing", missing);
  funnel.drop("image cannot be decoded", broken);
  funnel.write(stage.output);
}

}  // namespace

StageType reformulate_stage() {
  return make_stage<ReformulateParams>(
      "reformulate", "Makes pairs of text-to-image preferences (paper section 3.2).", "2", run);
}

}  // namespace dt2it
