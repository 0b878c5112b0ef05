// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <catch2/catch.hpp>

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
  const auto picture = [&](int width) { return Part::of_image(context.media().put_image(sample_image(width, 64), "drawn")); };
  content = {Part::of_text("Image 1:"), picture(64), Part::of_text("Image 2:"), picture(96), Part::of_text("Which?")};
  const EncodedTree encoded = model->encode(prompt, kTwo);
  REQUIRE(encoded.status == Status::ok);
  const TokenTree& tree = encoded.tree;
  std::vector<std::int64_t> expected = model->tokenize("<|im_start|>user\nImage 1:<|vision_start|>");
  REQUIRE(tree.visual_runs.size() == 2);
  CHECK(tree.visual_runs[0].begin == expected.size());
  CHECK(tree.visuals[0]->tokens == 16);
  CHECK(tree.visuals[1]->tokens == 24);
  const auto image = model->tokenize("<|image_pad|>")[0];
  expected.insert(expected.end(), 16, image);
  for (const auto id : model->tokenize("<|vision_end|>Image 2:<|vision_start|>")) expected.push_back(id);
  expected.insert(expected.end(), 24, image);
  for (const auto id : model->tokenize("<|vision_end|>Which?<|im_end|>\n<|im_start|>assistant\n")) expected.push_back(id);
  CHECK(tree.prefix == expected.size());
  for (const std::string_view response : kTwo)
    for (const auto id : model->tokenize(std::string(response) + "<|im_end|>\n")) expected.push_back(id);
  CHECK(tree.tokens == expected);
  REQUIRE(tree.branch_ends.size() == 2);
  CHECK(tree.branch_ends[1] == expected.size());

  const auto begin = tree.visual_runs[0].begin;
  CHECK((tree.positions[begin + 5] == std::array<std::int64_t, 3>{5, 6, 6}));  // second row, second column
  CHECK(tree.positions[begin + 16][0] == 9);                                   // 5 + max(4, 4)
  CHECK(tree.positions[tree.visual_runs[1].begin + 24][0] == tree.positions[tree.visual_runs[1].begin][0] + 6);
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
  prompt = sample_prompt("p", "What color is the ring ? What color is the ring ? What color is the ring ? What color is the ring ?");
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
  const at::Tensor a = model->forward({&tree, 1}, HiddenState::normed), b = again->forward({&tree, 1}, HiddenState::normed);
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
    const bool tower = parameter.name.starts_with("model.visual.") && parameter.name.find("merger") == std::string::npos;
    CHECK(parameter.trainable == !tower);
    CHECK(parameter.tensor.requires_grad() == !tower);
  }
}
