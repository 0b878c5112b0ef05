// SPDX-License-Identifier: Apache-2.0
#include "core/nn/qwen3_vl.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_put.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>
#include <fmt/ranges.h>

#include <cmath>

#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

constexpr double kVisionNormEpsilon = 1e-6;
constexpr double kVisionRopeBase = 10000;

// Rotary embedding over the two halves of the last dimension; cos and sin broadcast to half of x.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const std::int64_t half = x.size(-1) / 2;
  const at::Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
  return at::cat(at::TensorList{a * cos - b * sin, b * cos + a * sin}, -1);
}

}  // namespace

at::Tensor& Qwen3VlModel::add(const std::string& name, std::vector<std::int64_t> shape) {
  parameters_.emplace_back(name, at::empty(shape, at::kFloat));
  return parameters_.back().second;
}

Qwen3VlModel::Linear Qwen3VlModel::linear(const std::string& name, std::int64_t out, std::int64_t in) {
  Linear made;
  made.weight = add(name + ".weight", {out, in});
  made.bias = add(name + ".bias", {out});
  return made;
}

Qwen3VlModel::Norm Qwen3VlModel::norm(const std::string& name, std::int64_t width) {
  Norm made;
  made.weight = add(name + ".weight", {width});
  made.bias = add(name + ".bias", {width});
  return made;
}

Qwen3VlModel::Qwen3VlModel(const Qwen3VlConfig& config) : config_(config) {
  const VisionConfig& v = config.vision;
  const TextConfig& t = config.text;
  parameters_.reserve(static_cast<std::size_t>(64 + 16 * v.depth + 11 * t.layers));
  const std::string visual = "model.visual.";
  patch_embed_.weight = add(visual + "patch_embed.proj.weight", {v.hidden, v.channels, v.temporal, v.patch, v.patch});
  patch_embed_.bias = add(visual + "patch_embed.proj.bias", {v.hidden});
  position_table_ = add(visual + "pos_embed.weight", {v.position_side * v.position_side, v.hidden});
  for (std::int64_t i = 0; i < v.depth; ++i) {
    const std::string block = fmt::format("{}blocks.{}.", visual, i);
    VisionBlock made;
    made.norm1 = norm(block + "norm1", v.hidden);
    made.norm2 = norm(block + "norm2", v.hidden);
    made.qkv = linear(block + "attn.qkv", 3 * v.hidden, v.hidden);
    made.proj = linear(block + "attn.proj", v.hidden, v.hidden);
    made.fc1 = linear(block + "mlp.linear_fc1", v.intermediate, v.hidden);
    made.fc2 = linear(block + "mlp.linear_fc2", v.hidden, v.intermediate);
    blocks_.push_back(std::move(made));
  }
  const std::int64_t wide = v.hidden * v.merge * v.merge;
  const auto merger = [&](const std::string& name, std::int64_t norm_width) {
    Merger made;
    made.norm = norm(name + ".norm", norm_width);
    made.fc1 = linear(name + ".linear_fc1", wide, wide);
    made.fc2 = linear(name + ".linear_fc2", v.out_hidden, wide);
    return made;
  };
  merger_ = merger(visual + "merger", v.hidden);
  for (std::size_t i = 0; i < v.deepstack.size(); ++i)
    deepstack_.push_back(merger(fmt::format("{}deepstack_merger_list.{}", visual, i), wide));

  const std::string language = "model.language_model.";
  embeddings_ = add(language + "embed_tokens.weight", {t.vocabulary, t.hidden});
  for (std::int64_t i = 0; i < t.layers; ++i) {
    const std::string layer = fmt::format("{}layers.{}.", language, i);
    Layer made;
    made.input_norm = add(layer + "input_layernorm.weight", {t.hidden});
    made.post_norm = add(layer + "post_attention_layernorm.weight", {t.hidden});
    made.q = add(layer + "self_attn.q_proj.weight", {t.heads * t.head_dim, t.hidden});
    made.k = add(layer + "self_attn.k_proj.weight", {t.kv_heads * t.head_dim, t.hidden});
    made.v = add(layer + "self_attn.v_proj.weight", {t.kv_heads * t.head_dim, t.hidden});
    made.o = add(layer + "self_attn.o_proj.weight", {t.hidden, t.heads * t.head_dim});
    made.q_norm = add(layer + "self_attn.q_norm.weight", {t.head_dim});
    made.k_norm = add(layer + "self_attn.k_norm.weight", {t.head_dim});
    made.gate = add(layer + "mlp.gate_proj.weight", {t.intermediate, t.hidden});
    made.up = add(layer + "mlp.up_proj.weight", {t.intermediate, t.hidden});
    made.down = add(layer + "mlp.down_proj.weight", {t.hidden, t.intermediate});
    layers_.push_back(std::move(made));
  }
  final_norm_ = add(language + "norm.weight", {t.hidden});
  lm_head_ = t.tied ? embeddings_ : add("lm_head.weight", {t.vocabulary, t.hidden});

  const std::int64_t frequencies = t.head_dim / 2;
  inverse_frequencies_ = at::pow(t.rope_theta, at::arange(frequencies, at::kFloat) * (-1.0 / static_cast<double>(frequencies)));
  frequency_axis_ = at::empty({frequencies}, at::kLong);
  auto* axis = frequency_axis_.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < frequencies; ++i) {
    axis[i] = 0;
    for (std::int64_t a : {1, 2})
      if (i % 3 == a && i < 3 * t.mrope_section[static_cast<std::size_t>(a)]) axis[i] = a;
  }
}

void Qwen3VlModel::load(const Checkpoint& weights) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : parameters_) {
    const at::Tensor stored = weights.load(name);
    if (stored.sizes() != tensor.sizes())
      throw ModelError(fmt::format("tensor '{}' has shape [{}], config.json asks for [{}]", name,
                                   fmt::join(stored.sizes(), ","), fmt::join(tensor.sizes(), ",")));
    tensor.copy_(stored);
  }
}

void Qwen3VlModel::initialise(Rng& rng) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : parameters_) {
    if (tensor.dim() == 1) {
      tensor.fill_(name.ends_with(".bias") ? 0 : 1);
      continue;
    }
    auto* data = tensor.data_ptr<float>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i)
      data[i] = static_cast<float>(rng.normal(0, config_.text.initial_deviation));
  }
}

at::Tensor Qwen3VlModel::parameter(const std::string& name) const {
  for (const auto& [own, tensor] : parameters_)
    if (own == name) return tensor;
  throw ModelError(fmt::format("this model has no parameter '{}'", name));
}

// Where each patch of a grid takes its position embedding from (bilinear in the learned table, corners aligned) and its
// rotary angles; both in block order.
const Qwen3VlModel::GridTables& Qwen3VlModel::tables(const Grid& grid) {
  const auto [found, fresh] = tables_.try_emplace({grid.rows, grid.columns});
  GridTables& table = found->second;
  if (!fresh) return table;
  const VisionConfig& v = config_.vision;
  const std::int64_t patches = grid.rows * grid.columns, quarter = v.hidden / v.heads / 4;
  table.taps = at::empty({4, patches}, at::kLong);
  table.weights = at::empty({4, patches, 1}, at::kFloat);
  table.cos = at::empty({patches, 2 * quarter}, at::kFloat);
  table.sin = at::empty({patches, 2 * quarter}, at::kFloat);
  auto* taps = table.taps.data_ptr<std::int64_t>();
  auto* weights = table.weights.data_ptr<float>();
  auto* cos = table.cos.data_ptr<float>();
  auto* sin = table.sin.data_ptr<float>();
  const auto place = [&](std::int64_t i, std::int64_t size) {  // in float32, as the reference's linspace
    const auto last = static_cast<float>(v.position_side - 1);
    return size == 1 ? 0.f : static_cast<float>(i) * (last / static_cast<float>(size - 1));
  };
  std::int64_t p = 0;
  for (std::int64_t by = 0; by < grid.rows / v.merge; ++by)
    for (std::int64_t bx = 0; bx < grid.columns / v.merge; ++bx)
      for (std::int64_t iy = 0; iy < v.merge; ++iy)
        for (std::int64_t ix = 0; ix < v.merge; ++ix, ++p) {
          const std::int64_t row = by * v.merge + iy, column = bx * v.merge + ix;
          const float y = place(row, grid.rows), x = place(column, grid.columns);
          const auto y0 = static_cast<std::int64_t>(y), x0 = static_cast<std::int64_t>(x);
          const std::int64_t y1 = std::min(y0 + 1, v.position_side - 1), x1 = std::min(x0 + 1, v.position_side - 1);
          const float dy = y - static_cast<float>(y0), dx = x - static_cast<float>(x0);
          const std::int64_t rows[4] = {y0, y0, y1, y1}, columns[4] = {x0, x1, x0, x1};
          const float share[4] = {(1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx};
          for (int k = 0; k < 4; ++k) {
            taps[k * patches + p] = rows[k] * v.position_side + columns[k];
            weights[k * patches + p] = share[k];
          }
          for (std::int64_t f = 0; f < quarter; ++f) {
            const auto frequency = static_cast<float>(
                1.0 / std::pow(kVisionRopeBase, static_cast<double>(f) / static_cast<double>(quarter)));
            const float angles[2] = {static_cast<float>(row) * frequency, static_cast<float>(column) * frequency};
            for (std::int64_t a = 0; a < 2; ++a) {
              cos[p * 2 * quarter + a * quarter + f] = std::cos(angles[a]);
              sin[p * 2 * quarter + a * quarter + f] = std::sin(angles[a]);
            }
          }
        }
  return table;
}

at::Tensor Qwen3VlModel::merge(const Merger& merger, const at::Tensor& x, bool norm_after_grouping) const {
  const std::int64_t wide = merger.fc1.weight.size(1);
  const auto normalise = [&](const at::Tensor& in) {
    return at::layer_norm(in, {in.size(-1)}, merger.norm.weight, merger.norm.bias, kVisionNormEpsilon);
  };
  const at::Tensor grouped =
      norm_after_grouping ? normalise(x.reshape({-1, wide})) : normalise(x).reshape({-1, wide});
  return at::linear(at::gelu(at::linear(grouped, merger.fc1.weight, merger.fc1.bias)), merger.fc2.weight, merger.fc2.bias);
}

// Frames of one grid as a dense batch: x is [frames * P, hidden] after the patch embedding.
at::Tensor Qwen3VlModel::vision_run(const at::Tensor& x_in, const Grid& grid, std::int64_t frames,
                                    std::vector<at::Tensor>& deep) {
  const VisionConfig& v = config_.vision;
  const GridTables& table = tables(grid);
  const std::int64_t patches = grid.rows * grid.columns, head = v.hidden / v.heads;
  const at::Tensor places =
      (position_table_.index_select(0, table.taps.view({-1})).view({4, patches, v.hidden}) * table.weights).sum(0);
  at::Tensor x = x_in.view({frames, patches, v.hidden}) + places;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const VisionBlock& block = blocks_[i];
    const at::Tensor h = at::layer_norm(x, {v.hidden}, block.norm1.weight, block.norm1.bias, kVisionNormEpsilon);
    const at::Tensor qkv =
        at::linear(h, block.qkv.weight, block.qkv.bias).view({frames, patches, 3, v.heads, head}).permute({2, 0, 3, 1, 4});
    const at::Tensor turned = rotate(qkv.narrow(0, 0, 2), table.cos, table.sin);
    const at::Tensor attended = at::scaled_dot_product_attention(turned.select(0, 0), turned.select(0, 1), qkv.select(0, 2));
    x = x + at::linear(attended.transpose(1, 2).reshape({frames, patches, v.hidden}), block.proj.weight, block.proj.bias);
    const at::Tensor g = at::layer_norm(x, {v.hidden}, block.norm2.weight, block.norm2.bias, kVisionNormEpsilon);
    x = x + at::linear(at::gelu(at::linear(g, block.fc1.weight, block.fc1.bias), "tanh"), block.fc2.weight, block.fc2.bias);
    for (std::size_t k = 0; k < v.deepstack.size(); ++k)
      if (v.deepstack[k] == static_cast<std::int64_t>(i)) deep[k] = merge(deepstack_[k], x, true);
  }
  return merge(merger_, x, false);
}

VisionFeatures Qwen3VlModel::vision(const at::Tensor& pixels, std::span<const Grid> grids) {
  const VisionConfig& v = config_.vision;
  const at::Tensor embedded = at::linear(pixels, patch_embed_.weight.view({v.hidden, -1}), patch_embed_.bias);
  std::vector<at::Tensor> outputs;
  std::vector<std::vector<at::Tensor>> deep(deepstack_.size());
  std::int64_t at = 0;
  for (std::size_t i = 0; i < grids.size();) {  // neighbours of one size go together
    std::int64_t frames = 0;
    const Grid& grid = grids[i];
    while (i < grids.size() && grids[i].rows == grid.rows && grids[i].columns == grid.columns) frames += grids[i++].frames;
    const std::int64_t rows = frames * grid.rows * grid.columns;
    std::vector<at::Tensor> run_deep(deepstack_.size());
    outputs.push_back(vision_run(embedded.narrow(0, at, rows), grid, frames, run_deep));
    for (std::size_t k = 0; k < deep.size(); ++k) deep[k].push_back(run_deep[k]);
    at += rows;
  }
  const auto join = [](const std::vector<at::Tensor>& parts) { return parts.size() == 1 ? parts[0] : at::cat(parts); };
  VisionFeatures features;
  features.output = join(outputs);
  for (const auto& parts : deep) features.deepstack.push_back(join(parts));
  return features;
}

at::Tensor Qwen3VlModel::decode(const DecoderInput& input, const VisionFeatures* features, HiddenState state,
                                std::vector<at::Tensor>* layers) {
  const TextConfig& t = config_.text;
  const std::int64_t batch = input.tokens.size(0), length = input.tokens.size(1);
  at::Tensor x = at::embedding(embeddings_, input.tokens);
  if (features)
    x = x.view({-1, t.hidden}).index_put({input.visual_rows}, features->output).view({batch, length, t.hidden});
  // [frequencies, B, T] -> [B, 1, T, frequencies]
  const at::Tensor angles =
      (input.positions.index_select(0, frequency_axis_).permute({1, 2, 0}).to(at::kFloat) * inverse_frequencies_).unsqueeze(1);
  const at::Tensor cos = angles.cos(), sin = angles.sin();
  const bool causal = !input.mask.defined();
  const std::optional<at::Tensor> mask = causal ? std::optional<at::Tensor>() : input.mask;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const at::Tensor h = at::rms_norm(x, {t.hidden}, layer.input_norm, t.norm_epsilon);
    const auto heads = [&](const at::Tensor& weight, std::int64_t count) {
      return at::linear(h, weight).view({batch, length, count, t.head_dim});
    };
    const at::Tensor q =
        rotate(at::rms_norm(heads(layer.q, t.heads), {t.head_dim}, layer.q_norm, t.norm_epsilon).transpose(1, 2), cos, sin);
    const at::Tensor k =
        rotate(at::rms_norm(heads(layer.k, t.kv_heads), {t.head_dim}, layer.k_norm, t.norm_epsilon).transpose(1, 2), cos, sin);
    const at::Tensor v = heads(layer.v, t.kv_heads).transpose(1, 2);
    const at::Tensor attended =
        at::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, std::nullopt, t.heads != t.kv_heads);
    x = x + at::linear(attended.transpose(1, 2).reshape({batch, length, t.heads * t.head_dim}), layer.o);
    const at::Tensor g = at::rms_norm(x, {t.hidden}, layer.post_norm, t.norm_epsilon);
    x = x + at::linear(at::silu(at::linear(g, layer.gate)) * at::linear(g, layer.up), layer.down);
    if (features && i < features->deepstack.size())
      x = x.view({-1, t.hidden}).index_add(0, input.visual_rows, features->deepstack[i]).view({batch, length, t.hidden});
    if (layers) layers->push_back(x);
  }
  return state == HiddenState::normed ? normed(x) : x;
}

at::Tensor Qwen3VlModel::normed(const at::Tensor& hidden) const {
  return at::rms_norm(hidden, {config_.text.hidden}, final_norm_, config_.text.norm_epsilon);
}

at::Tensor Qwen3VlModel::logits(const at::Tensor& hidden) const { return at::linear(hidden, lm_head_); }

}  // namespace dt2it::nn
