// SPDX-License-Identifier: Apache-2.0
// trainers/native from records to weights against transformers on the reference pairs.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <simdjson.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "core/nn/index_tensor.hpp"
#include "core/nn/safetensors.hpp"
#include "dt2it/testing/fakes.hpp"
#include "dt2it/testing/model_contracts.hpp"
#include "plugins/trainers/native/losses.hpp"
#include "plugins/trainers/native/units.hpp"
#include "tests/core/nn/golden_media.hpp"
#include "tests/plugins/trainers/tiny_models.hpp"

using namespace dt2it;
using namespace dt2it::testing;
namespace fs = std::filesystem;

namespace {

std::vector<PreferencePair> reference_pairs(FakeContext& context, const std::string& model) {
  GoldenMedia pictures;
  simdjson::dom::parser parser;
  std::vector<PreferencePair> pairs;
  for (const simdjson::dom::element record :
       parser.load((golden_folder() / "training" / model / "summary.json").string())["records"]) {
    PreferencePair pair;
    pair.id = std::to_string(pairs.size());
    std::size_t next_image = 0;
    const simdjson::dom::array images = record["images"];
    for (const simdjson::dom::element turn : record["conversations"]) {
      Message message;
      message.role = std::string_view(turn["from"]) == "human" ? Message::Role::user
                                                               : Message::Role::assistant;
      std::string text{std::string_view(turn["value"])};
      for (std::size_t at; (at = text.find("<image>")) != std::string::npos;
           text.erase(0, at + 7)) {
        if (at > 0) message.content.push_back(Part::of_text(text.substr(0, at)));
        const std::string name{std::string_view(images.at(next_image++))};
        const DecodedImage decoded = pictures.store.decode(pictures.put(name));
        REQUIRE(decoded.status == Status::ok);
        message.content.push_back(Part::of_image(context.media().put_image(decoded.image, name)));
      }
      if (!text.empty()) message.content.push_back(Part::of_text(text));
      pair.prompt.messages.push_back(std::move(message));
    }
    pair.chosen.text = std::string_view(record["chosen"]["value"]);
    pair.rejected.text = std::string_view(record["rejected"]["value"]);
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

std::shared_ptr<Backbone> golden_backbone(FakeContext& context, const std::string& model,
                                          bool frozen) {
  const std::string family = model.starts_with("qwen3") ? "qwen3_vl" : "qwen2_5_vl";
  static const PluginLibrary qwen3("backbones/qwen3_vl"), qwen2_5("backbones/qwen2_5_vl");
  const PluginLibrary& plugin = family == "qwen3_vl" ? qwen3 : qwen2_5;
  auto backbone = plugin.make<Backbone>(
      family,
      {{"checkpoint", value_of((golden_folder() / "models" / model).string())},
       {"freeze_vision_tower", value_of(frozen)},
       {"freeze_projector", value_of(frozen)}},
      context);
  context.add("base", backbone);
  return backbone;
}

double worst(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace

TEST_CASE(
    "Five steps of AdamW follow transformers, frozen and not, clipped and not, either head input") {
  if (golden_absent()) return;
  struct Case {
    const char *model, *variant;
    bool frozen;
    double clip;
    const char* head_input;
  };
  for (const Case& one : {Case{"qwen2_5_vl", "all_trainable", false, 0, "final_norm"},
                          Case{"qwen2_5_vl", "vision_frozen", true, 0, "final_norm"},
                          Case{"qwen2_5_vl", "vision_frozen_clip1", true, 1, "final_norm"},
                          Case{"qwen3_vl", "all_trainable", false, 0, "final_norm"},
                          Case{"qwen3_vl", "vision_frozen", true, 0, "final_norm"},
                          Case{"qwen3_vl", "vision_frozen_clip1", true, 1, "final_norm"},
                          Case{"qwen3_vl", "vision_frozen_prenorm", true, 0, "before_norm"}}) {
    CAPTURE(one.model, one.variant);
    FakeContext context;
    golden_backbone(context, one.model, one.frozen);
    const auto pairs = reference_pairs(context, one.model);
    const nn::SafetensorsFile reference(golden_folder() / "training" / one.model /
                                        "adamw.safetensors");
    const auto stored = [&](const std::string& name) {
      return reference.load(one.variant + ("." + name));
    };
    for (const int tokens_per_pack : {16384, 300}) {  // one pass, or several
      CAPTURE(tokens_per_pack);
      const auto trainer =
          native_trainer(context, {{"learning_rate", value_of(1e-3)},
                                   {"schedule", value_of("constant")},
                                   {"warmup_ratio", value_of(0.0)},
                                   {"batch_size", value_of(4)},
                                   {"epochs", value_of(5)},
                                   {"order", value_of("file")},
                                   {"max_grad_norm", value_of(one.clip)},
                                   {"head_input", value_of(one.head_input)},
                                   {"tokens_per_pack", value_of(tokens_per_pack)}});
      TrainRequest request;
      request.pairs =
          request.held_out = [&] { return std::make_unique<VectorStream<PreferencePair>>(pairs); };
      request.output = context.scratch() / ("out" + std::to_string(tokens_per_pack));
      fs::create_directories(request.output);
      std::vector<TrainStep> steps;
      request.on_step = [&](const TrainStep& step) { steps.push_back(step); };
      REQUIRE(trainer->train(request));
      REQUIRE(steps.size() == 5);
      const at::Tensor loss = stored("loss").to(at::kDouble).contiguous(),
                       norms = stored("grad_norm").to(at::kDouble).contiguous();
      const at::Tensor margins = stored("margins").to(at::kDouble).mean(1).contiguous();
      for (std::size_t i = 0; i < 5; ++i) {
        CAPTURE(i);
        CHECK(steps[i].loss == Approx(loss.const_data_ptr<double>()[i]).epsilon(1e-4));
        CHECK(steps[i].gradient_norm == Approx(norms.const_data_ptr<double>()[i]).epsilon(1e-4));
        CHECK(steps[i].margin == Approx(margins.const_data_ptr<double>()[i]).margin(1e-3));
      }
      REQUIRE(steps[4].held_out);
      CHECK(steps[4].held_out->loss == Approx(loss.const_data_ptr<double>()[5]).epsilon(1e-4));
      const nn::SafetensorsFile written(request.output / "model.safetensors"),
          head(request.output / "value_head.safetensors");
      CHECK(worst(head.load("v_head.summary.weight"), stored("final.v_head.summary.weight")) <
            1e-4);
      int compared = 0;
      const std::string prefix = std::string(one.variant) + ".final.model.";
      for (const std::string& name : reference.names())
        if (name.starts_with(prefix) && written.contains(name.substr(prefix.size() - 6))) {
          CAPTURE(name);
          ++compared;
          CHECK(worst(written.load(name.substr(prefix.size() - 6)), reference.load(name)) < 1e-3);
        }
      CHECK(compared > 5);
    }
  }
}

TEST_CASE("DPO follows transformers: log-probabilities, rewards, losses, every gradient") {
  if (golden_absent()) return;
  for (const std::string model : {"qwen2_5_vl", "qwen3_vl", "qwen3_vl_tied"}) {
    CAPTURE(model);
    FakeContext context;
    const auto backbone = golden_backbone(context, model, false);
    const auto pairs = reference_pairs(
        context,
        fs::exists(golden_folder() / "training" / model / "summary.json") ? model : "qwen3_vl");
    const nn::SafetensorsFile reference(golden_folder() / "training" / model / "dpo.safetensors");
    std::vector<native::Unit> units;
    for (std::size_t i = 0; i < pairs.size(); ++i)
      units.push_back(native::encode_unit(*backbone, pairs, {&i, 1}, native::Objective::dpo,
                                          [](const auto&, const std::string& why) { FAIL(why); }));
    std::vector<const native::Unit*> pack;
    for (const native::Unit& unit : units) pack.push_back(&unit);
    const std::vector<std::int64_t> chosen{0, 2, 4, 6}, rejected{1, 3, 5, 7};
    const auto rows = [](const at::Tensor& values, const std::vector<std::int64_t>& index) {
      return values.index_select(0, nn::index_tensor(index));
    };
    const auto in_reference_order = [&](const at::Tensor& sums) {
      return at::cat(at::TensorList{rows(sums, chosen), rows(sums, rejected)});
    };
    {
      const at::NoGradGuard no_grad;
      for (const NamedParameter& parameter : backbone->parameters())
        if (parameter.name.find(".layers.") != std::string::npos)
          at::Tensor(parameter.tensor).mul_(0.9);
      const at::Tensor sums =
          in_reference_order(native::sequence_log_probabilities(*backbone, pack).sums);
      CHECK(worst(sums, reference.load("reference_logps")) < 2e-3);
    }
    backbone->reload();
    const at::Tensor sums = native::sequence_log_probabilities(*backbone, pack).sums;
    CHECK(worst(in_reference_order(sums.detach()), reference.load("policy_logps")) < 2e-3);
    const at::Tensor wanted = reference.load("reference_logps");
    at::Tensor better, worse;
    const at::Tensor losses =
        native::dpo_loss(rows(sums, chosen), rows(sums, rejected), wanted.narrow(0, 0, 4),
                         wanted.narrow(0, 4, 4), {.beta = .1}, better, worse);
    CHECK(worst(better.detach(), reference.load("chosen_rewards")) < 2e-4);
    CHECK(worst(worse.detach(), reference.load("rejected_rewards")) < 2e-4);
    CHECK(worst(losses.detach(), reference.load("losses")) < 1e-4);
    losses.mean().backward();
    int compared = 0;
    for (const NamedParameter& parameter : backbone->parameters()) {
      CAPTURE(parameter.name);
      if (!reference.contains("grad_norm." + parameter.name)) continue;
      ++compared;
      REQUIRE(parameter.tensor.grad().defined());
      CHECK(parameter.tensor.grad().norm().item<double>() ==
            Approx(reference.load("grad_norm." + parameter.name).item<double>())
                .epsilon(1e-4)
                .margin(1e-6));
    }
    CHECK(compared > 30);
  }
}
