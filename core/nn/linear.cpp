// SPDX-License-Identifier: Apache-2.0
#include "core/nn/linear.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <array>

#include "dt2it/rng.hpp"

namespace dt2it::nn {
namespace {

bool records(const at::Tensor& x) { return at::GradMode::is_enabled() && x.requires_grad(); }

// SplitMix64.
constexpr std::uint64_t kIncrement = 0x9e3779b97f4a7c15;
constexpr std::array<std::uint64_t, 2> kFactors{0xbf58476d1ce4e5b9, 0x94d049bb133111eb};
constexpr std::array<int, 3> kShifts{30, 27, 31};

constexpr std::int64_t kGrain = 1 << 14, kChunk = 1 << 24;  // elements

float kept_by(double rate) { return static_cast<float>(1 / (1 - rate)); }
// An element whose random 64 bits are less is dropped.
std::uint64_t limit_of(double rate) {
  return static_cast<std::uint64_t>(rate * 18446744073709551616.0);
}
std::int64_t as_signed(std::uint64_t bits) { return static_cast<std::int64_t>(bits); }

// sum + scale * B A x
at::Tensor add_adapter(const at::Tensor& sum, const LoraPair& lora, const at::Tensor& x,
                       const AdapterPass& pass) {
  at::Tensor seen = x.to(at::kFloat);
  if (pass.dropout && lora.dropout > 0)
    seen = seen * dropout_mask(seen.sizes(), lora.dropout,
                               stable_hash(std::to_string(lora.stream), pass.seed), seen.device());
  const at::Tensor low = at::linear(seen, lora.a);
  if (sum.scalar_type() == at::kFloat && !records(low) && !records(lora.b) && !records(sum))
    return at::Tensor(sum).addmm_(low, lora.b.t(), 1, lora.scale);
  return at::addmm(sum.to(at::kFloat), low, lora.b.t(), 1, lora.scale).to(sum.scalar_type());
}

}  // namespace

at::Tensor dropout_mask(at::IntArrayRef sizes, double rate, std::uint64_t seed, at::Device device) {
  if (!device.is_cpu()) return dropout_mask_by_tensors(sizes, rate, seed, device);
  at::Tensor mask = at::empty(sizes, at::kFloat);
  auto* out = mask.data_ptr<float>();
  const float kept = kept_by(rate);
  const std::uint64_t limit = limit_of(rate);
  at::parallel_for(0, mask.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::uint64_t bits = seed + kIncrement * static_cast<std::uint64_t>(i + 1);
      bits = (bits ^ (bits >> kShifts[0])) * kFactors[0];
      bits = (bits ^ (bits >> kShifts[1])) * kFactors[1];
      out[i] = (bits ^ (bits >> kShifts[2])) < limit ? 0.f : kept;
    }
  });
  return mask;
}

// In signed numbers, which is what tensors have: they wrap around alike. A shift to the right would draw the sign in, and the
// sign bits of both sides are turned for comparing as unsigned. In chunks, since the bits take twice the mask's memory.
at::Tensor dropout_mask_by_tensors(at::IntArrayRef sizes, double rate, std::uint64_t seed,
                                   at::Device device) {
  const at::NoGradGuard no_grad;
  constexpr std::uint64_t kSign = std::uint64_t{1} << 63;
  at::Tensor mask = at::empty(sizes, at::TensorOptions(at::kFloat).device(device));
  at::Tensor flat = mask.view({-1});
  for (std::int64_t begin = 0; begin < flat.numel(); begin += kChunk) {
    const std::int64_t count = std::min(kChunk, flat.numel() - begin);
    at::Tensor bits =
        at::arange(begin + 1, begin + 1 + count, at::TensorOptions(at::kLong).device(device));
    bits.mul_(as_signed(kIncrement)).add_(as_signed(seed));
    for (std::size_t k = 0; k < kShifts.size(); ++k) {
      const std::uint64_t upper = ~std::uint64_t{0} >> kShifts[k];
      bits.bitwise_xor_(bits.bitwise_right_shift(kShifts[k]).bitwise_and_(as_signed(upper)));
      if (k < kFactors.size()) bits.mul_(as_signed(kFactors[k]));
    }
    bits.bitwise_xor_(as_signed(kSign));
    flat.narrow(0, begin, count).copy_(bits.ge(as_signed(limit_of(rate) ^ kSign)));
  }
  return mask.mul_(kept_by(rate));
}

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
