// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/native/batch_loss.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/softplus.h>

#include <algorithm>

namespace dt2it {
namespace {

at::Tensor index_tensor(const std::vector<std::int64_t>& values) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.data_ptr<std::int64_t>());
  return tensor;
}

}  // namespace

BatchLoss bradley_terry(Backbone& backbone, const nn::RewardHead& head, HiddenState state,
                        std::span<const EncodedPair* const> pairs, const at::Tensor& drop) {
  std::vector<const TokenTree*> trees;
  std::vector<std::int64_t> ends;  // chosen, rejected, chosen, ...
  std::int64_t base = 0;
  for (const EncodedPair* pair : pairs)
    for (const TokenTree& tree : pair->trees) {
      trees.push_back(&tree);
      for (const std::size_t end : tree.branch_ends) ends.push_back(base + static_cast<std::int64_t>(end) - 1);
      base += static_cast<std::int64_t>(tree.tokens.size());
    }
  at::Tensor hidden = backbone.forward(trees, state).index_select(0, index_tensor(ends));
  if (drop.defined()) hidden = hidden * drop;
  const at::Tensor rewards = head(hidden).view({-1, 2});
  const at::Tensor margins = rewards.select(1, 0) - rewards.select(1, 1);
  BatchLoss result;
  result.loss = at::softplus(-margins).sum();
  const at::Tensor values = margins.detach();
  result.right = (values > 0).sum().item<double>();
  result.margin = values.sum().item<double>();
  return result;
}

std::int64_t response_tokens(const EncodedPair& pair) {
  const TokenTree& tree = pair.trees[0];
  return static_cast<std::int64_t>(tree.branch_ends[0] - tree.prefix);
}

BatchLoss next_token(Backbone& backbone, std::span<const EncodedPair* const> pairs) {
  std::vector<const TokenTree*> trees;
  std::vector<std::int64_t> rows, targets;
  std::int64_t base = 0;
  for (const EncodedPair* pair : pairs) {
    const TokenTree& tree = pair->trees[0];
    trees.push_back(&tree);
    for (std::size_t i = tree.prefix; i < tree.branch_ends[0]; ++i) {
      rows.push_back(base + static_cast<std::int64_t>(i) - 1);
      targets.push_back(tree.tokens[i]);
    }
    base += static_cast<std::int64_t>(tree.tokens.size());
  }
  const at::Tensor hidden = backbone.forward(trees, HiddenState::normed).index_select(0, index_tensor(rows));
  const at::Tensor logits = backbone.logits(hidden), wanted = index_tensor(targets);
  BatchLoss result;
  result.loss = at::cross_entropy_loss(logits, wanted, {}, at::Reduction::Sum);
  result.right = (logits.detach().argmax(-1) == wanted).sum().item<double>();
  return result;
}

}  // namespace dt2it
