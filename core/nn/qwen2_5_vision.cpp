// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/nn/vision_common.hpp"

namespace dt2it::nn {
namespace {

constexpr std::size_t kKeptGrids = 256;

// Most blocks attend within windows of window x window merged tokens, the others within a frame. All of them work in
// window order: within each frame, window after window, the tokens of each row by row.
class Qwen25Vision final : public VisionTower {
 public:
  Qwen25Vision(const VisionConfig& config, ParameterTable& parameters);
  VisionFeatures forward(const at::Tensor& pixels, std::span<const Grid> grids,
                         const VisionPass& pass) override;

 private:
  struct Block {
    Norm norm1, norm2;
    Linear qkv, proj, gate, up, down;
  };
  static std::vector<at::Tensor> weights_of(const Block& block) {
    return weights_in({&block.norm1, &block.norm2},
                      {&block.qkv, &block.proj, &block.gate, &block.up, &block.down});
  }
  struct GridTables {
    std::vector<std::int64_t> order;    // which merged token of the frame stands at each place
    std::vector<std::int64_t> windows;  // merged tokens of each window
    at::Tensor cos, sin;                // [P, head_dim / 2], in window order
  };
  const GridTables& tables(const Grid& grid);
  // What is the same for all blocks of a pass.
  struct Frames {
    at::Tensor cos, sin;
    Attention whole, windows;
    AdapterPass adapters;
    Frames(at::Tensor c, at::Tensor s, AttentionPlan all, AttentionPlan parts, const AdapterPass& a)
        : cos(std::move(c)),
          sin(std::move(s)),
          whole(std::move(all)),
          windows(std::move(parts)),
          adapters(a) {}
  };
  static at::Tensor run(const Block& block, std::int64_t heads, const at::Tensor& x,
                        const Frames& frames, bool whole, bool keep);

  const VisionConfig config_;
  const at::TensorOptions options_;
  at::Tensor patch_embed_;
  std::vector<Block> blocks_;
  Norm merger_norm_;
  Linear merger_fc1_, merger_fc2_;
  std::map<std::pair<std::int64_t, std::int64_t>, GridTables> tables_;
};

Qwen25Vision::Qwen25Vision(const VisionConfig& v, ParameterTable& parameters)
    : config_(v), options_(parameters.options()) {
  const std::string visual = "visual.";
  patch_embed_ = parameters.add(visual + "patch_embed.proj.weight",
                                {v.hidden, v.channels, v.temporal, v.patch, v.patch});
  for (std::int64_t i = 0; i < v.depth; ++i) {
    const std::string block = fmt::format("{}blocks.{}.", visual, i);
    Block made;
    made.norm1 = parameters.norm(block + "norm1", v.hidden, false);
    made.norm2 = parameters.norm(block + "norm2", v.hidden, false);
    made.qkv = parameters.linear(block + "attn.qkv", 3 * v.hidden, v.hidden, true);
    made.proj = parameters.linear(block + "attn.proj", v.hidden, v.hidden, true);
    made.gate = parameters.linear(block + "mlp.gate_proj", v.intermediate, v.hidden, true);
    made.up = parameters.linear(block + "mlp.up_proj", v.intermediate, v.hidden, true);
    made.down = parameters.linear(block + "mlp.down_proj", v.hidden, v.intermediate, true);
    blocks_.push_back(std::move(made));
  }
  const std::int64_t wide = v.hidden * v.merge * v.merge;
  merger_norm_ = parameters.norm(visual + "merger.ln_q", v.hidden, false);
  merger_fc1_ = parameters.linear(visual + "merger.mlp.0", wide, wide, true);
  merger_fc2_ = parameters.linear(visual + "merger.mlp.2", v.out_hidden, wide, true);
}

const Qwen25Vision::GridTables& Qwen25Vision::tables(const Grid& grid) {
  const auto key = std::make_pair(grid.rows, grid.columns);
  if (const auto found = tables_.find(key); found != tables_.end()) return found->second;
  if (tables_.size() >= kKeptGrids) tables_.clear();
  const VisionConfig& v = config_;
  const std::int64_t rows = grid.rows / v.merge, columns = grid.columns / v.merge,
                     unit = v.merge * v.merge;
  const std::int64_t half = v.hidden / v.heads / 2;
  GridTables table;
  for (std::int64_t top = 0; top < rows; top += v.window)
    for (std::int64_t left = 0; left < columns; left += v.window) {
      const std::int64_t bottom = std::min(rows, top + v.window),
                         right = std::min(columns, left + v.window);
      for (std::int64_t row = top; row < bottom; ++row)
        for (std::int64_t column = left; column < right; ++column)
          table.order.push_back(row * columns + column);
      table.windows.push_back((bottom - top) * (right - left));
    }
  std::vector<std::pair<std::int64_t, std::int64_t>> patches;  // block order
  for_patches(grid, v.merge,
              [&](std::int64_t row, std::int64_t column) { patches.emplace_back(row, column); });
  at::Tensor cos = at::empty({grid.rows * grid.columns, half}, at::kFloat),
             sin = at::empty({grid.rows * grid.columns, half}, at::kFloat);
  auto *c = cos.data_ptr<float>(), *s = sin.data_ptr<float>();
  for (const std::int64_t token : table.order)
    for (std::int64_t i = 0; i < unit; ++i, c += half, s += half) {
      const auto& [row, column] = patches[static_cast<std::size_t>(token * unit + i)];
      patch_rotary(row, column, 2 * half, c, s);
    }
  table.cos = cos.to(options_.device());
  table.sin = sin.to(options_.device());
  return tables_.emplace(key, std::move(table)).first->second;
}

at::Tensor Qwen25Vision::run(const Block& block, std::int64_t heads, const at::Tensor& x,
                             const Frames& frames, bool whole, bool keep) {
  const AdapterPass& adapters = frames.adapters;
  const at::Tensor attended =
      vision_attention(rms_norm(x, block.norm1.weight, kVisionNormEpsilon), block.qkv, heads,
                       frames.cos, frames.sin, whole ? frames.whole : frames.windows, adapters);
  const at::Tensor y = add_linear(x, block.proj, attended, keep, adapters);
  const at::Tensor normed = rms_norm(y, block.norm2.weight, kVisionNormEpsilon);
  return add_linear(
      y, block.down,
      silu_mul(apply(block.gate, normed, adapters), apply(block.up, normed, adapters)), false,
      adapters);
}

VisionFeatures Qwen25Vision::forward(const at::Tensor& pixels, std::span<const Grid> grids,
                                     const VisionPass& pass) {
  const VisionConfig& v = config_;
  const std::int64_t unit = v.merge * v.merge;
  const auto observe = [&](const std::string& name, const at::Tensor& value) {
    if (pass.observer) pass.observer(name, value);
  };
  std::vector<at::Tensor> cosines, sines;
  std::vector<std::int64_t> order;
  AttentionPlan frames, windows;
  std::int64_t at = 0;  // patches
  for (const Grid& grid : grids) {
    const GridTables& table = tables(grid);
    for (std::int64_t t = 0; t < grid.frames; ++t) {
      const std::int64_t first = at / unit;
      for (const std::int64_t token : table.order) order.push_back(first + token);
      cosines.push_back(table.cos);
      sines.push_back(table.sin);
      const std::int64_t frame = grid.rows * grid.columns;
      frames.add({.query = at, .count = frame, .full = at, .full_count = frame});
      frames.end_group();
      for (const std::int64_t tokens : table.windows) {
        windows.add({.query = at, .count = tokens * unit, .full = at, .full_count = tokens * unit});
        windows.end_group();
        at += tokens * unit;
      }
    }
  }
  std::vector<std::int64_t> back(order.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    back[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
  const auto index = [&](const std::vector<std::int64_t>& from) {
    at::Tensor to = at::empty({static_cast<std::int64_t>(from.size())}, at::kLong);
    std::copy(from.begin(), from.end(), to.data_ptr<std::int64_t>());
    return to.to(options_.device());
  };
  const auto join = [](const std::vector<at::Tensor>& parts) {
    return parts.size() == 1 ? parts[0] : at::cat(parts);
  };
  const at::Tensor window_index = index(order);
  const auto shared = std::make_shared<const Frames>(join(cosines), join(sines), std::move(frames),
                                                     std::move(windows), pass.adapters);

  at::Tensor x = at::linear(pixels, patch_embed_.view({v.hidden, -1}));
  observe("patch_embed", x);
  observe("window_index", window_index);
  x = x.view({-1, unit, v.hidden}).index_select(0, window_index).view({-1, v.hidden});
  observe("block_input", x);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    const bool whole = std::find(v.full_attention.begin(), v.full_attention.end(),
                                 static_cast<std::int64_t>(i)) != v.full_attention.end();
    if (pass.recompute && !pass.observer)
      x = recomputed(x, weights_of(block),
                     [&block, heads = v.heads, shared, whole](const at::Tensor& in) {
                       return run(block, heads, in, *shared, whole, true);
                     });
    else
      x = run(block, v.heads, x, *shared, whole, false);
    observe(fmt::format("block{}", i), x);
  }
  const at::Tensor grouped =
      rms_norm(x, merger_norm_.weight, kVisionNormEpsilon).view({-1, v.hidden * unit});
  const at::Tensor merged = apply(merger_fc2_, at::gelu(apply(merger_fc1_, grouped)));
  observe("merger", merged);
  VisionFeatures features{merged.index_select(0, index(back)), {}};
  observe("output", features.output);
  return features;
}

}  // namespace

std::unique_ptr<VisionTower> make_qwen2_5_vision(const VisionConfig& config,
                                                 ParameterTable& parameters) {
  return std::make_unique<Qwen25Vision>(config, parameters);
}

}  // namespace dt2it::nn
