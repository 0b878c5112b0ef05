// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>

#include "core/nn/reward_head.hpp"
#include "core/nn/safetensors.hpp"
#include "core/nn/text_file.hpp"
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
    PreferencePair pair =
        sample_pair(std::to_string(i), "What color is the ring?", "It is red.", "It is blue.");
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
  return {{"learning_rate", value_of(3e-3)},
          {"batch_size", value_of(8)},
          {"head_dropout", value_of(.1)}};
}

struct Trained {
  std::vector<TrainStep> steps;
  fs::path folder;
};
Trained trained(FakeContext& context, const std::vector<PreferencePair>& pairs, Table params,
                const std::string& name) {
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
  check_trainer_contract(*native_trainer(context, quick()), red_pairs(context, 40),
                         context.scratch());
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
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json",
                           "tokenizer_config.json", "chat_template.json",
                           "preprocessor_config.json", "value_head.safetensors", "training.json"})
    CHECK(fs::exists(result.folder / name));
}

TEST_CASE("The gradient does not depend on how a batch is cut") {
  FakeContext context;
  add_backbone(context);
  const auto pairs = red_pairs(context, 16);
  Table whole = {{"learning_rate", value_of(1e-3)},
                 {"batch_size", value_of(16)},
                 {"head_init", value_of("normal")}};
  Table cut = whole;
  cut["micro_batch_size"] = value_of(3);
  const auto a = trained(context, pairs, whole, "whole").steps,
             b = trained(context, pairs, cut, "cut").steps;
  REQUIRE(a.size() == b.size());
  CHECK(a[0].loss == Approx(b[0].loss).epsilon(1e-5));
  CHECK(a[0].margin == Approx(b[0].margin).epsilon(1e-3));
  CHECK(a[0].gradient_norm == Approx(b[0].gradient_norm).epsilon(1e-4));
}

TEST_CASE("Pairs of one prompt may share its computation, and nothing else changes") {
  FakeContext context;
  add_backbone(context);
  std::vector<PreferencePair> pairs = red_pairs(context, 4);
  for (int i = 0; i < 8; ++i) {  // three answers to one question about a picture, all against all
    PreferencePair pair = pairs[3 + i % 2];
    pair.rejected_prompt.reset();
    pair.id = "again" + std::to_string(i);
    pair.chosen.text = "It is red.";
    pair.rejected.text = i < 4 ? "It is blue." : "I think it may be red.";
    pairs.push_back(pair);
  }
  Table apart = {{"learning_rate", value_of(1e-3)},
                 {"batch_size", value_of(12)},
                 {"head_init", value_of("normal")},
                 {"epochs", value_of(2)}};
  Table together = apart;
  together["order"] = value_of("prompts");
  const auto a = trained(context, pairs, apart, "apart").steps,
             b = trained(context, pairs, together, "together").steps;
  CHECK(b[0].tokens < a[0].tokens);
  CHECK(b[0].pairs == 12);
  CHECK(b[0].loss == Approx(a[0].loss).epsilon(1e-5));
  CHECK(b[0].gradient_norm == Approx(a[0].gradient_norm).epsilon(1e-4));
  CHECK(b[1].loss == Approx(a[1].loss).epsilon(1e-4));
}

TEST_CASE("DPO raises the chosen answers' implicit reward, starting at ln 2") {
  FakeContext context;
  add_backbone(context);
  Table params = quick();
  params.erase("head_dropout");
  params["loss"] = value_of("dpo");
  params["learning_rate"] = value_of(1e-3);
  params["epochs"] = value_of(2);
  auto pairs = red_pairs(context, 32);
  for (PreferencePair& pair : pairs) pair.rejected_prompt.reset();
  const Trained result = trained(context, pairs, params, "dpo");
  CHECK(result.steps.front().loss == Approx(std::log(2.0)).epsilon(1e-4));
  CHECK(result.steps.front().chosen_reward == Approx(0).margin(1e-4));
  CHECK(result.steps.back().loss < .6);
  CHECK(result.steps.back().margin > .2);
  CHECK_FALSE(fs::exists(result.folder / "value_head.safetensors"));
}

TEST_CASE("Sources, held-out pairs and the best checkpoint are told apart") {
  FakeContext context;
  add_backbone(context);
  auto pairs = red_pairs(context, 32);
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i].source = i % 3 ? "many" : "few";
  Trained result;
  result.folder = context.scratch() / "best";
  fs::create_directories(result.folder);
  Table params = quick();
  params["epochs"] = value_of(3);
  params["evaluate_every"] = value_of(2);
  params["keep"] = value_of("best");
  TrainRequest request;
  request.pairs =
      request.held_out = [&] { return std::make_unique<VectorStream<PreferencePair>>(pairs); };
  request.output = result.folder;
  request.on_step = [&](const TrainStep& step) { result.steps.push_back(step); };
  REQUIRE(native_trainer(context, params)->train(request));
  REQUIRE(result.steps.size() == 12);
  for (const TrainStep& step : result.steps) {
    REQUIRE(step.sources.size() == 2);
    CHECK(step.sources[0].source == "few");
    CHECK(step.sources[0].pairs + step.sources[1].pairs == 8);
    CHECK(static_cast<double>(step.sources[0].correct + step.sources[1].correct) ==
          Approx(8 * step.accuracy));
    CHECK(step.held_out.has_value() == (step.step % 2 == 0));
    CHECK(step.margin == Approx(step.chosen_reward - step.rejected_reward).margin(1e-6));
    CHECK(step.seconds > 0);
    CHECK(step.peak_memory_bytes > 1 << 20);
  }
  double best = 0;
  std::int64_t at = 0;
  for (const TrainStep& step : result.steps)
    if (step.held_out && step.held_out->accuracy > best) {
      best = step.held_out->accuracy;
      at = step.step;
    }
  const std::string facts = nn::read_text_file(result.folder / "training.json");
  CHECK_THAT(facts, Catch::Contains("\"best_step\": " + std::to_string(at)) &&
                        Catch::Contains("\"few\": 11"));
  CHECK_FALSE(fs::exists(result.folder / "best"));
  // What was kept is what scored so.
  const auto model = reward_model(context, result.folder);
  int right = 0;
  for (const PreferencePair& pair : pairs) {
    const auto reward = [&](const Prompt& prompt, const Response& response) {
      const RewardRequest request{&prompt, {&response, 1}, 0, {}};
      return model->rewards({&request, 1})[0][0].value;
    };
    right += reward(pair.prompt, pair.chosen) >
             reward(pair.rejected_prompt ? *pair.rejected_prompt : pair.prompt, pair.rejected);
  }
  CHECK(right == static_cast<int>(std::lround(32 * best)));
  CHECK_THAT(nn::read_text_file(result.folder / "README.md"),
             Catch::StartsWith("---\nlibrary_name") && Catch::Contains("| many | 21 |"));
}

TEST_CASE("Labels, margins and centring reach the loss") {
  FakeContext context;
  add_backbone(context);
  auto pairs = red_pairs(context, 8);
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i].strength = i % 2 ? 2.0 : 0.0;
  const auto first = [&](Table more) {
    Table params = {{"batch_size", value_of(8)}};  // the head is 0, so are all rewards
    for (auto& [key, value] : more) params[key] = value;
    return trained(context, pairs, params, "l" + std::to_string(more.size()) + more.begin()->first)
        .steps[0]
        .loss;
  };
  const auto bt = [](double x) { return std::log1p(std::exp(-x)); };
  CHECK(first({{"margin", value_of(1.5)}}) == Approx(bt(-1.5)));
  CHECK(first({{"margin_from_strength", value_of(.5)}}) == Approx(.5 * bt(0) + .5 * bt(-1)));
  CHECK(first({{"soft_labels", value_of(1.0)}}) == Approx(bt(0)));
  const double theta = 2, shift = std::log(theta);
  CHECK(first({{"tie_theta", value_of(theta)}}) ==
        Approx(.5 * bt(-shift) + .5 * (2 * bt(-shift) - std::log(theta * theta - 1))));
}

TEST_CASE("A training that breaks or stands still stops, and says where its weights are") {
  FakeContext context;
  add_backbone(context);
  const auto pairs = red_pairs(context, 16);
  const auto message = [&](Table params, const char* name) -> std::string {
    TrainRequest request;
    request.pairs = [&] { return std::make_unique<VectorStream<PreferencePair>>(pairs); };
    request.output = context.scratch() / name / "out";
    request.state = context.scratch() / name / "state";
    fs::create_directories(request.output);
    fs::create_directories(request.state);
    try {
      native_trainer(context, std::move(params))->train(request);
    } catch (const ModelError& error) {
      return error.what();
    }
    return "";
  };
  const std::string still = message(
      {{"learning_rate", value_of(0.0)}, {"batch_size", value_of(2)}, {"stuck_steps", value_of(4)}},
      "still");
  CHECK_THAT(still, Catch::Contains("step 4 of 8") &&
                        Catch::Contains("have been equal for 4 steps") &&
                        Catch::Contains("checkpoints/step-3"));
  CHECK(fs::exists(context.scratch() / "still/state/checkpoints/step-3/model.safetensors"));
  const std::string broken = message({{"learning_rate", value_of(1e30)},
                                      {"batch_size", value_of(2)},
                                      {"max_grad_norm", value_of(0.0)},
                                      {"warmup_ratio", value_of(0.0)}},
                                     "broken");
  CHECK_THAT(broken, Catch::Contains("not finite") && Catch::Contains("of 8"));
}

TEST_CASE("bfloat16 weights are trained by their float32 copies") {
  FakeContext context;
  add_backbone(context, {{"dtype", value_of("bfloat16")}});
  FakeContext other;
  add_backbone(other);
  const auto pairs = red_pairs(context, 16), same = red_pairs(other, 16);
  // A rate at which single steps are lost in bfloat16.
  const Table params = {{"learning_rate", value_of(3e-5)},     {"batch_size", value_of(4)},
                        {"head_init", value_of("normal")},     {"epochs", value_of(3)},
                        {"schedule", value_of("constant")},    {"warmup_ratio", value_of(0.0)},
                        {"head_learning_rate", value_of(1e-3)}};
  const Trained low = trained(context, pairs, params, "short"),
                high = trained(other, same, params, "long");
  for (std::size_t i = 0; i < low.steps.size(); ++i)
    CHECK(low.steps[i].loss == Approx(high.steps[i].loss).margin(.02));
  const nn::SafetensorsFile before(tiny_checkpoint() / "model.safetensors"),
      after(low.folder / "model.safetensors"), wide(high.folder / "model.safetensors");
  const std::string name = "model.language_model.layers.0.mlp.gate_proj.weight";
  const auto change = [&](const nn::SafetensorsFile& file) {
    return (file.load(name).to(at::kFloat) - before.load(name).to(at::kFloat))
        .norm()
        .item<double>();
  };
  CHECK(change(after) > .5 * change(wide));
}

TEST_CASE("Adapters are trained alone, go on exactly after an interruption, and are PEFT's files") {
  FakeContext context;
  add_backbone(context, {{"lora_rank", value_of(4)},
                         {"lora_dropout", value_of(.2)},
                         {"freeze_vision_tower", value_of(true)},
                         {"freeze_projector", value_of(true)}});
  const auto pairs = red_pairs(context, 40);
  Table params = quick();
  params["learning_rate"] = value_of(1e-2);
  check_trainer_contract(*native_trainer(context, params), pairs, context.scratch());
  params["epochs"] = value_of(2);
  const Trained result = trained(context, pairs, params, "adapters");
  CHECK(result.steps.back().loss < .5);
  CHECK(fs::exists(result.folder / "adapter_model.safetensors"));
  CHECK(fs::exists(result.folder / "adapter_config.json"));
  CHECK(fs::exists(result.folder / "value_head.safetensors"));
  CHECK_FALSE(fs::exists(result.folder / "model.safetensors"));
  // The reference of DPO: the same model without them.
  params["loss"] = value_of("dpo");
  params["reference"] = value_of("adapters_off");
  params.erase("head_dropout");
  auto whole = pairs;
  for (PreferencePair& pair : whole) pair.rejected_prompt.reset();
  CHECK(trained(context, whole, params, "dpo_adapters").steps.front().chosen_reward ==
        Approx(0).margin(1e-4));
  FakeContext plain;
  add_backbone(plain);
  TrainRequest request;
  const auto few = red_pairs(plain, 4);
  request.pairs = [&] { return std::make_unique<VectorStream<PreferencePair>>(few); };
  CHECK_THROWS_AS(native_trainer(plain, params)->train(request), ConfigError);
}

TEST_CASE("Gradient checkpointing and cached features change no bit of a training") {
  const auto run = [&](Table backbone) {
    FakeContext context;
    backbone["freeze_vision_tower"] = value_of(true);
    backbone["freeze_projector"] = value_of(true);
    add_backbone(context, backbone);
    Table params = quick();
    params["epochs"] = value_of(2);
    std::vector<double> curve;
    for (const TrainStep& step : trained(context, red_pairs(context, 24), params, "same").steps) {
      curve.push_back(step.loss);
      curve.push_back(step.gradient_norm);
    }
    return curve;
  };
  const auto plain = run({});
  CHECK(run({{"gradient_checkpointing", value_of(true)}}) == plain);
  const std::vector<double> uncached = run({{"feature_cache_mb", value_of(0)}});
  for (std::size_t i = 0; i < plain.size(); ++i)
    CHECK(uncached[i] == Approx(plain[i]).epsilon(1e-4));
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
  add_backbone(context,
               {{"freeze_vision_tower", value_of(true)}, {"freeze_projector", value_of(true)}});
  const Trained result = trained(context, red_pairs(context, 16), quick(), "frozen");
  const nn::SafetensorsFile before(tiny_checkpoint() / "model.safetensors"),
      after(result.folder / "model.safetensors");
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
  pairs[3].prompt.messages[0].content.insert(pairs[3].prompt.messages[0].content.begin(),
                                             Part::of_image(absent));
  const Trained result = trained(context, pairs, quick(), "absent");
  CHECK(context.logged("gone.png"));
  CHECK(context.logged("1 of 12"));
  CHECK(nn::read_text_file(result.folder / "training.json").find("\"left_out\": 1") !=
        std::string::npos);
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

TEST_CASE("A head made of the output layer's weights starts alike in either type") {
  const auto head_of = [](const char* type) {
    FakeContext context;
    add_backbone(context, {{"dtype", value_of(type)}});
    const Trained result = trained(context, red_pairs(context, 8),
                                   {{"head_init", value_of("contrast")},
                                    {"learning_rate", value_of(0.0)},
                                    {"batch_size", value_of(8)}},
                                   "contrast");
    CHECK(std::isfinite(result.steps[0].loss));
    return nn::SafetensorsFile(result.folder / "value_head.safetensors")
        .load("v_head.summary.weight");
  };
  const at::Tensor wide = head_of("float32"), narrow = head_of("bfloat16");
  CHECK(wide.abs().max().item<double>() > 0);
  CHECK((wide - narrow).abs().max().item<double>() < .01 * wide.abs().max().item<double>());
}

TEST_CASE(
    "A training goes on with its checkpoint's head on the state that the head was trained on") {
  FakeContext context;
  add_backbone(context);
  const auto pairs = red_pairs(context, 16);
  Table params = {{"learning_rate", value_of(1e-3)}, {"batch_size", value_of(16)}};
  Table before = params;
  before["head_input"] = value_of("before_norm");
  before["epochs"] = value_of(4);
  const Trained first = trained(context, pairs, before, "first");
  const auto stated = [](const Trained& result) { return stated_head_input(result.folder); };
  CHECK(stated(first) == "before_norm");
  CHECK(stated(trained(context, pairs, params, "plain")) == "final_norm");

  FakeContext later;
  add_backbone(later, {{"checkpoint", value_of(first.folder.string())}});
  const auto same = red_pairs(later, 16);
  const Trained on = trained(later, same, params, "on");
  CHECK(stated(on) == "before_norm");
  CHECK_FALSE(later.logged("dt2it doctor"));
  params["head_input"] = value_of("before_norm");
  CHECK(trained(later, same, params, "said").steps[0].loss == on.steps[0].loss);
  CHECK(on.steps[0].loss < first.steps[0].loss);
  // The other state would be a contradiction, but for a new head.
  params["head_input"] = value_of("final_norm");
  TrainRequest request;
  request.pairs = [&] { return std::make_unique<VectorStream<PreferencePair>>(same); };
  CHECK_THROWS_WITH(native_trainer(later, params)->train(request),
                    Catch::Contains("training.json") && Catch::Contains("before_norm"));
  params["head_init"] = value_of("zeros");
  CHECK(stated(trained(later, same, params, "new")) == "final_norm");
  // Where nothing says it, the guess is said.
  params.erase("head_init");
  params.erase("head_input");
  fs::remove(first.folder / "training.json");
  CHECK(stated(trained(later, same, params, "guessed")) == "final_norm");
  CHECK(later.logged("dt2it doctor"));
}

namespace {

// Where files cannot be linked or moved to from the temporary folder; empty: there is none such.
struct OtherFileSystem {
  fs::path folder;
  OtherFileSystem() {
    struct stat here{}, there{};
    if (stat(fs::temp_directory_path().c_str(), &here) != 0 || stat("/dev/shm", &there) != 0 ||
        here.st_dev == there.st_dev)
      return;
    std::string name = "/dev/shm/dt2it_test_XXXXXX";
    if (mkdtemp(name.data())) folder = name;
  }
  ~OtherFileSystem() {
    std::error_code ignored;
    if (!folder.empty()) fs::remove_all(folder, ignored);
  }
};

struct Kept {
  FakeContext context;
  std::vector<PreferencePair> pairs, held_out;
  Table params = quick();
  Kept() {
    add_backbone(context);
    pairs = red_pairs(context, 32);
    held_out = red_pairs(context, 12);
    params["epochs"] = value_of(2);
    params["evaluate_every"] = value_of(2);
    params["keep"] = value_of("best");
    params["save_every"] = value_of(3);
    params["keep_checkpoints"] = value_of(1);
  }
  bool train(const fs::path& output, const fs::path& state, int steps = 1000) {
    TrainRequest request;
    request.pairs = [&] { return std::make_unique<VectorStream<PreferencePair>>(pairs); };
    request.held_out = [&] { return std::make_unique<VectorStream<PreferencePair>>(held_out); };
    request.output = output;
    request.state = state;
    request.seed = 7;
    int done = 0;
    request.on_step = [&](const TrainStep&) { ++done; };
    request.stop_requested = [&] { return done >= steps; };
    fs::create_directories(output);
    fs::create_directories(state);
    return native_trainer(context, params)->train(request);
  }
};

}  // namespace

TEST_CASE("The best weights outlive a kill before the result is in its place") {
  Kept kept;
  const fs::path state = kept.context.scratch() / "state", first = kept.context.scratch() / "first",
                 second = kept.context.scratch() / "second";
  REQUIRE(kept.train(first, state));
  const auto expected = testing::detail::files_below(first);
  CHECK(expected.contains("model.safetensors"));
  CHECK(expected.contains("checkpoints/step-6/model.safetensors"));
  // Killed now: who asked for the training starts over with an empty folder.
  fs::remove_all(first);
  REQUIRE(kept.train(second, state));
  CHECK(testing::detail::files_below(second) == expected);
  // Without those weights the best of the rest counts, and that is said.
  fs::remove_all(state / "best");
  fs::remove_all(second);
  REQUIRE(kept.train(second, state));
  CHECK(fs::exists(second / "model.safetensors"));
  CHECK(kept.context.logged("are gone"));
}

TEST_CASE("The state of a training may be on another file system than its result") {
  const OtherFileSystem other;
  if (other.folder.empty()) {
    WARN("not run: /dev/shm is no other file system here");
    return;
  }
  Kept kept;
  const fs::path here = kept.context.scratch() / "here", there = kept.context.scratch() / "there";
  REQUIRE(kept.train(here, kept.context.scratch() / "state"));
  REQUIRE(kept.train(there, other.folder / "state"));
  CHECK(testing::detail::files_below(there) == testing::detail::files_below(here));
}

TEST_CASE("A checkpoint as transformers 5 saves it is trained, and its files come along") {
  FakeContext context;
  const fs::path folder = context.scratch() / "five";
  fs::copy(tiny_checkpoint(), folder);
  const std::string images = nn::read_text_file(folder / "preprocessor_config.json");
  fs::remove(folder / "preprocessor_config.json");
  fs::remove(folder / "video_preprocessor_config.json");
  nn::write_text_file(folder / "processor_config.json",
                      "{\"image_processor\": " + images + ", \"video_processor\": " + images + "}");
  add_backbone(context, {{"checkpoint", value_of(folder.string())}});
  FakeContext plain;
  add_backbone(plain);
  const Trained five = trained(context, red_pairs(context, 8), quick(), "trained"),
                four = trained(plain, red_pairs(plain, 8), quick(), "trained");
  CHECK(five.steps[0].gradient_norm == four.steps[0].gradient_norm);
  CHECK(fs::exists(five.folder / "processor_config.json"));
}
