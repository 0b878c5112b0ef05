// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "core/nn/qwen3_vl.hpp"

namespace dt2it::nn {

void append_text_positions(std::vector<std::array<std::int64_t, 3>>& positions, std::size_t count, std::int64_t& next) {
  for (std::size_t i = 0; i < count; ++i, ++next) positions.push_back({next, next, next});
}

void append_image_positions(std::vector<std::array<std::int64_t, 3>>& positions, std::int64_t rows,
                            std::int64_t columns, std::int64_t& next) {
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column)
      positions.push_back({next, next + row, next + column});
  next += std::max(rows, columns);
}

TreeBatch pack_trees(std::span<const TokenTree* const> trees, const ImageProcessorConfig& images) {
  TreeBatch batch;
  const auto count = static_cast<std::int64_t>(trees.size());
  std::size_t longest = 0, total = 0;
  bool branching = false;
  for (const TokenTree* tree : trees) {
    longest = std::max(longest, tree->tokens.size());
    total += tree->tokens.size();
    branching |= tree->branch_ends.size() > 1;
  }
  const auto length = static_cast<std::int64_t>(longest);
  DecoderInput& input = batch.input;
  input.tokens = at::zeros({count, length}, at::kLong);
  input.positions = at::zeros({3, count, length}, at::kLong);
  auto* tokens = input.tokens.data_ptr<std::int64_t>();
  auto* positions = input.positions.data_ptr<std::int64_t>();
  // Padding stands at the end, where a causal model never sees it; only siblings need a mask.
  bool* mask = nullptr;
  if (branching) {
    input.mask = at::zeros({count, 1, length, length}, at::kBool);
    mask = input.mask.data_ptr<bool>();
  }
  std::int64_t* token_rows = nullptr;
  if (total < trees.size() * longest) {
    batch.token_rows = at::empty({static_cast<std::int64_t>(total)}, at::kLong);
    token_rows = batch.token_rows.data_ptr<std::int64_t>();
  }

  struct Placed {
    std::int64_t first_feature;
    int tokens;
  };
  std::unordered_map<const PreparedVisual*, Placed> placed;  // the same image in several trees is encoded once
  std::vector<const PreparedVisual*> distinct;
  std::vector<std::int64_t> visual_rows, feature_rows;
  std::int64_t features = 0;

  for (std::size_t b = 0; b < trees.size(); ++b) {
    const TokenTree& tree = *trees[b];
    const std::size_t base = b * longest, size = tree.tokens.size();
    std::copy(tree.tokens.begin(), tree.tokens.end(), tokens + base);
    for (std::size_t axis = 0; axis < 3; ++axis)
      for (std::size_t i = 0; i < size; ++i)
        positions[axis * trees.size() * longest + base + i] = tree.positions[i][axis];
    if (token_rows)
      for (std::size_t i = 0; i < size; ++i) *token_rows++ = static_cast<std::int64_t>(base + i);
    if (mask) {
      bool* rows = mask + base * longest;
      const auto allow = [&](std::size_t row, std::size_t from, std::size_t to) {
        std::memset(rows + row * longest + from, 1, to - from);
      };
      for (std::size_t i = 0; i < tree.prefix; ++i) allow(i, 0, i + 1);
      for (std::size_t branch = 0; branch < tree.branch_ends.size(); ++branch)
        for (std::size_t begin = tree.branch_begin(branch), i = begin; i < tree.branch_ends[branch]; ++i) {
          allow(i, 0, tree.prefix);
          allow(i, begin, i + 1);
        }
      for (std::size_t i = size; i < longest; ++i) allow(i, i, i + 1);
    }
    for (const VisualRun& run : tree.visual_runs) {
      const PreparedVisual* image = tree.visuals[run.visual].get();
      const auto [at, fresh] = placed.try_emplace(image, Placed{features, image->tokens});
      if (fresh) {
        distinct.push_back(image);
        features += image->tokens;
      }
      for (std::size_t i = 0; i < run.count; ++i) {
        visual_rows.push_back(static_cast<std::int64_t>(base + run.begin + i));
        feature_rows.push_back(at->second.first_feature + static_cast<std::int64_t>(run.first_feature + i));
      }
    }
  }

  if (!distinct.empty()) {
    const auto copied = [](const std::vector<std::int64_t>& from) {
      at::Tensor to = at::empty({static_cast<std::int64_t>(from.size())}, at::kLong);
      std::copy(from.begin(), from.end(), to.data_ptr<std::int64_t>());
      return to;
    };
    input.visual_rows = copied(visual_rows);
    if (feature_rows.size() != static_cast<std::size_t>(features)) batch.feature_rows = copied(feature_rows);
    std::int64_t patches = 0;
    for (const PreparedVisual* image : distinct) {
      batch.grids.push_back({1, image->height / images.patch, image->width / images.patch});
      patches += batch.grids.back().rows * batch.grids.back().columns;
    }
    batch.pixels = at::empty({patches, images.patch_length()}, at::kFloat);
    auto* out = batch.pixels.data_ptr<float>();
    for (std::size_t k = 0; k < distinct.size(); ++k) {
      write_patches(*distinct[k], images, out);
      out += batch.grids[k].rows * batch.grids[k].columns * images.patch_length();
    }
  }
  return batch;
}

at::Tensor forward_trees(Qwen3VlModel& model, std::span<const TokenTree* const> trees,
                         const ImageProcessorConfig& images, HiddenState state) {
  TreeBatch batch = pack_trees(trees, images);
  VisionFeatures features;
  if (batch.pixels.defined()) {
    features = model.vision(batch.pixels, batch.grids);
    if (batch.feature_rows.defined()) {
      features.output = features.output.index_select(0, batch.feature_rows);
      for (at::Tensor& deep : features.deepstack) deep = deep.index_select(0, batch.feature_rows);
    }
  }
  const at::Tensor hidden = model.decode(batch.input, batch.pixels.defined() ? &features : nullptr, state);
  const at::Tensor rows = hidden.view({-1, hidden.size(-1)});
  return batch.token_rows.defined() ? rows.index_select(0, batch.token_rows) : rows;
}

}  // namespace dt2it::nn
