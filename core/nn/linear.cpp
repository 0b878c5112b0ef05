// SPDX-License-Identifier: Apache-2.0
#include "core/nn/linear.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>

#include "dt2it/rng.hpp"

namespace dt2it::nn {
namespace {

bool records(const at::Tensor& x) { return at::GradMode::is_enabled() && x.requires_grad(); }

// A counter-based generator: the mask of a layer and a seed is the same whenever and wherever it is
// made.
at::Tensor dropout_mask(const at::Tensor& like, double rate, std::uint64_t seed) {
  at::Tensor mask = at::empty(like.sizes(), at::kFloat);
  auto* out = mask.data_ptr<float>();
  const auto kept = static_cast<float>(1 / (1 - rate));
  const auto limit = static_cast<std::uint64_t>(rate * 18446744073709551616.0);
  for (std::int64_t i = 0; i < mask.numel(); ++i) {
    std::uint64_t bits =
        seed + 0x9e3779b97f4a7c15 * static_cast<std::uint64_t>(i + 1);  // SplitMix64
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
    out[i] = (bits ^ (bits >> 31)) < limit ? 0.f : kept;
  }
  return mask.to(like.device());
}

// sum + scale * B A x
at::Tensor add_adapter(const at::Tensor& sum, const LoraPair& lora, const at::Tensor& x,
                       const AdapterPass& pass) {
  at::Tensor seen = x.to(at::kFloat);
  if (pass.dropout && lora.dropout > 0)
    seen = seen *
           dropout_mask(seen, lora.dropout, stable_hash(std::to_string(lora.stream), pass.seed));
  const at::Tensor low = at::linear(seen, lora.a);
  if (sum.scalar_type() == at::kFloat && !records(low) && !records(lora.b) && !records(sum))
    return at::Tensor(sum).addmm_(low, lora.b.t(), 1, lora.scale);
  return at::addmm(sum.to(at::kFloat), low, lora.b.t(), 1, lora.scale).to(sum.scalar_type());
}

}  // namespace

at::Tensor apply(const Linear& layer, const at::Tensor& x, const AdapterPass& pass) {
  const at::Tensor y = at::linear(x, layer.weight, layer.bias);
  return layer.adapted(pass) ? add_adapter(y, *layer.lora, x, pass) : y;
}

at::Tensor add_linear(const at::Tensor& x, const Linear& layer, const at::Tensor& y, bool keep,
                      const AdapterPass& pass) {
  at::Tensor sum;
  if (keep || records(x) || records(y) || records(layer.weight))
    sum = at::addmm(x, y, layer.weight.t());
  else
    sum = at::Tensor(x).addmm_(y, layer.weight.t());
  if (layer.bias.defined())
    sum = records(sum) || records(layer.bias) ? sum + layer.bias : sum.add_(layer.bias);
  return layer.adapted(pass) ? add_adapter(sum, *layer.lora, y, pass) : sum;
}

}  // namespace dt2it::nn
