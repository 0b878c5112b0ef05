// SPDX-License-Identifier: Apache-2.0
#include "core/nn/recompute.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <catch2/catch.hpp>
#include <functional>
#include <iostream>

#include "tests/core/nn/live_bytes.hpp"
#include "tests/core/nn/tiny_model.hpp"

using namespace dt2it;
using namespace dt2it::nn;
using namespace dt2it::testing;

namespace {

struct Step {
  at::Tensor hidden;
  std::vector<at::Tensor> gradients;
  std::int64_t kept = 0, most = 0;  // bytes after the forward pass, and at most
};

Step step_of(VlModel& model, const std::vector<TokenTree>& trees, bool recompute) {
  std::vector<const TokenTree*> together;
  std::vector<std::int64_t> ends;
  std::int64_t base = 0;
  for (const TokenTree& tree : trees) {
    together.push_back(&tree);
    for (const std::size_t end : tree.branch_ends)
      ends.push_back(base + static_cast<std::int64_t>(end) - 1);
    base += static_cast<std::int64_t>(tree.tokens.size());
  }
  model.set_recompute(recompute);
  Step step;
  {
    const LiveBytes bytes;
    const at::Tensor hidden =
        forward_trees(model, together, tiny_images(), HiddenState::unnormed, ends);
    step.kept = bytes.now();
    hidden.pow(2).sum().backward();
    step.most = bytes.most();
    step.hidden = hidden.detach();
  }
  for (const auto& [name, tensor] : model.parameters()) {
    step.gradients.push_back(tensor.grad());
    tensor.mutable_grad().reset();
  }
  return step;
}

bool same(const at::Tensor& a, const at::Tensor& b) {
  return a.defined() == b.defined() && (!a.defined() || a.equal(b));
}

}  // namespace

TEST_CASE("Gradients of layers that are computed again are the plain ones to the last bit") {
  using Trains = std::function<bool(const std::string&)>;
  const auto visual = [](const std::string& name) {
    return name.find("visual.") != std::string::npos;
  };
  const std::vector<std::pair<const char*, Trains>> choices{
      {"everything", [](const std::string&) { return true; }},
      {"the language model", [&](const std::string& name) { return !visual(name); }},
      {"the tower", visual},
      {"nothing before the layers",
       [](const std::string& name) {
         return name.find("layers.1.mlp.up_proj") != std::string::npos;
       }},
      {"part of the first layer", [](const std::string& name) {
         return name.find("layers.0.self_attn.v_proj") != std::string::npos;
       }}};
  for (const Family family : {Family::qwen3_vl, Family::qwen2_5_vl}) {
    VlModel model(tiny_config(family));
    Rng rng(11);
    model.initialise(rng);
    const std::vector<TokenTree> trees = {made_tree(rng, 2, {4, 7}), made_tree(rng, 0, {3}),
                                          made_tree(rng, 1, {2, 5, 1})};
    for (const auto& [what, trains] : choices) {
      CAPTURE(static_cast<int>(family), what);
      for (const auto& [name, tensor] : model.parameters()) tensor.requires_grad_(trains(name));
      const Step plain = step_of(model, trees, false), again = step_of(model, trees, true);
      CHECK(again.hidden.equal(plain.hidden));
      int gradients = 0;
      for (std::size_t i = 0; i < plain.gradients.size(); ++i) {
        CAPTURE(model.parameters()[i].first);
        CHECK(same(again.gradients[i], plain.gradients[i]));
        gradients += plain.gradients[i].defined();
        if (plain.gradients[i].defined()) CHECK(trains(model.parameters()[i].first));
      }
      CHECK(gradients > 0);
    }
  }
}

TEST_CASE("Computing layers again keeps a layer's input instead of all that it made") {
  ModelConfig config = tiny_config();
  config.text.layers = 8;
  VlModel model(config);
  Rng rng(12);
  model.initialise(rng);
  for (const auto& [name, tensor] : model.parameters()) tensor.requires_grad_(true);
  const std::vector<TokenTree> trees = {made_tree(rng, 1, {300, 200})};
  const Step plain = step_of(model, trees, false), again = step_of(model, trees, true);
  std::cout << "bytes kept for the backward pass: " << plain.kept << ", with recomputation "
            << again.kept << "; at most " << plain.most << " and " << again.most << "\n";
  CHECK(again.kept * 5 < plain.kept);
  CHECK(again.most * 2 < plain.most);
}

TEST_CASE("Nothing is recorded without gradients, and a frozen tower records and keeps nothing") {
  VlModel model(tiny_config());
  Rng rng(13);
  model.initialise(rng);
  const TokenTree tree = made_tree(rng, 2, {3});
  const TokenTree* one = &tree;
  const PackedBatch batch = pack_trees({&one, 1}, tiny_images());
  for (const bool recompute : {false, true}) {
    model.set_recompute(recompute);
    for (const auto& [name, tensor] : model.parameters())
      tensor.requires_grad_(name.find("visual.") == std::string::npos);
    {
      const LiveBytes bytes;
      const VisionFeatures features = vision_features(model, batch);
      CHECK_FALSE(features.output.requires_grad());
      std::int64_t own = static_cast<std::int64_t>(features.output.nbytes());
      for (const at::Tensor& deep : features.deepstack) {
        CHECK_FALSE(deep.requires_grad());
        own += static_cast<std::int64_t>(deep.nbytes());
      }
      CHECK(bytes.now() <= own + 4096);  // tables of the grids stay
    }
    // Mergers alone: their gradients, and no graph through the blocks before them.
    for (const auto& [name, tensor] : model.parameters())
      tensor.requires_grad_(name.find("merger") != std::string::npos);
    const VisionFeatures features = vision_features(model, batch);
    (features.output.pow(2).sum() + features.deepstack[0].pow(2).sum()).backward();
    for (const auto& [name, tensor] : model.parameters()) {
      CAPTURE(name);
      CHECK(tensor.grad().defined() == (name.find("merger") != std::string::npos));
      tensor.mutable_grad().reset();
    }
  }
  at::NoGradGuard no_grad;
  CHECK_FALSE(forward_trees(model, {&one, 1}, tiny_images(), HiddenState::normed).requires_grad());
}
