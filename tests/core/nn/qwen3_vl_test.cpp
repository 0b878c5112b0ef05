// SPDX-License-Identifier: Apache-2.0
#include "core/nn/qwen3_vl.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <simdjson.h>

#include "core/nn/tree_encoder.hpp"
#include "core/nn/reward_head.hpp"
#include "tests/core/nn/golden.hpp"

using namespace dt2it;
using namespace dt2it::nn;
namespace fs = std::filesystem;

namespace {

Qwen3VlConfig tiny_config() {
  Qwen3VlConfig config;
  config.vision = {.depth = 2, .hidden = 16, .heads = 2, .intermediate = 24, .out_hidden = 24, .patch = 4, .merge = 2,
                   .temporal = 2, .channels = 3, .position_side = 5, .deepstack = {0}};
  config.text = {.layers = 2, .hidden = 24, .heads = 4, .kv_heads = 2, .head_dim = 12, .intermediate = 40,
                 .vocabulary = 50, .rope_theta = 1e4, .norm_epsilon = 1e-6, .initial_deviation = 0.3,
                 .mrope_section = {2, 2, 2}, .tied = true};
  config.image_token = 7;
  return config;
}

ImageProcessorConfig tiny_images() {
  ImageProcessorConfig config;
  config.patch = 4;
  config.min_pixels = 64;
  return config;
}

std::shared_ptr<const PreparedImage> drawn(int width, int height, std::uint64_t seed) {
  auto image = std::make_shared<PreparedImage>();
  image->width = width;
  image->height = height;
  image->tokens = width * height / 64;
  Rng rng(seed);
  image->rgb.resize(static_cast<std::size_t>(width * height * 3));
  for (auto& value : image->rgb) value = static_cast<std::uint8_t>(rng.below(256));
  return image;
}

// A prompt with `images` pictures and the given branches.
TokenTree made_tree(Rng& rng, int images, const std::vector<std::size_t>& lengths) {
  TokenTree tree;
  std::int64_t next = 0;
  const auto text = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) tree.tokens.push_back(10 + static_cast<std::int64_t>(rng.below(40)));
    append_text_positions(tree.positions, count, next);
  };
  text(2);
  for (int k = 0; k < images; ++k) {
    const int columns = rng.integer(1, 3);
    tree.image_begins.push_back(tree.tokens.size());
    tree.images.push_back(drawn(8 * columns, 16, rng.next()));
    tree.tokens.insert(tree.tokens.end(), static_cast<std::size_t>(2 * columns), 7);
    append_image_positions(tree.positions, 2, columns, next);
    text(1);
  }
  text(3);
  tree.prefix = tree.tokens.size();
  const std::int64_t after = next;
  for (const std::size_t length : lengths) {
    next = after;
    text(length);
    tree.branch_ends.push_back(tree.tokens.size());
  }
  return tree;
}

// Branch `k` alone, as a plain sequence.
TokenTree separate(const TokenTree& tree, std::size_t k) {
  TokenTree alone = tree;
  const auto keep = [&](auto& list) {
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(tree.branch_ends[k]), list.end());
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(tree.prefix),
               list.begin() + static_cast<std::ptrdiff_t>(tree.branch_begin(k)));
  };
  keep(alone.tokens);
  keep(alone.positions);
  alone.branch_ends = {alone.tokens.size()};
  return alone;
}

double difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

}  // namespace

TEST_CASE("A tree gives the hidden states and gradients of its branches as separate sequences") {
  Qwen3VlModel model(tiny_config());
  Rng rng(5);
  model.initialise(rng);
  for (const auto& [name, tensor] : model.parameters()) tensor.requires_grad_(true);
  const ImageProcessorConfig images = tiny_images();
  const std::vector<TokenTree> trees = {made_tree(rng, 1, {4, 7, 1}), made_tree(rng, 2, {3}), made_tree(rng, 0, {2, 5})};
  std::vector<const TokenTree*> together;
  std::vector<TokenTree> alone;
  for (const TokenTree& tree : trees) {
    together.push_back(&tree);
    for (std::size_t k = 0; k < tree.branch_ends.size(); ++k) alone.push_back(separate(tree, k));
  }
  const auto gradients = [&] {
    std::vector<at::Tensor> all;
    for (const auto& [name, tensor] : model.parameters()) {
      all.push_back(tensor.grad().defined() ? tensor.grad().clone() : tensor.detach() * 0);
      tensor.mutable_grad().reset();
    }
    return all;
  };

  for (const HiddenState state : {HiddenState::normed, HiddenState::unnormed}) {
    std::vector<at::Tensor> ends, branches;
    const at::Tensor hidden = forward_trees(model, together, images, state);
    std::int64_t base = 0;
    for (const TokenTree& tree : trees) {
      for (std::size_t k = 0; k < tree.branch_ends.size(); ++k) {
        const auto begin = static_cast<std::int64_t>(tree.branch_begin(k)), end = static_cast<std::int64_t>(tree.branch_ends[k]);
        branches.push_back(hidden.narrow(0, base + begin, end - begin));
        ends.push_back(hidden[base + end - 1]);
      }
      base += static_cast<std::int64_t>(tree.tokens.size());
    }
    CHECK(hidden.size(0) == base);
    at::Tensor loss = at::cat(ends).pow(2).sum();
    loss.backward();
    const auto tree_gradients = gradients();

    std::vector<at::Tensor> separate_ends;
    for (std::size_t i = 0; i < alone.size(); ++i) {
      const TokenTree* one = &alone[i];
      const at::Tensor states = forward_trees(model, {&one, 1}, images, state);
      const auto prefix = static_cast<std::int64_t>(one->prefix);
      CHECK(difference(states.narrow(0, prefix, states.size(0) - prefix), branches[i]) < 1e-5);
      separate_ends.push_back(states[states.size(0) - 1]);
    }
    at::cat(separate_ends).pow(2).sum().backward();
    const auto separate_gradients = gradients();
    for (std::size_t i = 0; i < tree_gradients.size(); ++i) {
      CAPTURE(model.parameters()[i].first);
      const double size = std::max(1.0, separate_gradients[i].abs().max().item<double>());
      CHECK(difference(tree_gradients[i], separate_gradients[i]) / size < 1e-5);
    }
  }
}

TEST_CASE("An image used by two trees is encoded once and gives the same states") {
  Qwen3VlModel model(tiny_config());
  Rng rng(6);
  model.initialise(rng);
  at::NoGradGuard no_grad;
  TokenTree first = made_tree(rng, 1, {3}), second = made_tree(rng, 1, {2});
  second.images = {drawn(first.images[0]->width, 16, 1)};
  TokenTree shared = first;
  const ImageProcessorConfig images = tiny_images();
  const std::vector<const TokenTree*> both{&first, &shared};
  CHECK(pack_trees(both, images).grids.size() == 1);
  const at::Tensor hidden = forward_trees(model, both, images, HiddenState::normed);
  CHECK(difference(hidden.narrow(0, 0, hidden.size(0) / 2), hidden.narrow(0, hidden.size(0) / 2, hidden.size(0) / 2)) < 1e-6);
}

TEST_CASE("Positions: text goes on after an image at its largest position + 1") {
  std::vector<std::array<std::int64_t, 3>> positions;
  std::int64_t next = 0;
  append_text_positions(positions, 2, next);
  append_image_positions(positions, 2, 3, next);
  append_text_positions(positions, 1, next);
  const std::vector<std::array<std::int64_t, 3>> expected{
                         {0, 0, 0}, {1, 1, 1}, {2, 2, 2}, {2, 2, 3}, {2, 2, 4}, {2, 3, 2}, {2, 3, 3}, {2, 3, 4}, {5, 5, 5}};
  CHECK((positions == expected));
  CHECK(next == 6);
}

TEST_CASE("Qwen3-VL agrees with transformers on the reference passes") {
  if (dt2it::testing::golden_absent()) return;
  at::NoGradGuard no_grad;
  for (const char* name : {"qwen3_vl", "qwen3_vl_tied", "qwen3_vl_sharded"}) {
    const fs::path folder = dt2it::testing::golden_folder() / "models" / name;
    const Qwen3VlConfig config = Qwen3VlConfig::read(folder / "config.json");
    Qwen3VlModel model(config);
    model.load(Checkpoint(folder));
    const RewardHead head = RewardHead::load(folder, config.text.hidden);
    const std::string passes = std::string(name) == "qwen3_vl_sharded" ? "qwen3_vl" : name;
    int cases = 0;
    for (const auto& entry : fs::directory_iterator(dt2it::testing::golden_folder() / "forward" / passes)) {
      if (entry.path().extension() != ".safetensors") continue;
      const SafetensorsFile stored(entry.path());
      if (stored.contains("pixel_values_videos")) continue;  // videos are refused, not computed
      CAPTURE(name, entry.path().filename().string());
      ++cases;
      const at::Tensor ids = stored.load("input_ids"), positions = stored.load("position_ids");
      const at::Tensor attended = stored.load("attention_mask");
      const at::Tensor score_index = stored.load("score_index");
      VisionFeatures features;
      if (stored.contains("pixel_values")) {
        const at::Tensor grids = stored.load("image_grid_thw");
        std::vector<Grid> grid;
        for (std::int64_t i = 0; i < grids.size(0); ++i)
          grid.push_back({grids[i][0].item<std::int64_t>(), grids[i][1].item<std::int64_t>(), grids[i][2].item<std::int64_t>()});
        features = model.vision(stored.load("pixel_values"), grid);
        if (stored.contains("vision.image.output"))
          CHECK(difference(features.output, stored.load("vision.image.output")) < 1e-4);
        for (std::size_t k = 0; k < features.deepstack.size(); ++k)
          if (const std::string deep = "vision.image.deepstack" + std::to_string(k); stored.contains(deep))
            CHECK(difference(features.deepstack[k], stored.load(deep)) < 1e-4);
      }
      std::int64_t feature = 0;
      for (std::int64_t b = 0; b < ids.size(0); ++b) {  // each row without its padding
        const at::Tensor keep = attended[b].nonzero().squeeze(-1);
        DecoderInput input;
        input.tokens = ids[b].index_select(0, keep).unsqueeze(0);
        input.positions = positions.select(1, b).index_select(1, keep).unsqueeze(1);
        const at::Tensor places = (input.tokens.view({-1}) == config.image_token).nonzero().squeeze(-1);
        VisionFeatures own;
        if (places.size(0) > 0) {
          input.visual_rows = places;
          own.output = features.output.narrow(0, feature, places.size(0));
          for (const at::Tensor& deep : features.deepstack) own.deepstack.push_back(deep.narrow(0, feature, places.size(0)));
          feature += places.size(0);
        }
        const VisionFeatures* used = places.size(0) > 0 ? &own : nullptr;
        std::vector<at::Tensor> layers;
        const at::Tensor normed = model.decode(input, used, HiddenState::normed, &layers)[0];
        for (std::size_t i = 0; i < layers.size(); ++i) {
          std::string layer = "lm.layer" + std::to_string(i);
          if (used && i < used->deepstack.size()) layer += "_deepstack";  // its output is after the addition
          if (stored.contains(layer))
            CHECK(difference(layers[i][0], stored.load(layer)[b].index_select(0, keep)) < 1e-4);
        }
        CHECK(model.normed(layers.back())[0].equal(normed));
        const at::Tensor raw = model.decode(input, used, HiddenState::unnormed)[0];
        CHECK(difference(normed, stored.load("lm.final_norm")[b].index_select(0, keep)) < 1e-4);
        CHECK(difference(head(normed), stored.load("values")[b].index_select(0, keep)) < 1e-4);
        if (stored.contains("values_prenorm"))
          CHECK(difference(head(raw), stored.load("values_prenorm")[b].index_select(0, keep)) < 1e-4);
        const std::int64_t last = normed.size(0) - 1;
        CHECK(difference(model.logits(normed[last]), stored.load("logits_last")[b]) < 1e-4);
        CHECK(std::abs(head(normed.narrow(0, last, 1)).item<double>() - stored.load("reward")[b].item<double>()) < 1e-4);
      }
    }
    CHECK(cases >= (passes == "qwen3_vl" ? 8 : 1));
  }
}

TEST_CASE("Bradley-Terry gradients agree with transformers on the reference pairs") {
  if (dt2it::testing::golden_absent()) return;
  const fs::path golden = dt2it::testing::golden_folder();
  const fs::path folder = golden / "models/qwen3_vl";
  const SafetensorsFile pairs(golden / "training/qwen3_vl/pairs.safetensors");
  for (const HiddenState state : {HiddenState::normed, HiddenState::unnormed}) {
    const bool normed = state == HiddenState::normed;
    CAPTURE(normed);
    const Qwen3VlConfig config = Qwen3VlConfig::read(folder / "config.json");
    Qwen3VlModel model(config);
    model.load(Checkpoint(folder));
    RewardHead head = RewardHead::load(folder, config.text.hidden);
    for (const auto& [name, tensor] : model.parameters()) tensor.requires_grad_(true);
    head.weight.requires_grad_(true);

    DecoderInput input;
    input.tokens = pairs.load("input_ids");
    input.positions = pairs.load("position_ids");
    input.visual_rows = (input.tokens.view({-1}) == config.image_token).nonzero().squeeze(-1);
    const at::Tensor grids = pairs.load("image_grid_thw");
    std::vector<Grid> grid;
    for (std::int64_t i = 0; i < grids.size(0); ++i)
      grid.push_back({grids[i][0].item<std::int64_t>(), grids[i][1].item<std::int64_t>(), grids[i][2].item<std::int64_t>()});
    VisionFeatures features = model.vision(pairs.load("pixel_values"), grid);
    const auto twice = [](const at::Tensor& half) { return at::cat(at::TensorList{half, half}); };  // chosen and rejected rows
    features.output = twice(features.output);
    for (at::Tensor& deep : features.deepstack) deep = twice(deep);
    const at::Tensor hidden = model.decode(input, &features, state);
    const at::Tensor last = pairs.load("attention_mask").sum(1) - 1;
    std::vector<at::Tensor> ends;
    for (std::int64_t b = 0; b < hidden.size(0); ++b) ends.push_back(hidden[b][last[b].item<std::int64_t>()].unsqueeze(0));
    const at::Tensor rewards = head(at::cat(ends));
    CHECK(difference(rewards.detach(), pairs.load(normed ? "rewards" : "rewards_prenorm")) < 1e-4);
    const std::int64_t half = rewards.size(0) / 2;
    const at::Tensor margins = rewards.narrow(0, 0, half) - rewards.narrow(0, half, half);
    const at::Tensor loss = -margins.sigmoid().log().mean();
    CHECK(std::abs(loss.item<double>() - pairs.load(normed ? "loss" : "loss_prenorm").item<double>()) < 1e-5);
    loss.backward();
    const SafetensorsFile gradients(golden / "training/qwen3_vl" / (normed ? "gradients.safetensors" : "gradients_prenorm.safetensors"));
    int compared = 0;
    for (const auto& [name, tensor] : model.parameters()) {
      CAPTURE(name);
      if (!gradients.contains(name)) continue;
      ++compared;
      const at::Tensor expected = gradients.load(name);
      if (tensor.grad().defined())
        CHECK(difference(tensor.grad(), expected) < 2e-5);
      else
        CHECK(expected.abs().max().item<double>() == 0);
    }
    CHECK(compared > 80);
  }
}
