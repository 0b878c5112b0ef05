// SPDX-License-Identifier: Apache-2.0
#include "core/nn/packed_batch.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <unordered_map>

#include "core/nn/index_tensor.hpp"

namespace dt2it::nn {
namespace {

// Runs of a tree whose first token is row `base`; queries are numbered from `query` on.
struct Placed {
  std::int64_t base, query;
};

// The prompt, then each branch, causal within itself; branches see the whole prompt.
void add_runs(const TokenTree& tree, Placed at, AttentionPlan& plan) {
  const auto prefix = static_cast<std::int64_t>(tree.prefix);
  if (prefix > 0)
    plan.add({.query = at.query, .count = prefix, .own = at.base, .own_count = prefix});
  for (std::size_t branch = 0; branch < tree.branch_ends.size(); ++branch) {
    const auto begin = static_cast<std::int64_t>(tree.branch_begin(branch));
    const auto count = static_cast<std::int64_t>(tree.branch_ends[branch]) - begin;
    if (count == 0) continue;
    plan.add({.query = at.query + begin,
              .count = count,
              .full = at.base,
              .full_count = prefix,
              .own = at.base + begin,
              .own_count = count});
  }
  plan.end_group();
}

// The same for some tokens of a tree only (their indices, increasing).
void add_chosen_runs(const TokenTree& tree, std::span<const std::int64_t> tokens, Placed at,
                     AttentionPlan& plan) {
  std::size_t branch = 0;
  for (std::size_t i = 0; i < tokens.size();) {
    const std::int64_t first = tokens[i];
    while (branch < tree.branch_ends.size() &&
           first >= static_cast<std::int64_t>(tree.branch_ends[branch]))
      ++branch;
    const bool in_prompt = first < static_cast<std::int64_t>(tree.prefix);
    const std::int64_t begin = in_prompt ? 0 : static_cast<std::int64_t>(tree.branch_begin(branch));
    const auto end = static_cast<std::int64_t>(in_prompt ? tree.prefix : tree.branch_ends[branch]);
    std::int64_t count = 1;
    while (i + static_cast<std::size_t>(count) < tokens.size() && first + count < end &&
           tokens[i + static_cast<std::size_t>(count)] == first + count)
      ++count;
    AttentionRun run{.query = at.query,
                     .count = count,
                     .own = at.base + begin,
                     .own_count = first + count - begin};
    if (!in_prompt) {
      run.full = at.base;
      run.full_count = static_cast<std::int64_t>(tree.prefix);
    }
    plan.add(run);
    at.query += count;
    i += static_cast<std::size_t>(count);
  }
  plan.end_group();
}

}  // namespace

PackedBatch pack_trees(std::span<const TokenTree* const> trees, const ImageProcessorConfig& images,
                       std::span<const std::int64_t> rows) {
  PackedBatch batch;
  std::int64_t total = 0;
  for (const TokenTree* tree : trees) total += static_cast<std::int64_t>(tree->tokens.size());
  DecoderInput& input = batch.input;
  input.tokens = at::empty({total}, at::kLong);
  input.positions = at::empty({3, total}, at::kLong);
  auto* tokens = input.tokens.data_ptr<std::int64_t>();
  auto* positions = input.positions.data_ptr<std::int64_t>();

  struct Encoded {
    std::int64_t first_feature;
  };
  std::unordered_map<const PreparedVisual*, Encoded>
      encoded;  // the same image in several trees is encoded once
  std::vector<std::int64_t> visual_rows, feature_rows, chosen;
  std::int64_t features = 0, base = 0;
  std::size_t next_row = 0;
  AttentionPlan plan, last_plan;
  for (const TokenTree* tree : trees) {
    const auto size = static_cast<std::int64_t>(tree->tokens.size());
    std::copy(tree->tokens.begin(), tree->tokens.end(), tokens + base);
    for (std::int64_t i = 0; i < size; ++i)
      for (std::int64_t axis = 0; axis < 3; ++axis)
        positions[axis * total + base + i] =
            tree->positions[static_cast<std::size_t>(i)][static_cast<std::size_t>(axis)];
    add_runs(*tree, {base, base}, plan);
    if (!rows.empty()) {
      chosen.clear();
      const std::size_t before = next_row;
      for (; next_row < rows.size() && rows[next_row] < base + size; ++next_row)
        chosen.push_back(rows[next_row] - base);
      add_chosen_runs(*tree, chosen, {base, static_cast<std::int64_t>(before)}, last_plan);
    }
    for (const VisualRun& run : tree->visual_runs) {
      const PreparedVisual* visual = tree->visuals[run.visual].get();
      const auto [place, fresh] = encoded.try_emplace(visual, Encoded{features});
      if (fresh) {
        batch.visuals.push_back(tree->visuals[run.visual]);
        features += visual->tokens;
      }
      for (std::size_t i = 0; i < run.count; ++i) {
        visual_rows.push_back(base + static_cast<std::int64_t>(run.begin + i));
        feature_rows.push_back(place->second.first_feature +
                               static_cast<std::int64_t>(run.first_feature + i));
      }
    }
    base += size;
  }
  input.attention = std::make_shared<const Attention>(std::move(plan));
  if (!rows.empty()) {
    input.rows = index_tensor(rows);
    input.last_attention = std::make_shared<const Attention>(std::move(last_plan));
  }
  if (batch.visuals.empty()) return batch;

  input.visual_rows = index_tensor(visual_rows);
  bool in_order = static_cast<std::int64_t>(feature_rows.size()) == features;
  for (std::size_t i = 0; in_order && i < feature_rows.size(); ++i)
    in_order = feature_rows[i] == static_cast<std::int64_t>(i);
  if (!in_order) batch.feature_rows = index_tensor(feature_rows);
  batch.images = images;
  for (const auto& visual : batch.visuals) {
    const std::int64_t steps = (visual->frames + images.temporal - 1) / images.temporal;
    batch.grids.push_back({steps, visual->height / images.patch, visual->width / images.patch});
  }
  return batch;
}

namespace {

// Some visuals of a batch through the tower, in the order given.
VisionFeatures computed(VlModel& model, const PackedBatch& batch,
                        std::span<const std::size_t> which) {
  std::vector<Grid> grids;
  std::int64_t patches = 0;
  for (const std::size_t k : which) {
    grids.push_back(batch.grids[k]);
    patches += grids.back().patches();
  }
  const at::Tensor pixels = at::empty({patches, batch.images.patch_length()}, at::kFloat);
  auto* out = pixels.data_ptr<float>();
  for (std::size_t i = 0; i < which.size(); ++i) {
    write_patches(*batch.visuals[which[i]], batch.images, out);
    out += grids[i].patches() * batch.images.patch_length();
  }
  return model.vision(pixels, grids);
}

std::vector<std::size_t> all_of(const PackedBatch& batch) {
  std::vector<std::size_t> all(batch.visuals.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

// The features of each, apart. Copies, so that those of one do not hold the others' memory.
std::vector<VisionFeatures> computed_apart(VlModel& model, const PackedBatch& batch,
                                           std::span<const std::size_t> which) {
  const VisionFeatures together = computed(model, batch, which);
  std::vector<VisionFeatures> apart;
  std::int64_t first = 0;
  for (const std::size_t k : which) {
    const std::int64_t tokens =
        batch.grids[k].patches() / (batch.images.merge * batch.images.merge);
    VisionFeatures& one = apart.emplace_back();
    one.output = together.output.narrow(0, first, tokens).clone();
    for (const at::Tensor& deep : together.deepstack)
      one.deepstack.push_back(deep.narrow(0, first, tokens).clone());
    first += tokens;
  }
  return apart;
}

VisionFeatures cached(VlModel& model, const PackedBatch& batch, FeatureCache& cache) {
  const at::NoGradGuard no_grad;
  std::vector<VisionFeatures> all;
  if (cache.shared()) {
    all = cache.get_all(batch.visuals, [&](std::span<const std::size_t> missing) {
      return computed_apart(model, batch, missing);
    });
  } else {
    // One by one: what is in the cache must not depend on what else was seen with it, for a training that goes on.
    for (std::size_t k = 0; k < batch.visuals.size(); ++k)
      all.push_back(cache.get(*batch.visuals[k], [&] { return computed(model, batch, {&k, 1}); }));
  }
  std::vector<std::vector<at::Tensor>> parts;
  for (const VisionFeatures& one : all) {
    parts.resize(1 + one.deepstack.size());
    parts[0].push_back(one.output);
    for (std::size_t i = 0; i < one.deepstack.size(); ++i) parts[i + 1].push_back(one.deepstack[i]);
  }
  const auto join = [&](const std::vector<at::Tensor>& list) {
    return (list.size() == 1 ? list[0] : at::cat(list)).to(model.device());
  };
  VisionFeatures features{join(parts[0]), {}};
  for (std::size_t i = 1; i < parts.size(); ++i) features.deepstack.push_back(join(parts[i]));
  return features;
}

}  // namespace

VisionFeatures vision_features(VlModel& model, const PackedBatch& batch) {
  FeatureCache* cache = model.usable_feature_cache(batch.images);
  VisionFeatures features =
      cache ? cached(model, batch, *cache) : computed(model, batch, all_of(batch));
  if (batch.feature_rows.defined()) {
    const at::Tensor rows = batch.feature_rows.to(model.device());
    features.output = features.output.index_select(0, rows);
    for (at::Tensor& deep : features.deepstack) deep = deep.index_select(0, rows);
  }
  return features;
}

at::Tensor forward_packed(VlModel& model, PackedBatch& batch, HiddenState state) {
  const bool seeing = !batch.visuals.empty();
  VisionFeatures features;
  if (seeing) features = vision_features(model, batch);
  DecoderInput& input = batch.input;
  for (at::Tensor* tensor : {&input.tokens, &input.positions, &input.visual_rows, &input.rows})
    if (tensor->defined()) *tensor = tensor->to(model.device());
  return model.decode(input, seeing ? &features : nullptr, state);
}

at::Tensor forward_trees(VlModel& model, std::span<const TokenTree* const> trees,
                         const ImageProcessorConfig& images, HiddenState state,
                         std::span<const std::int64_t> rows) {
  PackedBatch batch = pack_trees(trees, images, rows);
  return forward_packed(model, batch, state);
}

}  // namespace dt2it::nn
