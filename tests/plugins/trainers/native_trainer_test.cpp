// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "core/nn/safetensors.hpp"
#include "core/nn/reward_head.hpp"
#include "dt2it/testing/fakes.hpp"
#include "dt2it/testing/model_contracts.hpp"
#include "tests/plugins/trainers/tiny_models.hpp"

using namespace dt2it;
using namespace dt2it::testing;
namespace fs = std::filesystem;

namespace {

// Red is always right. Some with a picture, some with two, some in Omni-Reward's form.
std::vector<PreferencePair> red_pairs(FakeContext& context, std::size_t count) {
  std::vector<PreferencePair> pairs;
  for (std::size_t i = 0; i < count; ++i) {
    PreferencePair pair = sample_pair(std::to_string(i), "What color is the ring?", "It is red.", "It is blue.");
    auto& content = pair.prompt.messages[0].content;
    const auto picture = [&](std::uint64_t seed) {
      return Part::of_image(context.media().put_image(sample_image(64, 64, seed), "drawn"));
    };
    for (std::size_t k = 0; k < i % 3; ++k) content.insert(content.begin(), picture(i + k));
    if (i % 4 == 1) {
      pair.rejected_prompt = pair.prompt;
      pair.rejected_prompt->messages[0].content[0] = picture(i + 100);
    }
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

Table quick() {
  return {{"learning_rate", value_of(3e-3)}, {"batch_size", value_of(8)}, {"head_dropout", value_of(.1)}};
}

struct Trained {
  std::vector<TrainStep> steps;
  fs::path folder;
};
Trained trained(FakeContext& context, const std::vector<PreferencePair>& pairs, Table params, const std::string& name) {
  Trained result;
  result.folder = context.scratch() / name;
  fs::create_directories(result.folder);
  TrainRequest request;
  request.pairs = [&] { return std::make_unique<VectorStream<PreferencePair>>(pairs); };
  request.pair_count = pairs.size();
  request.output = result.folder;
  request.seed = 7;
  request.on_step = [&](const TrainStep& step) { result.steps.push_back(step); };
  CHECK(native_trainer(context, std::move(params))->train(request));
  return result;
}

}  // namespace

TEST_CASE("The native trainer keeps the contract: same bytes twice, and after an interruption") {
  FakeContext context;
  add_backbone(context);
  check_trainer_contract(*native_trainer(context, quick()), red_pairs(context, 40), context.scratch());
}

TEST_CASE("Bradley-Terry training starts at ln 2 and learns a plain preference") {
  FakeContext context;
  add_backbone(context);
  Table params = quick();
  params["head_dropout"] = value_of(0.0);
  params["epochs"] = value_of(3);
  const Trained result = trained(context, red_pairs(context, 64), params, "learn");
  CHECK(result.steps.front().loss == Approx(std::log(2.0)).epsilon(1e-5));
  CHECK(result.steps.back().loss < .2);
  CHECK(result.steps.back().accuracy > .9);
  CHECK(result.steps.back().learning_rate < result.steps[result.steps.size() / 2].learning_rate);
  CHECK(result.steps.front().tokens > 0);
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                           "chat_template.json", "preprocessor_config.json", "value_head.safetensors", "training.json"})
    CHECK(fs::exists(result.folder / name));
}

TEST_CASE("The gradient does not depend on how a batch is cut") {
  FakeContext context;
  add_backbone(context);
  const auto pairs = red_pairs(context, 16);
  Table whole = {{"learning_rate", value_of(1e-3)}, {"batch_size", value_of(16)}, {"head_init", value_of("normal")}};
  Table cut = whole;
  cut["micro_batch_size"] = value_of(3);
  const auto a = trained(context, pairs, whole, "whole").steps, b = trained(context, pairs, cut, "cut").steps;
  REQUIRE(a.size() == b.size());
  CHECK(a[0].loss == Approx(b[0].loss).epsilon(1e-5));
  CHECK(a[0].margin == Approx(b[0].margin).epsilon(1e-3));
  CHECK(a[0].gradient_norm == Approx(b[0].gradient_norm).epsilon(1e-4));
}

TEST_CASE("Next-token training lowers the loss of the chosen responses") {
  FakeContext context;
  add_backbone(context);
  Table params = quick();
  params["loss"] = value_of("next_token");
  params["epochs"] = value_of(3);
  params["optimizer"] = value_of("muon");
  const Trained result = trained(context, red_pairs(context, 48), params, "tokens");
  CHECK(result.steps.back().loss < .5 * result.steps.front().loss);
  CHECK_FALSE(fs::exists(result.folder / "value_head.safetensors"));
}

TEST_CASE("Frozen parts keep their weights") {
  FakeContext context;
  add_backbone(context, {{"freeze_vision_tower", value_of(true)}, {"freeze_projector", value_of(true)}});
  const Trained result = trained(context, red_pairs(context, 16), quick(), "frozen");
  const nn::SafetensorsFile before(tiny_checkpoint() / "model.safetensors"), after(result.folder / "model.safetensors");
  CHECK(before.names() == after.names());
  int moved = 0;
  for (const std::string& name : before.names()) {
    CAPTURE(name);
    const bool same = before.load(name).equal(after.load(name));
    if (name.starts_with("model.visual."))
      CHECK(same);
    else
      moved += !same;
  }
  CHECK(moved > 10);
}

TEST_CASE("A pair without its picture is left out and said so") {
  FakeContext context;
  add_backbone(context);
  auto pairs = red_pairs(context, 12);
  Media absent;
  absent.source = "gone.png";
  pairs[3].prompt.messages[0].content.insert(pairs[3].prompt.messages[0].content.begin(), Part::of_image(absent));
  const Trained result = trained(context, pairs, quick(), "absent");
  CHECK(context.logged("gone.png"));
  CHECK(context.logged("1 of 12"));
  CHECK(nn::read_text_file(result.folder / "training.json").find("\"left_out\": 1") != std::string::npos);
}

TEST_CASE("Nothing to train on, and parameters that make no sense, are errors") {
  FakeContext context;
  add_backbone(context);
  TrainRequest request;
  const std::vector<PreferencePair> none;
  request.pairs = [&] { return std::make_unique<VectorStream<PreferencePair>>(none); };
  CHECK_THROWS_AS(native_trainer(context)->train(request), DataError);
  CHECK_THROWS_AS(native_trainer(context, {{"betas", Value{List{value_of(.9)}}}}), ConfigError);
}
