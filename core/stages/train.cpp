// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/gate.hpp"
#include "core/stages/pair_files.hpp"
#include "core/stages/planned_pairs.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/training_log.hpp"
#include "core/stages/volume_forecast.hpp"
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
  std::vector<std::string> held_out;
  double held_out_share = 0;
  std::string trainer;
  std::int64_t order = 0;

  static void describe(Schema<TrainParams>& schema) {
    schema.component<StageInputs>(
        "pairs", &TrainParams::pairs,
        "Stages whose pairs are trained on; none for a trainer that makes its own "
        "data.");
    schema.component<StageInputs>("held_out", &TrainParams::held_out,
                                  "Stages whose pairs are only looked at during training.");
    schema
        .field("held_out_share", &TrainParams::held_out_share,
               "Share of `pairs` that is held out, drawn by prompt; the rest is trained on.")
        .min(0)
        .max(0.9);
    schema.component<Trainer>("trainer", &TrainParams::trainer, "Trainer to use.").required();
    schema
        .field("order", &TrainParams::order,
               "Another number, another order of the data (and another seed): voting models differ "
               "in it.")
        .min(0);
  }
};

// Some pairs of a stream, by the hash of their prompt: pairs of one prompt stay together.
class Part final : public Stream<PreferencePair> {
 public:
  Part(std::unique_ptr<Stream<PreferencePair>> from, double share, bool held_out)
      : from_(std::move(from)), share_(share), held_out_(held_out) {}
  bool next(PreferencePair& pair) override {
    while (from_->next(pair)) {
      const double place =
          static_cast<double>(stable_hash("held_out/" + pair.prompt.id) >> 11) * 0x1.0p-53;
      if ((place < share_) == held_out_) return true;
    }
    return false;
  }

 private:
  std::unique_ptr<Stream<PreferencePair>> from_;
  const double share_;
  const bool held_out_;
};

void run(const TrainParams& params, StageRun& stage) {
  const PairFiles pairs(pair_files(stage, params.pairs));
  if (!params.pairs.empty() && pairs.count() == 0)
    throw DataError(
        "there are no preference pairs to train on: every one was dropped in the stages before");
  const fs::path checkpoint = stage.output / layout::kCheckpoint;
  const fs::path state = stage.work / "state";
  fs::create_directories(checkpoint);
  fs::create_directories(state);

  // Steps are kept in the work folder by number, so that the curve of a resumed training is whole.
  Journal curve(stage.work / "training.journal");
  TrainRequest request;
  const double share = params.held_out_share;
  if (share > 0) {
    request.pairs = [&pairs, share] { return std::make_unique<Part>(pairs.open(), share, false); };
    request.held_out = [&pairs, share] {
      return std::make_unique<Part>(pairs.open(), share, true);
    };
  } else {
    request.pairs = [&pairs] { return pairs.open(); };
  }
  const PairFiles held_out(pair_files(stage, params.held_out));
  if (!params.held_out.empty()) {
    if (share > 0) throw ConfigError("train: held_out and held_out_share exclude each other");
    request.held_out = [&held_out] { return held_out.open(); };
  }
  request.pair_count = pairs.count();
  request.output = checkpoint;
  request.state = state;
  request.seed = stable_hash(fmt::format("train/{}", params.order), stage.experiment.seed);
  Journal timing(stage.work / "timing.journal");
  TrainingLog log(stage.work / layout::kTensorBoard);
  request.on_step = [&](const TrainStep& step) {
    log.write(step);
    timing.append(static_cast<std::size_t>(step.step), timing_json(step));
    curve.append(static_cast<std::size_t>(step.step), to_json(step));
    stage.progress->set_total(static_cast<std::size_t>(step.total_steps));
    stage.progress->set_done(static_cast<std::size_t>(step.step));
  };
  request.stop_requested = [&] { return stage.stop.load(); };
  if (!stage.context().component<Trainer>(params.trainer)->train(request)) throw Interrupted();
  LineWriter out(stage.output / layout::kTraining);
  for (std::size_t step = 1; curve.contains(step); ++step) out.write(curve.read(step));
  out.close();
  LineWriter times(stage.output / layout::kTiming);
  for (std::size_t step = 1; timing.contains(step); ++step) times.write(timing.read(step));
  times.close();
  // Copied, not moved: the process may die before the stage is finished.
  if (fs::exists(stage.work / layout::kTensorBoard))
    fs::copy(stage.work / layout::kTensorBoard, stage.output / layout::kTensorBoard,
             fs::copy_options::recursive);
}

}  // namespace

StageType train_stage() {
  StageType type = make_stage<TrainParams>(
      "train", "Trains a model on preference pairs; its result is a checkpoint folder.", "2", run);
  type.result = layout::kCheckpoint;
  type.pass_by = pass_by_training;
  return type;
}

VolumeOutput train_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<TrainParams>();
  const double pairs = forecast.pairs_of(params.pairs);
  const ComponentConfig* trainer = forecast.component(Trainer::kKind, params.trainer);
  const bool native = !trainer || trainer->type == "native";
  const bool dpo = trainer && (text_of(trainer->params, "loss") == "dpo" ||
                               text_of(trainer->params, "stage") == "dpo");
  const auto epochs = static_cast<double>(trainer ? integer_of(trainer->params, "epochs", 1) : 1);
  // A tree has the prompt once; LLaMA-Factory has it twice.
  const double prompts = native ? 1 : 2;
  const double text = prompts * forecast.fact("prompt_tokens") + 2 * forecast.fact("answer_tokens");
  const double image = prompts * forecast.fact("image_tokens");
  // Forward 2, backward 4, once more forward where activations are computed twice; DPO's reference: forward.
  const double passes = 6 + 2 * forecast.fact("recompute") + (dpo ? 2 : 0);
  forecast.compute(epochs * pairs *
                       (passes * forecast.fact("parameters.reward_model") * (text + image) +
                        2 * forecast.fact("vision_parameters") * 4 * image),
                   "train_utilisation");
  forecast.keep(forecast.fact("bytes_per_checkpoint"));
  forecast.makes(pairs, 0, "pairs");
  return {};
}

}  // namespace dt2it
