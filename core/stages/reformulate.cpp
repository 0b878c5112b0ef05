// SPDX-License-Identifier: Apache-2.0
// Text-to-image preferences as pairs for a reward model (paper section 3.2).
#include "core/data/records.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/stages.hpp"
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
    schema.component<Dataset>("dataset", &ReformulateParams::dataset, "Text-to-image preferences.").required();
    schema.component<Reformulator>("reformulator", &ReformulateParams::reformulator,
                                   "How a preference becomes a pair.").required();
    schema.field("limit", &ReformulateParams::limit, "Use only so many preferences; 0: all.").min(0);
  }
};

void run(const ReformulateParams& params, StageRun& stage) {
  const auto stream = stage.context().component<Dataset>(params.dataset)->image_preferences();
  const auto reformulator = stage.context().component<Reformulator>(params.reformulator);
  LineWriter out(stage.output / "pairs.jsonl");
  ImagePreference preference;
  std::size_t read = 0, kept = 0;
  while ((params.limit == 0 || read < static_cast<std::size_t>(params.limit)) && stream->next(preference)) {
    stage.check_stop();
    ++read;
    if (!preference.better.present() || !preference.worse.present()) continue;
    PreferencePair pair = reformulator->reformulate(preference);
    if (pair.source.empty()) pair.source = params.dataset;
    out.write(to_json(pair));
    ++kept;
    stage.progress->add(1);
  }
  out.close();
  Funnel funnel;
  funnel.step("text-to-image preferences", read);
  funnel.step("pairs", kept);
  funnel.drop("image missing", read - kept);
  funnel.write(stage.output);
}

}  // namespace

StageType reformulate_stage() {
  return make_stage<ReformulateParams>(
      "reformulate", "Makes pairs of text-to-image preferences (paper section 3.2).", "1", run);
}

}  // namespace dt2it
