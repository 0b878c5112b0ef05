// SPDX-License-Identifier: Apache-2.0
// Text-to-image preferences as pairs for a reward model (paper section 3.2).
#include <algorithm>
#include <filesystem>
#include <map>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/record_journal.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
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
  // From the start: which side comes first is balanced over all that a reformulator has been given.
  std::filesystem::remove(stage.work / "records.journal");
  RecordJournal journal(stage);
  std::map<std::string, std::size_t> reasons;
  ImagePreference preference;
  std::size_t read = 0, kept = 0;
  while ((params.limit == 0 || read < static_cast<std::size_t>(params.limit)) &&
         stream->next(preference)) {
    stage.check_stop();
    const std::size_t record = read++;
    stage.progress->add(1);
    const auto drop = [&](const char* reason, const std::string& detail) {
      ++reasons[reason];
      journal.drop(record, preference.id, preference.source, reason, detail);
    };
    if (preference.text.empty()) {  // what the data set could not read
      drop("unusable record", preference.better.source);
      continue;
    }
    if (!preference.better.present() || !preference.worse.present()) {
      drop("image missing",
           (preference.better.present() ? preference.worse : preference.better).source);
      continue;
    }
    PreferencePair pair = reformulator->reformulate(preference);
    if (!whole(pair.prompt) || (pair.rejected_prompt && !whole(*pair.rejected_prompt))) {
      drop("image cannot be decoded", preference.id);
      continue;
    }
    if (pair.source.empty()) pair.source = params.dataset;
    journal.keep(record, to_json(pair));
    ++kept;
  }
  journal.write(layout::kPairs, read, [](std::size_t) { return true; });
  Funnel funnel;
  funnel.step("text-to-image preferences", read);
  funnel.step("pairs", kept);
  for (const auto& [reason, count] : reasons) funnel.drop(reason, count);
  funnel.write(stage.output);
}

}  // namespace

StageType reformulate_stage() {
  return make_stage<ReformulateParams>(
      "reformulate", "Makes pairs of text-to-image preferences (paper section 3.2).", "2", run);
}

VolumeOutput reformulate_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<ReformulateParams>();
  VolumeOutput output;
  output.pairs = forecast.fact("datasets." + params.dataset);
  if (params.limit > 0) output.pairs = std::min(output.pairs, static_cast<double>(params.limit));
  forecast.makes(output.pairs,
                 forecast.fact("bytes_per_record") + 2 * forecast.fact("bytes_per_image"), "pairs");
  return output;
}

}  // namespace dt2it
