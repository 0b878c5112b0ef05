// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <fmt/format.h>

#include <map>

#include "core/nn/vision_common.hpp"

namespace dt2it::nn {
namespace {

constexpr std::size_t kKeptGrids = 256;

class Qwen3Vision final : public VisionTower {
 public:
  Qwen3Vision(const VisionConfig& config, ParameterTable& parameters);
  VisionFeatures forward(const at::Tensor& pixels, std::span<const Grid> grids,
                         const VisionPass& pass) override;

 private:
  struct Merger {
    Norm norm;
    Linear fc1, fc2;
  };
  struct Block {
    Norm norm1, norm2;
    Linear qkv, proj, fc1, fc2;
  };
  static std::vector<at::Tensor> weights_of(const Block& block) {
    return weights_in({&block.norm1, &block.norm2},
                      {&block.qkv, &block.proj, &block.fc1, &block.fc2});
  }
  // Where each patch of a frame takes its position embedding from (bilinear in the learned table, corners aligned) and its
  // rotary angles; in block order.
  struct GridTables {
    at::Tensor taps;      // [4, P] rows of the position table
    at::Tensor weights;   // [4, P, 1]
    at::Tensor cos, sin;  // [P, head_dim / 2]
  };
  const GridTables& tables(const Grid& grid);
  at::Tensor merge(const Merger& merger, const at::Tensor& x, bool norm_after_grouping) const;
  // What is the same for all blocks of a pass.
  struct Frames {
    at::Tensor cos, sin;
    Attention attention;
    AdapterPass adapters;
    Frames(at::Tensor c, at::Tensor s, AttentionPlan plan, const AdapterPass& a)
        : cos(std::move(c)), sin(std::move(s)), attention(std::move(plan)), adapters(a) {}
  };
  static at::Tensor run(const Block& block, std::int64_t heads, const at::Tensor& x,
                        const Frames& frames, bool keep);
  static at::Tensor normalise(const Norm& norm, const at::Tensor& x) {
    return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, kVisionNormEpsilon);
  }

  const VisionConfig config_;
  const at::TensorOptions options_;
  Linear patch_embed_;
  at::Tensor position_table_;
  std::vector<Block> blocks_;
  Merger merger_;
  std::vector<Merger> deepstack_;
  std::map<std::pair<std::int64_t, std::int64_t>, GridTables> tables_;
};

Qwen3Vision::Qwen3Vision(const VisionConfig& v, ParameterTable& parameters)
    : config_(v), options_(parameters.options()) {
  const std::string visual = "model.visual.";
  patch_embed_.weight = parameters.add(visual + "patch_embed.proj.weight",
                                       {v.hidden, v.channels, v.temporal, v.patch, v.patch});
  patch_embed_.bias = parameters.add(visual + "patch_embed.proj.bias", {v.hidden});
  position_table_ =
      parameters.add(visual + "pos_embed.weight", {v.position_side * v.position_side, v.hidden});
  for (std::int64_t i = 0; i < v.depth; ++i) {
    const std::string block = fmt::format("{}blocks.{}.", visual, i);
    Block made;
    made.norm1 = parameters.norm(block + "norm1", v.hidden, true);
    made.norm2 = parameters.norm(block + "norm2", v.hidden, true);
    made.qkv = parameters.linear(block + "attn.qkv", 3 * v.hidden, v.hidden, true);
    made.proj = parameters.linear(block + "attn.proj", v.hidden, v.hidden, true);
    made.fc1 = parameters.linear(block + "mlp.linear_fc1", v.intermediate, v.hidden, true);
    made.fc2 = parameters.linear(block + "mlp.linear_fc2", v.hidden, v.intermediate, true);
    blocks_.push_back(std::move(made));
  }
  const std::int64_t wide = v.hidden * v.merge * v.merge;
  const auto merger = [&](const std::string& name, std::int64_t norm_width) {
    Merger made;
    made.norm = parameters.norm(name + ".norm", norm_width, true);
    made.fc1 = parameters.linear(name + ".linear_fc1", wide, wide, true);
    made.fc2 = parameters.linear(name + ".linear_fc2", v.out_hidden, wide, true);
    return made;
  };
  merger_ = merger(visual + "merger", v.hidden);
  for (std::size_t i = 0; i < v.deepstack.size(); ++i)
    deepstack_.push_back(merger(fmt::format("{}deepstack_merger_list.{}", visual, i), wide));
}

const Qwen3Vision::GridTables& Qwen3Vision::tables(const Grid& grid) {
  const auto key = std::make_pair(grid.rows, grid.columns);
  if (const auto found = tables_.find(key); found != tables_.end()) return found->second;
  if (tables_.size() >= kKeptGrids) tables_.clear();
  const VisionConfig& v = config_;
  const std::int64_t patches = grid.rows * grid.columns, half = v.hidden / v.heads / 2;
  GridTables table{at::empty({4, patches}, at::kLong), at::empty({4, patches, 1}, at::kFloat),
                   at::empty({patches, half}, at::kFloat), at::empty({patches, half}, at::kFloat)};
  auto* taps = table.taps.data_ptr<std::int64_t>();
  auto* weights = table.weights.data_ptr<float>();
  auto* cos = table.cos.data_ptr<float>();
  auto* sin = table.sin.data_ptr<float>();
  const auto place = [&](std::int64_t i,
                         std::int64_t size) {  // in float32, as the reference's linspace
    const auto last = static_cast<float>(v.position_side - 1);
    return size == 1 ? 0.f : static_cast<float>(i) * (last / static_cast<float>(size - 1));
  };
  std::int64_t p = 0;
  for_patches(grid, v.merge, [&](std::int64_t row, std::int64_t column) {
    const float y = place(row, grid.rows), x = place(column, grid.columns);
    const auto y0 = static_cast<std::int64_t>(y), x0 = static_cast<std::int64_t>(x);
    const std::int64_t y1 = std::min(y0 + 1, v.position_side - 1),
                       x1 = std::min(x0 + 1, v.position_side - 1);
    const float dy = y - static_cast<float>(y0), dx = x - static_cast<float>(x0);
    const std::int64_t rows[4] = {y0, y0, y1, y1}, columns[4] = {x0, x1, x0, x1};
    const float share[4] = {(1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx};
    for (int k = 0; k < 4; ++k) {
      taps[k * patches + p] = rows[k] * v.position_side + columns[k];
      weights[k * patches + p] = share[k];
    }
    patch_rotary(row, column, 2 * half, cos + p * half, sin + p * half);
    ++p;
  });
  const at::Device device = options_.device();
  table = {table.taps.to(device), table.weights.to(options_), table.cos.to(device),
           table.sin.to(device)};
  return tables_.emplace(key, std::move(table)).first->second;
}

at::Tensor Qwen3Vision::merge(const Merger& merger, const at::Tensor& x,
                              bool norm_after_grouping) const {
  const std::int64_t wide = merger.fc1.weight.size(1);
  const at::Tensor grouped = norm_after_grouping ? normalise(merger.norm, x.view({-1, wide}))
                                                 : normalise(merger.norm, x).view({-1, wide});
  return apply(merger.fc2, at::gelu(apply(merger.fc1, grouped)));
}

at::Tensor Qwen3Vision::run(const Block& block, std::int64_t heads, const at::Tensor& x,
                            const Frames& frames, bool keep) {
  const AdapterPass& adapters = frames.adapters;
  const at::Tensor attended = vision_attention(normalise(block.norm1, x), block.qkv, heads,
                                               frames.cos, frames.sin, frames.attention, adapters);
  const at::Tensor y = add_linear(x, block.proj, attended, keep, adapters);
  at::Tensor wide = apply(block.fc1, normalise(block.norm2, y), adapters);
  wide = at::GradMode::is_enabled() && wide.requires_grad() ? at::gelu(wide, "tanh")
                                                            : at::gelu_(wide, "tanh");
  return add_linear(y, block.fc2, wide, false, adapters);
}

VisionFeatures Qwen3Vision::forward(const at::Tensor& pixels, std::span<const Grid> grids,
                                    const VisionPass& pass) {
  const VisionConfig& v = config_;
  const auto observe = [&](const std::string& name, const at::Tensor& value) {
    if (pass.observer) pass.observer(name, value);
  };
  std::vector<at::Tensor> places, cosines, sines;
  AttentionPlan plan;
  std::int64_t at = 0;
  for (const Grid& grid : grids) {
    const GridTables& table = tables(grid);
    const std::int64_t frame = grid.rows * grid.columns;
    const at::Tensor place =
        (position_table_.index_select(0, table.taps.view({-1})).view({4, frame, v.hidden}) *
         table.weights)
            .sum(0);
    for (std::int64_t t = 0; t < grid.frames; ++t) {
      places.push_back(place);
      cosines.push_back(table.cos);
      sines.push_back(table.sin);
      plan.add({.query = at, .count = frame, .full = at, .full_count = frame});
      plan.end_group();
      at += frame;
    }
  }
  const auto join = [](const std::vector<at::Tensor>& parts) {
    return parts.size() == 1 ? parts[0] : at::cat(parts);
  };
  const auto frames =
      std::make_shared<const Frames>(join(cosines), join(sines), std::move(plan), pass.adapters);

  at::Tensor x = at::linear(pixels, patch_embed_.weight.view({v.hidden, -1}), patch_embed_.bias);
  observe("patch_embed", x);
  x = x + join(places);
  observe("block_input", x);
  VisionFeatures features;
  features.deepstack.resize(deepstack_.size());
  const bool recording = at::GradMode::is_enabled();  // mergers may hold x
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    if (pass.recompute && recording && !pass.observer)
      x = recomputed(x, weights_of(block), [&block, heads = v.heads, frames](const at::Tensor& in) {
        return run(block, heads, in, *frames, true);
      });
    else
      x = run(block, v.heads, x, *frames, recording);
    observe(fmt::format("block{}", i), x);
    for (std::size_t k = 0; k < v.deepstack.size(); ++k)
      if (v.deepstack[k] == static_cast<std::int64_t>(i)) {
        features.deepstack[k] = merge(deepstack_[k], x, true);
        observe(fmt::format("deepstack{}", k), features.deepstack[k]);
      }
  }
  features.output = merge(merger_, x, false);
  observe("merger", features.output);
  observe("output", features.output);
  return features;
}

}  // namespace

std::unique_ptr<VisionTower> make_qwen3_vision(const VisionConfig& config,
                                               ParameterTable& parameters) {
  return std::make_unique<Qwen3Vision>(config, parameters);
}

}  // namespace dt2it::nn
