// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/gate.hpp"
#include "core/stages/pair_files.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"

namespace dt2it {
namespace {

struct MixParams {
  std::vector<std::string> pairs;
  std::int64_t sample = 0;
  std::vector<std::string> as_many_as;
  std::string stream = "mix";

  static void describe(Schema<MixParams>& schema) {
    schema
        .component<StageInputs>("pairs", &MixParams::pairs, "Stages whose pairs are put together.")
        .required();
    schema
        .field("sample", &MixParams::sample,
               "Keep so many pairs, drawn at random, in their order; 0: all.")
        .min(0);
    schema.component<StageInputs>(
        "as_many_as", &MixParams::as_many_as,
        "Keep no more pairs than these stages have together: two sets at equal volume.");
    schema.field("stream", &MixParams::stream,
                 "Name of the random stream: another name, another draw.");
  }
};

void run(const MixParams& params, StageRun& stage) {
  PairFiles pairs(pair_files(stage, params.pairs));
  std::vector<char> wanted;
  std::size_t most = params.sample > 0 ? static_cast<std::size_t>(params.sample) : pairs.count();
  if (!params.as_many_as.empty())
    most = std::min(most, PairFiles(pair_files(stage, params.as_many_as)).count());
  if (pairs.count() > most) {
    wanted.assign(pairs.count(), 0);
    const auto order = stage.context().rng(params.stream).permutation(pairs.count());
    for (std::size_t i = 0; i < most; ++i) wanted[order[i]] = 1;
  }
  LineWriter out(stage.output / layout::kPairs);
  PreferencePair pair;
  std::size_t row = 0;
  std::size_t kept = 0;
  const auto stream = pairs.open();
  for (; stream->next(pair); ++row) {
    stage.check_stop();
    if (!wanted.empty() && !wanted[row]) continue;
    out.write(to_json(pair));
    ++kept;
    stage.progress->add(1);
  }
  out.close();
  Funnel funnel;
  funnel.step("pairs put together", row);
  funnel.step("pairs kept", kept);
  funnel.drop("not drawn", row - kept);
  funnel.write(stage.output);
}

}  // namespace

StageType mix_stage() {
  StageType type = make_stage<MixParams>(
      "mix", "Puts sets of pairs together, or draws a sample of them.", "1", run);
  type.pass_by = pass_by_empty(layout::kPairs);
  return type;
}

VolumeOutput mix_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<MixParams>();
  VolumeOutput output;
  output.pairs = forecast.pairs_of(params.pairs);
  if (params.sample > 0) output.pairs = std::min(output.pairs, static_cast<double>(params.sample));
  if (!params.as_many_as.empty())
    output.pairs = std::min(output.pairs, forecast.pairs_of(params.as_many_as));
  forecast.makes(output.pairs, 2 * forecast.fact("bytes_per_record"), "pairs");
  return output;
}

}  // namespace dt2it
