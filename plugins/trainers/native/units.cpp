// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/native/units.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <map>

#include "core/nn/index_tensor.hpp"
#include "plugins/trainers/native/losses.hpp"

namespace dt2it::native {
namespace {

std::vector<const TokenTree*> trees_of(std::span<const Unit* const> pack) {
  std::vector<const TokenTree*> trees;
  for (const Unit* unit : pack)
    for (const TokenTree& tree : unit->trees) trees.push_back(&tree);
  return trees;
}

}  // namespace

at::Tensor float_tensor(std::span<const float> values) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, at::kFloat);
  std::copy(values.begin(), values.end(), tensor.data_ptr<float>());
  return tensor;
}

std::size_t Unit::tokens() const {
  std::size_t sum = 0;
  for (const TokenTree& tree : trees) sum += tree.tokens.size();
  return sum;
}

std::size_t Unit::branches() const {
  std::size_t sum = 0;
  for (const TokenTree& tree : trees) sum += tree.branch_ends.size();
  return sum;
}

Unit encode_unit(Backbone& backbone, std::span<const PreferencePair> records,
                 std::span<const std::size_t> members, Objective objective,
                 const Complain& complain) {
  Unit unit;
  const auto give_up = [&](const std::string& why) {
    unit.trees.clear();
    unit.comparisons.clear();
    for (const std::size_t record : members) {
      complain(records[record], why);
      unit.left_out.push_back(record);
    }
  };
  const auto add_tree = [&](const Prompt& prompt, std::span<const std::string_view> responses) {
    EncodedTree encoded = backbone.encode(prompt, responses);
    if (encoded.status != Status::ok) {
      give_up(encoded.detail);
      return false;
    }
    if (encoded.cut) unit.cut = members.size();
    unit.trees.push_back(std::move(encoded.tree));
    return true;
  };
  const PreferencePair& first = records[members[0]];
  if (first.rejected_prompt && objective != Objective::next_token) {
    const std::string_view chosen = first.chosen.text, rejected = first.rejected.text;
    if (add_tree(first.prompt, {&chosen, 1}) && add_tree(*first.rejected_prompt, {&rejected, 1}))
      unit.comparisons.push_back({members[0], 0, 1});
    return unit;
  }
  std::vector<std::string_view> responses;  // the same text of several pairs is one branch
  std::map<std::string_view, std::size_t> places;
  const auto place = [&](const std::string& text) {
    const auto [at, fresh] = places.try_emplace(text, responses.size());
    if (fresh) responses.push_back(text);
    return at->second;
  };
  for (const std::size_t record : members) {
    const PreferencePair& pair = records[record];
    if (objective == Objective::next_token) {
      unit.comparisons.push_back({record, place(pair.chosen.text), 0});
    } else if (members.size() == 1) {
      responses = {pair.chosen.text, pair.rejected.text};
      unit.comparisons.push_back({record, 0, 1});
    } else {
      const std::size_t chosen = place(pair.chosen.text);
      unit.comparisons.push_back({record, chosen, place(pair.rejected.text)});
    }
  }
  add_tree(first.prompt, responses);
  return unit;
}

std::vector<std::span<const Unit* const>> cut_packs(std::span<const Unit* const> units,
                                                    std::size_t tokens, std::size_t comparisons) {
  std::vector<std::span<const Unit* const>> packs;
  std::size_t begin = 0, used = 0, pairs = 0;
  for (std::size_t i = 0; i < units.size(); ++i) {
    const std::size_t more = units[i]->tokens(), more_pairs = units[i]->comparisons.size();
    if (i > begin &&
        (used + more > tokens || (comparisons > 0 && pairs + more_pairs > comparisons))) {
      packs.push_back(units.subspan(begin, i - begin));
      begin = i;
      used = pairs = 0;
    }
    used += more;
    pairs += more_pairs;
  }
  if (begin < units.size()) packs.push_back(units.subspan(begin));
  return packs;
}

at::Tensor rewards_of(Backbone& backbone, const nn::RewardHead& head, HiddenState state,
                      std::span<const Unit* const> pack, const at::Tensor& drop) {
  const std::vector<const TokenTree*> trees = trees_of(pack);
  // Strictly increasing: a branch is never empty, each ends with the end of its turn.
  std::vector<std::int64_t> ends;
  std::int64_t base = 0;
  for (const TokenTree* tree : trees) {
    for (const std::size_t end : tree->branch_ends)
      ends.push_back(base + static_cast<std::int64_t>(end) - 1);
    base += static_cast<std::int64_t>(tree->tokens.size());
  }
  at::Tensor hidden = backbone.forward(trees, state, ends);
  if (drop.defined()) hidden = hidden.to(at::kFloat) * drop.to(hidden.device());
  return head(hidden);
}

SequenceLogProbabilities sequence_log_probabilities(Backbone& backbone,
                                                    std::span<const Unit* const> pack) {
  const std::vector<const TokenTree*> trees = trees_of(pack);
  // A token is predicted by the state of the one before: the first of a branch by the prompt's last, which all share.
  std::vector<std::int64_t> rows, row_of, targets, branch_of;
  SequenceLogProbabilities result;
  std::int64_t base = 0;
  for (const TokenTree* tree : trees) {
    const auto prefix = static_cast<std::int64_t>(tree->prefix);
    const auto prompt_row = static_cast<std::int64_t>(rows.size());
    rows.push_back(base + prefix - 1);
    for (std::size_t branch = 0; branch < tree->branch_ends.size(); ++branch) {
      const auto begin = static_cast<std::int64_t>(tree->branch_begin(branch));
      const auto end = static_cast<std::int64_t>(tree->branch_ends[branch]);
      for (std::int64_t i = begin; i < end; ++i) {
        if (i > begin) rows.push_back(base + i - 1);
        row_of.push_back(i == begin ? prompt_row : static_cast<std::int64_t>(rows.size()) - 1);
        targets.push_back(tree->tokens[static_cast<std::size_t>(i)]);
        branch_of.push_back(static_cast<std::int64_t>(result.tokens.size()));
      }
      result.tokens.push_back(end - begin);
    }
    base += static_cast<std::int64_t>(tree->tokens.size());
  }
  const at::Tensor hidden = backbone.forward(trees, HiddenState::normed, rows);
  const at::Tensor states = hidden.index_select(0, nn::index_tensor(row_of).to(hidden.device()));
  const at::Tensor each = log_probabilities(
      backbone, states, nn::index_tensor(targets).to(hidden.device()), result.right);
  result.sums = at::zeros({static_cast<std::int64_t>(result.tokens.size())}, each.options())
                    .index_add(0, nn::index_tensor(branch_of).to(hidden.device()), each);
  return result;
}

}  // namespace dt2it::native
