// SPDX-License-Identifier: Apache-2.0
#include "core/nn/decoding.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <simdjson.h>

#include "core/nn/mrope.hpp"
#include "tests/core/nn/golden.hpp"

using namespace dt2it;
using namespace dt2it::nn;
namespace fs = std::filesystem;

namespace {

ModelConfig small_config() {
  ModelConfig config;
  config.vision = {.depth = 1,
                   .hidden = 16,
                   .heads = 2,
                   .intermediate = 24,
                   .out_hidden = 48,
                   .patch = 4,
                   .merge = 2,
                   .temporal = 2,
                   .channels = 3,
                   .position_side = 5,
                   .deepstack = {}};
  config.text = {.layers = 3,
                 .hidden = 48,
                 .heads = 4,
                 .kv_heads = 2,
                 .head_dim = 16,
                 .intermediate = 80,
                 .vocabulary = 97,
                 .rope_theta = 1e4,
                 .norm_epsilon = 1e-6,
                 .initial_deviation = 0.2,
                 .mrope_section = {4, 2, 2},
                 .tied = false};
  config.image_token = 7;
  return config;
}

TokenTree text_prompt(Rng& rng, std::size_t length) {
  TokenTree tree;
  for (std::size_t i = 0; i < length; ++i)
    tree.tokens.push_back(static_cast<std::int64_t>(rng.below(97)));
  MropePositions(tree.positions).text(length);
  tree.prefix = length;
  return tree;
}

}  // namespace

TEST_CASE("Decoding gives the logits of a full pass, beyond the first room of its cache") {
  VlModel model(small_config());
  Rng rng(3);
  model.initialise(rng);
  const at::NoGradGuard no_grad;
  const ImageProcessorConfig images;
  const TokenTree first = text_prompt(rng, 11), second = text_prompt(rng, 5);
  const std::vector<const TokenTree*> prompts{&first, &second};
  const std::vector<std::size_t> samples{2, 1};
  PackedDecoding decoding(model, images, prompts, samples);
  std::vector<TokenTree> grown{first, first, second};
  const auto check = [&] {
    REQUIRE(decoding.logits().size(0) == static_cast<std::int64_t>(grown.size()));
    for (std::size_t i = 0; i < grown.size(); ++i) {
      const TokenTree* tree = &grown[i];
      const at::Tensor hidden = forward_trees(model, {&tree, 1}, images, HiddenState::normed);
      const at::Tensor expected = model.logits(hidden[hidden.size(0) - 1]);
      CHECK(
          (decoding.logits()[static_cast<std::int64_t>(i)] - expected).abs().max().item<double>() <
          1e-4);
    }
  };
  check();
  for (int step = 0; step < 150; ++step) {
    std::vector<std::int64_t> tokens;
    for (TokenTree& tree : grown) {
      tokens.push_back(static_cast<std::int64_t>(rng.below(97)));
      tree.tokens.push_back(tokens.back());
      MropePositions positions(tree.positions);
      positions.go_on_at(tree.positions.back()[0] + 1);
      positions.text(1);
      tree.prefix = tree.tokens.size();
    }
    decoding.advance(tokens);
    if (step == 100) {
      decoding.keep(std::vector<std::size_t>{1, 2});
      grown.erase(grown.begin());
    }
    if (step ==
        120) {  // the first prompt has a sample left: its keys and values must be moved along
      decoding.join(std::span(prompts).last(1), std::span(samples).last(1));
      grown.push_back(second);
      check();
      decoding.keep(std::vector<std::size_t>{0, 2});
      grown.erase(grown.begin() + 1);
    }
    if (step % 10 == 0 || step > 145) check();
  }
}

TEST_CASE("What a sequence gives does not depend on its neighbours, to the last bit") {
  VlModel model(small_config());
  Rng rng(4);
  model.initialise(rng);
  const ImageProcessorConfig images;
  std::vector<TokenTree> trees;
  for (int i = 0; i < 5; ++i)
    trees.push_back(text_prompt(rng, 3 + 9 * static_cast<std::size_t>(i)));
  std::vector<const TokenTree*> prompts;
  for (const TokenTree& tree : trees) prompts.push_back(&tree);
  const std::vector<std::size_t> samples{3, 1, 4, 2, 3};
  PackedDecoding together(model, images, prompts, samples);
  const TokenTree* third = prompts[2];
  const std::size_t one = 1;
  PackedDecoding alone(model, images, {&third, 1}, {&one, 1});
  std::size_t row = 6;  // the third prompt's third sample
  for (int step = 0; step < 90; ++step) {
    REQUIRE(together.logits()[static_cast<std::int64_t>(row)].equal(alone.logits()[0]));
    const std::int64_t next = alone.logits()[0].argmax().item<std::int64_t>();
    std::vector<std::int64_t> tokens(static_cast<std::size_t>(together.logits().size(0)));
    for (auto& token : tokens) token = static_cast<std::int64_t>(rng.below(97));
    tokens[row] = next;
    together.advance(tokens);
    alone.advance({&next, 1});
    if (step % 20 == 10) {  // sequences before it end
      std::vector<std::size_t> kept;
      for (std::size_t i = 1; i < tokens.size(); ++i) kept.push_back(i);
      together.keep(kept);
      --row;
    }
  }
}
