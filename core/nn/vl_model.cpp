// SPDX-License-Identifier: Apache-2.0
#include "core/nn/vl_model.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/Version.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/pow.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <tuple>

#include "core/nn/vision_common.hpp"
#include "core/util/sha256.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {

namespace {
std::atomic<int> models_alive{0};  // in this process
}

VlModel::~VlModel() { --models_alive; }

VlModel::VlModel(const ModelConfig& config, at::TensorOptions options)
    : config_(config), table_(options) {
  ++models_alive;
  const TextConfig& t = config.text;
  const bool qwen3 = config.family == Family::qwen3_vl;
  tower_ =
      qwen3 ? make_qwen3_vision(config.vision, table_) : make_qwen2_5_vision(config.vision, table_);
  const std::string language = qwen3 ? "model.language_model." : "model.";
  embeddings_ = table_.add(language + "embed_tokens.weight", {t.vocabulary, t.hidden});
  for (std::int64_t i = 0; i < t.layers; ++i) {
    const std::string layer = fmt::format("{}layers.{}.", language, i);
    Layer made;
    made.input_norm = table_.add(layer + "input_layernorm.weight", {t.hidden});
    made.post_norm = table_.add(layer + "post_attention_layernorm.weight", {t.hidden});
    made.q = table_.linear(layer + "self_attn.q_proj", t.heads * t.head_dim, t.hidden, !qwen3);
    made.k = table_.linear(layer + "self_attn.k_proj", t.kv_heads * t.head_dim, t.hidden, !qwen3);
    made.v = table_.linear(layer + "self_attn.v_proj", t.kv_heads * t.head_dim, t.hidden, !qwen3);
    made.o = table_.linear(layer + "self_attn.o_proj", t.hidden, t.heads * t.head_dim, false);
    if (qwen3) {
      made.q_norm = table_.add(layer + "self_attn.q_norm.weight", {t.head_dim});
      made.k_norm = table_.add(layer + "self_attn.k_norm.weight", {t.head_dim});
    }
    made.gate = table_.linear(layer + "mlp.gate_proj", t.intermediate, t.hidden, false);
    made.up = table_.linear(layer + "mlp.up_proj", t.intermediate, t.hidden, false);
    made.down = table_.linear(layer + "mlp.down_proj", t.hidden, t.intermediate, false);
    layers_.push_back(std::move(made));
  }
  final_norm_ = table_.add(language + "norm.weight", {t.hidden});
  lm_head_ = t.tied ? embeddings_ : table_.add("lm_head.weight", {t.vocabulary, t.hidden});

  const std::int64_t frequencies = t.head_dim / 2;
  inverse_frequencies_ = at::pow(t.rope_theta, at::arange(frequencies, at::kFloat) *
                                                   (-1.0 / static_cast<double>(frequencies)))
                             .to(device());
  const std::vector<std::int64_t> axes = t.frequency_axes(config.family);
  frequency_axes_ = at::empty({frequencies}, at::kLong);
  std::copy(axes.begin(), axes.end(), frequency_axes_.data_ptr<std::int64_t>());
  frequency_axes_ = frequency_axes_.to(device());
}

void VlModel::load(const Checkpoint& weights, int threads) {
  const at::NoGradGuard no_grad;
  weights.copy_into(parameters(), threads);
  ++loads_;
}

void VlModel::add_adapters(const LoraOptions& options) {
  adapters_ = std::make_unique<Adapters>(config_.family, table_, options);
  seed_dropout(options.seed);
  for (const auto& [name, tensor] : parameters()) tensor.requires_grad_(false);
  for (const auto& [name, tensor] : adapters_->parameters()) tensor.requires_grad_(true);
}

void VlModel::seed_dropout(std::uint64_t seed) { dropout_ = at::detail::createCPUGenerator(seed); }

at::Tensor VlModel::merged_parameter(const std::string& name) const {
  for (const auto& [layer, linear] : table_.linears())
    if (name == layer + ".weight") return merged(linear);
  return parameter(name).detach();
}

AdapterPass VlModel::adapter_pass() const {
  AdapterPass pass;
  pass.on = adapters_on_;
  pass.dropout =
      at::GradMode::is_enabled() && adapters_on_ && adapters_ && adapters_->dropout() > 0;
  if (pass.dropout) pass.seed = at::check_generator<at::CPUGeneratorImpl>(dropout_)->random64();
  return pass;
}

FeatureCache* VlModel::usable_feature_cache(const ImageProcessorConfig& images) {
  if (!features_ || (adapters_ && adapters_->any_in_tower())) return nullptr;
  if (features_->shared() && (models_alive < 2 || at::GradMode::is_enabled())) return nullptr;
  std::uint64_t version = loads_;  // writing to a tensor counts up its version
  for (const auto& [name, tensor] : parameters()) {
    if (name.find("visual.") == std::string::npos) continue;
    if (at::GradMode::is_enabled() && tensor.requires_grad()) return nullptr;
    version += static_cast<std::uint64_t>(tensor._version());
  }
  features_->begin(version, [&] { return tower_identity(images); });
  return features_.get();
}

// Everything that the features of given pixels depend on, to the last bit on one machine.
std::string VlModel::tower_identity(const ImageProcessorConfig& images) const {
  const VisionConfig& v = config_.vision;
  std::string text = fmt::format("{} {} {} {} {} {} {} {} {} ", static_cast<int>(config_.family),
                                 v.heads, v.patch, v.merge, v.temporal, v.position_side, v.window,
                                 fmt::join(v.deepstack, ","), fmt::join(v.full_attention, ","));
  text +=
      fmt::format("{} {} {} {} {} ", fmt::join(images.mean, ","), fmt::join(images.deviation, ","),
                  device().str(), at::get_num_threads(), at::get_cpu_capability());
  for (const auto& [name, tensor] : parameters()) {
    if (name.find("visual.") == std::string::npos) continue;
    const at::Tensor host = tensor.detach().to(at::kCPU).contiguous();
    const auto* bytes = static_cast<const std::uint8_t*>(host.const_data_ptr());
    text += fmt::format("{} {} {} {} ", name, static_cast<int>(host.scalar_type()),
                        fmt::join(host.sizes().vec(), "x"),
                        sha256_hex(std::span(bytes, host.nbytes())));
  }
  return sha256_hex(text);
}

void VlModel::initialise(Rng& rng) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : parameters()) {
    if (tensor.dim() == 1) {
      tensor.fill_(name.ends_with(".bias") ? 0 : 1);
      continue;
    }
    at::Tensor values = at::empty(tensor.sizes(), at::kFloat);
    auto* data = values.data_ptr<float>();
    for (std::int64_t i = 0; i < values.numel(); ++i)
      data[i] = static_cast<float>(rng.normal(0, config_.text.initial_deviation));
    tensor.copy_(values);
  }
}

at::Tensor VlModel::parameter(const std::string& name) const {
  for (const auto& [own, tensor] : parameters())
    if (own == name) return tensor;
  throw ModelError(fmt::format("this model has no parameter '{}'", name));
}

VisionFeatures VlModel::vision(const at::Tensor& pixels, std::span<const Grid> grids,
                               const Observer& observer) {
  return tower_->forward(pixels.to(device(), type()), grids,
                         {observer, recompute_, adapter_pass()});
}

// cos and sin [T, head_dim / 2] for positions [3, T].
std::pair<at::Tensor, at::Tensor> VlModel::rotary(const at::Tensor& positions) const {
  const at::Tensor angles =
      positions.index_select(0, frequency_axes_).t().contiguous().to(at::kFloat) *
      inverse_frequencies_;
  return {angles.cos(), angles.sin()};
}

// A projection cut into heads, each normed where the family does that. [T, count, head_dim]
at::Tensor VlModel::heads(const Linear& layer, const at::Tensor& x, std::int64_t count,
                          const at::Tensor& norm, const AdapterPass& adapters) const {
  const at::Tensor all = apply(layer, x, adapters).view({x.size(0), count, config_.text.head_dim});
  return norm.defined() ? rms_norm(all, norm, config_.text.norm_epsilon) : all;
}

std::vector<at::Tensor> VlModel::weights_of(const Layer& layer) {
  std::vector<at::Tensor> all =
      weights_in({}, {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down});
  for (const at::Tensor* norm : {&layer.input_norm, &layer.post_norm, &layer.q_norm, &layer.k_norm})
    if (norm->defined()) all.push_back(*norm);
  return all;
}

at::Tensor VlModel::run_layer(std::size_t i, at::Tensor x, const LayerPass& pass, bool pruned,
                              bool keep, const Observer& observer) const {
  const TextConfig& t = config_.text;
  const Layer& layer = layers_[i];
  const AdapterPass& adapters = pass.adapters;
  const at::Tensor normed = rms_norm(x, layer.input_norm, t.norm_epsilon);
  at::Tensor k =
      rotate(heads(layer.k, normed, t.kv_heads, layer.k_norm, adapters), pass.cos, pass.sin);
  at::Tensor v = heads(layer.v, normed, t.kv_heads, {}, adapters);
  at::Tensor asking = normed, own_cos = pass.cos, own_sin = pass.sin;
  if (pruned) {
    const auto select = [&](const at::Tensor& from) { return from.index_select(0, pass.rows); };
    asking = select(normed);
    own_cos = select(pass.cos);
    own_sin = select(pass.sin);
    x = select(x);
    keep = false;
  }
  const at::Tensor q =
      rotate(heads(layer.q, asking, t.heads, layer.q_norm, adapters), own_cos, own_sin);
  if (pass.cache) {
    k = pass.cache->keys[i].index_copy_(0, pass.cache_rows, k);
    v = pass.cache->values[i].index_copy_(0, pass.cache_rows, v);
  }
  const at::Tensor attended = (pruned ? *pass.last_attention : *pass.attention)(q, k, v);
  // An observer is shown what is added before it is.
  const auto add = [&](const Linear& to, const at::Tensor& y, const char* name) {
    if (!observer) return add_linear(x, to, y, keep, adapters);
    const at::Tensor change = apply(to, y, adapters);
    observer(fmt::format("lm.layer{}.{}", i, name), change);
    return x + change;
  };
  x = add(layer.o, attended, "attn");
  keep = false;
  const at::Tensor g = rms_norm(x, layer.post_norm, t.norm_epsilon);
  return add(layer.down, silu_mul(apply(layer.gate, g, adapters), apply(layer.up, g, adapters)),
             "mlp");
}

at::Tensor VlModel::decode(const DecoderInput& input, const VisionFeatures* features,
                           HiddenState state, const Observer& observer) {
  const bool recording = at::GradMode::is_enabled();
  const auto observe = [&](const std::string& name, const at::Tensor& value) {
    if (observer) observer(name, value);
  };
  at::Tensor x = at::embedding(embeddings_, input.tokens);
  if (features) x = x.index_copy(0, input.visual_rows, features->output);
  observe("lm.inputs_embeds", x);
  const auto pass = std::make_shared<LayerPass>();
  std::tie(pass->cos, pass->sin) = rotary(input.positions);
  observe("lm.rotary_cos", pass->cos);
  observe("lm.rotary_sin", pass->sin);
  pass->rows = input.rows;
  pass->attention = input.attention;
  pass->last_attention = input.last_attention;
  pass->cache = input.cache;
  pass->cache_rows = input.cache_rows;
  pass->adapters = adapter_pass();
  const bool recompute = recompute_ && recording && !observer && !input.cache;
  const std::size_t deep = features ? features->deepstack.size() : 0;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const bool last = i + 1 == layers_.size();
    const bool pruned = last && input.rows.defined() && i >= deep && !observer;
    if (recompute)
      x = recomputed(x, weights_of(layers_[i]), [this, i, pass, pruned](const at::Tensor& in) {
        return run_layer(i, in, *pass, pruned, true, {});
      });
    else
      x = run_layer(i, x, *pass, pruned, false, observer);
    observe(fmt::format("lm.layer{}", i), x);
    if (i < deep) {
      x = recording ? x.index_add(0, input.visual_rows, features->deepstack[i])
                    : x.index_add_(0, input.visual_rows, features->deepstack[i]);
      observe(fmt::format("lm.layer{}_deepstack", i), x);
    }
    if (last && input.rows.defined() && !pruned) x = x.index_select(0, input.rows);
  }
  if (state == HiddenState::unnormed) return x;
  x = normed(x);
  observe("lm.final_norm", x);
  return x;
}

at::Tensor VlModel::normed(const at::Tensor& hidden) const {
  return rms_norm(hidden, final_norm_, config_.text.norm_epsilon);
}

at::Tensor VlModel::logits(const at::Tensor& hidden) const { return at::linear(hidden, lm_head_); }

KeyValueCache VlModel::make_cache(std::int64_t capacity) const {
  KeyValueCache cache;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    cache.keys.push_back(
        at::empty({capacity, config_.text.kv_heads, config_.text.head_dim}, table_.options()));
    cache.values.push_back(
        at::empty({capacity, config_.text.kv_heads, config_.text.head_dim}, table_.options()));
  }
  return cache;
}

}  // namespace dt2it::nn
