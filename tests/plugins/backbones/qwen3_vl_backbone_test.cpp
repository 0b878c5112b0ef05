// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <catch2/catch.hpp>

#include "core/nn/adapters.hpp"
#include "core/nn/safetensors.hpp"
#include "core/nn/tree_encoder.hpp"
#include "dt2it/testing/fakes.hpp"
#include "dt2it/testing/model_contracts.hpp"
#include "tests/plugins/trainers/tiny_models.hpp"

using namespace dt2it;
using namespace dt2it::testing;
namespace fs = std::filesystem;

namespace {

std::shared_ptr<Backbone> backbone(FakeContext& context, Table params = {}) {
  add_backbone(context, std::move(params));
  return context.component<Backbone>("base");
}

const std::string_view kTwo[] = {"It is red.", "It is blue. I can see a ring."};

}  // namespace

TEST_CASE("A prompt becomes one tree: template, images in their places, positions that restart") {
  FakeContext context;
  const auto model = backbone(context);
  Prompt prompt = sample_prompt("p", "What color is the ring?");
  auto& content = prompt.messages[0].content;
  const auto picture = [&](int width) {
    return Part::of_image(context.media().put_image(sample_image(width, 64), "drawn"));
  };
  content = {Part::of_text("Image 1:"), picture(64), Part::of_text("Image 2:"), picture(96),
             Part::of_text("Which?")};
  const EncodedTree encoded = model->encode(prompt, kTwo);
  REQUIRE(encoded.status == Status::ok);
  const TokenTree& tree = encoded.tree;
  std::vector<std::int64_t> expected =
      model->tokenize("<|im_start|>user\nImage 1:<|vision_start|>");
  REQUIRE(tree.visual_runs.size() == 2);
  CHECK(tree.visual_runs[0].begin == expected.size());
  CHECK(tree.visuals[0]->tokens == 16);
  CHECK(tree.visuals[1]->tokens == 24);
  const auto image = model->tokenize("<|image_pad|>")[0];
  expected.insert(expected.end(), 16, image);
  for (const auto id : model->tokenize("<|vision_end|>Image 2:<|vision_start|>"))
    expected.push_back(id);
  expected.insert(expected.end(), 24, image);
  for (const auto id : model->tokenize("<|vision_end|>Which?<|im_end|>\n<|im_start|>assistant\n"))
    expected.push_back(id);
  CHECK(tree.prefix == expected.size());
  for (const std::string_view response : kTwo)
    for (const auto id : model->tokenize(std::string(response) + "<|im_end|>\n"))
      expected.push_back(id);
  CHECK(tree.tokens == expected);
  REQUIRE(tree.branch_ends.size() == 2);
  CHECK(tree.branch_ends[1] == expected.size());

  const auto begin = tree.visual_runs[0].begin;
  CHECK((tree.positions[begin + 5] ==
         std::array<std::int64_t, 3>{5, 6, 6}));  // second row, second column
  CHECK(tree.positions[begin + 16][0] == 9);      // 5 + max(4, 4)
  CHECK(tree.positions[tree.visual_runs[1].begin + 24][0] ==
        tree.positions[tree.visual_runs[1].begin][0] + 6);
  CHECK(tree.positions[tree.prefix] == tree.positions[tree.branch_ends[0]]);
  CHECK(tree.positions[tree.prefix][0] == tree.positions[tree.prefix - 1][0] + 1);
}

TEST_CASE("A record that cannot be encoded says why") {
  FakeContext context;
  const auto model = backbone(context, {{"cutoff_len", value_of(24)}});
  CHECK(model->encode(Prompt{}, kTwo).status == Status::invalid);
  Prompt prompt = sample_prompt("p", "Which?");
  Part video;
  video.kind = Part::Kind::video;
  video.media.kind = Media::Kind::video;
  prompt.messages[0].content.push_back(video);
  CHECK(model->encode(prompt, kTwo).status == Status::missing_media);
  prompt = sample_prompt("p", "Which?", {context.media().put_image(sample_image(64, 64), "drawn")});
  const EncodedTree cut = model->encode(prompt, kTwo);
  CHECK(cut.status == Status::truncated);
  CHECK(cut.detail.find("image") != std::string::npos);
  // Text alone is cut at its end; responses share what the prompt leaves.
  prompt = sample_prompt("p",
                         "What color is the ring ? What color is the ring ? What color is the ring "
                         "? What color is the ring ?");
  const EncodedTree shorter = model->encode(prompt, kTwo);
  REQUIRE(shorter.status == Status::ok);
  CHECK(shorter.tree.prefix + (shorter.tree.branch_ends[1] - shorter.tree.branch_ends[0]) <= 24);
}

TEST_CASE("How a length limit is shared between prompt and response") {
  CHECK(nn::share_cutoff(100, 20, 2048) == std::pair<std::size_t, std::size_t>{100, 20});
  CHECK(nn::share_cutoff(3000, 20, 2048) == std::pair<std::size_t, std::size_t>{2028, 20});
  CHECK(nn::share_cutoff(100, 3000, 2048) == std::pair<std::size_t, std::size_t>{100, 1948});
  CHECK(nn::share_cutoff(3000, 3000, 2048) == std::pair<std::size_t, std::size_t>{1024, 1024});
}

TEST_CASE("Saving gives a folder that loads to the same model, and the same bytes") {
  FakeContext context;
  const auto model = backbone(context);
  const fs::path folder = context.scratch() / "saved";
  model->save(folder);
  for (const auto& [name, bytes] : testing::detail::files_below(folder)) {
    CAPTURE(name);
    CHECK(bytes == nn::read_text_file(tiny_checkpoint() / name));
  }
  FakeContext other;
  const auto again = backbone(other, {{"checkpoint", value_of(folder.string())}});
  const at::NoGradGuard no_grad;
  const EncodedTree encoded = model->encode(sample_prompt("p", "What color is the ring?"), kTwo);
  const TokenTree* tree = &encoded.tree;
  const at::Tensor a = model->forward({&tree, 1}, HiddenState::normed),
                   b = again->forward({&tree, 1}, HiddenState::normed);
  CHECK(a.equal(b));
  CHECK(a.size(0) == static_cast<std::int64_t>(tree->tokens.size()));
  CHECK(a.size(1) == model->hidden_size());

  // reload() undoes whatever was done to the weights.
  model->parameters()[0].tensor.add_(1);
  model->reload();
  CHECK(model->forward({&tree, 1}, HiddenState::normed).equal(b));
}

TEST_CASE("Freezing follows the parts of the model") {
  FakeContext context;
  const auto model = backbone(context, {{"freeze_vision_tower", value_of(true)}});
  for (const NamedParameter& parameter : model->parameters()) {
    CAPTURE(parameter.name);
    const bool tower = parameter.name.starts_with("model.visual.") &&
                       parameter.name.find("merger") == std::string::npos;
    CHECK(parameter.trainable == !tower);
    CHECK(parameter.tensor.requires_grad() == !tower);
  }
}

TEST_CASE(
    "With adapters only they train; they are saved for PEFT, merged on reading or saving, and gone "
    "on with") {
  FakeContext context;
  const Table lora{{"lora_rank", value_of(4)}, {"gradient_checkpointing", value_of(true)}};
  const auto model = backbone(context, lora);
  REQUIRE(nn::has_adapters(*model));
  const EncodedTree encoded = model->encode(sample_prompt("p", "What color is the ring?"), kTwo);
  const TokenTree* tree = &encoded.tree;
  const auto hidden = [&](Backbone& of) { return of.forward({&tree, 1}, HiddenState::normed); };
  const at::Tensor before = hidden(*model).detach();
  hidden(*model).pow(2).sum().backward();
  int adapters = 0;
  for (const NamedParameter& parameter : model->parameters()) {
    CAPTURE(parameter.name);
    CHECK(parameter.trainable == (parameter.name.find(".lora_") != std::string::npos));
    CHECK(parameter.tensor.requires_grad() == parameter.trainable);
    CHECK(parameter.tensor.grad().defined() == parameter.trainable);
    adapters += parameter.trainable;
    const at::NoGradGuard no_grad;
    if (parameter.name.ends_with(".lora_B.weight")) parameter.tensor.fill_(.02);
  }
  CHECK(adapters > 10);
  const at::NoGradGuard no_grad;
  const at::Tensor trained = hidden(*model);
  CHECK((trained - before).abs().max().item<double>() > 1e-3);
  {
    const nn::WithoutAdapters reference(*model);
    CHECK(hidden(*model).equal(before));
  }
  CHECK(hidden(*model).equal(trained));

  const fs::path saved = context.scratch() / "adapter", whole = context.scratch() / "whole";
  model->save(saved);
  CHECK(fs::exists(saved / "adapter_model.safetensors"));
  CHECK_FALSE(fs::exists(saved / "model.safetensors"));
  const auto difference_of = [&](Table params) {
    FakeContext other;
    return (hidden(*backbone(other, std::move(params))) - trained).abs().max().item<double>();
  };
  CHECK(difference_of({{"checkpoint", value_of(saved.string())}}) < 1e-5);
  CHECK(difference_of({{"adapter", value_of(saved.string())}}) == 0);
  FakeContext third;
  backbone(third, {{"adapter", value_of(saved.string())}, {"merge_adapter", value_of(true)}})
      ->save(whole);
  CHECK_FALSE(fs::exists(whole / "adapter_config.json"));
  CHECK(difference_of({{"checkpoint", value_of(whole.string())}}) <
        .1);  // in the type of config.json: bfloat16

  model->reload();  // as it was at first
  CHECK(hidden(*model).equal(before));
  FakeContext fourth;
  CHECK_THROWS_WITH(
      backbone(fourth, {{"adapter", value_of(saved.string())}, {"lora_rank", value_of(2)}}),
      Catch::Contains("lora_rank"));
  CHECK_THROWS_WITH(
      backbone(fourth, {{"checkpoint", value_of(saved.string())}, {"lora_rank", value_of(2)}}),
      Catch::Contains("adapter"));
  CHECK_THROWS_WITH(backbone(fourth, {{"lora_rank", value_of(2)},
                                      {"lora_targets", Value{List{value_of("nothing")}}}}),
                    Catch::Contains("nothing"));
}
