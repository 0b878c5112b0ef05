// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "core/data/records.hpp"
#include "core/stages/pair_files.hpp"
#include "core/stages/stages.hpp"
#include "core/util/journal.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/error.hpp"
#include "dt2it/trainer.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

struct TrainParams {
  std::vector<std::string> pairs;
  std::string trainer;
  std::int64_t order = 0;

  static void describe(Schema<TrainParams>& schema) {
    schema.component<StageInputs>("pairs", &TrainParams::pairs,
                                  "Stages whose pairs are trained on; none for a trainer that makes its own "
                                  "data.");
    schema.component<Trainer>("trainer", &TrainParams::trainer, "Trainer to use.").required();
    schema.field("order", &TrainParams::order,
                 "Another number, another order of the data (and another seed): voting models differ in it.")
        .min(0);
  }
};

void run(const TrainParams& params, StageRun& stage) {
  const PairFiles pairs(pair_files(stage, params.pairs));
  if (!params.pairs.empty() && pairs.count() == 0)
    throw DataError("there are no preference pairs to train on: every one was dropped in the stages before");
  const fs::path checkpoint = stage.output / "checkpoint";
  const fs::path state = stage.work / "state";
  fs::create_directories(checkpoint);
  fs::create_directories(state);

  // Steps are kept in the work folder by number, so that the curve of a resumed training is whole.
  Journal curve(stage.work / "training.journal");
  TrainRequest request;
  request.pairs = [&pairs] { return pairs.open(); };
  request.pair_count = pairs.count();
  request.output = checkpoint;
  request.state = state;
  request.seed = stable_hash(fmt::format("train/{}", params.order), stage.experiment.seed);
  request.on_step = [&](const TrainStep& step) {
    curve.append(static_cast<std::size_t>(step.step), to_json(step));
    stage.progress->set_total(static_cast<std::size_t>(step.total_steps));
    stage.progress->set_done(static_cast<std::size_t>(step.step));
  };
  request.stop_requested = [&] { return stage.stop.load(); };
  if (!stage.context().component<Trainer>(params.trainer)->train(request)) throw Interrupted();
  LineWriter out(stage.output / "training.jsonl");
  for (std::size_t step = 1; curve.contains(step); ++step) out.write(curve.read(step));
  out.close();
}

}  // namespace

StageType train_stage() {
  StageType type = make_stage<TrainParams>(
      "train", "Trains a model on preference pairs; its result is a checkpoint folder.", "1", run);
  type.result = "checkpoint";
  return type;
}

}  // namespace dt2it
