// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include <catch2/catch.hpp>

#include "core/nn/packed_batch.hpp"
#include "tests/core/nn/tiny_model.hpp"

using namespace dt2it;
using namespace dt2it::nn;
using namespace dt2it::testing;
namespace {

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

}  // namespace

TEST_CASE("A tree gives the hidden states and gradients of its branches as separate sequences") {
  VlModel model(tiny_config());
  Rng rng(5);
  model.initialise(rng);
  for (const auto& [name, tensor] : model.parameters()) tensor.requires_grad_(true);
  const ImageProcessorConfig images = tiny_images();
  const std::vector<TokenTree> trees = {made_tree(rng, 1, {4, 7, 1}), made_tree(rng, 2, {3}),
                                        made_tree(rng, 0, {2, 5})};
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
        const auto begin = static_cast<std::int64_t>(tree.branch_begin(k)),
                   end = static_cast<std::int64_t>(tree.branch_ends[k]);
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
  VlModel model(tiny_config());
  Rng rng(6);
  model.initialise(rng);
  at::NoGradGuard no_grad;
  TokenTree first = made_tree(rng, 1, {3}), second = made_tree(rng, 1, {2});
  second.visuals = {drawn(first.visuals[0]->width, 16, 1)};
  TokenTree shared = first;
  const ImageProcessorConfig images = tiny_images();
  const std::vector<const TokenTree*> both{&first, &shared};
  CHECK(pack_trees(both, images).grids.size() == 1);
  const at::Tensor hidden = forward_trees(model, both, images, HiddenState::normed);
  CHECK(difference(hidden.narrow(0, 0, hidden.size(0) / 2),
                   hidden.narrow(0, hidden.size(0) / 2, hidden.size(0) / 2)) < 1e-6);
}

TEST_CASE("Chosen rows get the hidden states that they get among all rows") {
  VlModel model(tiny_config());
  Rng rng(7);
  model.initialise(rng);
  at::NoGradGuard no_grad;
  const ImageProcessorConfig images = tiny_images();
  const std::vector<TokenTree> trees = {made_tree(rng, 1, {4, 7, 1}), made_tree(rng, 0, {}),
                                        made_tree(rng, 2, {3, 3})};
  std::vector<const TokenTree*> together;
  std::vector<std::int64_t> ends;
  std::int64_t base = 0;
  for (const TokenTree& tree : trees) {
    together.push_back(&tree);
    for (const std::size_t end : tree.branch_ends)
      ends.push_back(base + static_cast<std::int64_t>(end) - 1);
    base += static_cast<std::int64_t>(tree.tokens.size());
  }
  const at::Tensor all = forward_trees(model, together, images, HiddenState::unnormed);
  std::vector<std::vector<std::int64_t>> choices{ends, {0}, {base - 1}};
  for (int draw = 0; draw < 20; ++draw) {
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < base; ++i)
      if (rng.chance(0.4)) rows.push_back(i);
    if (!rows.empty()) choices.push_back(rows);
  }
  for (const auto& rows : choices) {
    const at::Tensor chosen = forward_trees(model, together, images, HiddenState::unnormed, rows);
    REQUIRE(chosen.size(0) == static_cast<std::int64_t>(rows.size()));
    for (std::size_t i = 0; i < rows.size(); ++i)
      CHECK(difference(chosen[static_cast<std::int64_t>(i)], all[rows[i]]) < 1e-5);
  }
}

TEST_CASE("Gradients in bfloat16 are near those in float32") {
  for (const Family family : {Family::qwen3_vl, Family::qwen2_5_vl})
    for (const bool recompute : {false, true}) {
      VlModel exact(tiny_config(family)), rounded(tiny_config(family), at::kBFloat16);
      Rng rng(8);
      exact.initialise(rng);
      {
        at::NoGradGuard no_grad;
        for (std::size_t i = 0; i < exact.parameters().size(); ++i) {
          rounded.parameters()[i].second.copy_(exact.parameters()[i].second);
          exact.parameters()[i].second.copy_(rounded.parameters()[i].second);
        }
      }
      rounded.set_recompute(recompute);
      const TokenTree tree = made_tree(rng, 2, {4, 7});
      const TokenTree* one = &tree;
      const std::vector<std::int64_t> ends{static_cast<std::int64_t>(tree.branch_ends[0]) - 1,
                                           static_cast<std::int64_t>(tree.branch_ends[1]) - 1};
      for (VlModel* model : {&exact, &rounded}) {
        for (const auto& [name, tensor] : model->parameters()) tensor.requires_grad_(true);
        const at::Tensor hidden =
            forward_trees(*model, {&one, 1}, tiny_images(), HiddenState::normed, ends)
                .to(at::kFloat);
        (hidden[0] - hidden[1]).pow(2).sum().backward();
      }
      double along = 0, own = 0, other = 0;
      for (std::size_t i = 0; i < exact.parameters().size(); ++i) {
        const auto& [name, tensor] = exact.parameters()[i];
        CAPTURE(name, static_cast<int>(family), recompute);
        const at::Tensor short_gradient = rounded.parameters()[i].second.grad();
        REQUIRE(short_gradient.defined() == tensor.grad().defined());
        if (!tensor.grad().defined()) continue;
        CHECK(short_gradient.scalar_type() == at::kBFloat16);
        const at::Tensor a = tensor.grad(), b = short_gradient.to(at::kFloat);
        along += (a * b).sum().item<double>();
        own += a.pow(2).sum().item<double>();
        other += b.pow(2).sum().item<double>();
      }
      CHECK(along / std::sqrt(own * other) > .99);
      CHECK(other / own == Approx(1).margin(.1));
    }
}
