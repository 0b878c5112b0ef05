// SPDX-License-Identifier: Apache-2.0
#pragma once

// Linear layers, with a LoRA adapter where one is trained.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace dt2it::nn {

// The adapted layer is W + scale * B A (Hu et al. 2021). In float32 whatever the type of W.
struct LoraPair {
  at::Tensor a;  // [rank, in]; undefined: the layer has no adapter
  at::Tensor b;  // [out, rank]
  double scale = 0;
  double dropout = 0;        // of what A reads
  std::uint64_t stream = 0;  // tells the dropout masks of layers apart
};

// What one pass through a model does with adapters. Parts that are computed again in the backward
// pass hold a copy.
struct AdapterPass {
  bool on = true;
  bool dropout = false;
  std::uint64_t seed = 0;  // of the masks
};

struct Linear {
  at::Tensor weight, bias;         // bias may be undefined
  std::shared_ptr<LoraPair> lora;  // shared by the copies of a layer
  bool adapted(const AdapterPass& pass) const { return pass.on && lora && lora->a.defined(); }
};

// What an adapter's input of these sizes is multiplied by: 0 for `rate` of its elements, else 1 / (1 - rate), in float32. By a
// counter-based generator (SplitMix64), so that a seed's mask is the same to the bit whenever and wherever it is made.
at::Tensor dropout_mask(at::IntArrayRef sizes, double rate, std::uint64_t seed, at::Device device);
// The same by tensor operations on any device; for tests, and what other devices than the CPU do.
at::Tensor dropout_mask_by_tensors(at::IntArrayRef sizes, double rate, std::uint64_t seed,
                                   at::Device device);

at::Tensor apply(const Linear& layer, const at::Tensor& x, const AdapterPass& pass = {});

// x + layer(y), without a pass of its own for the sum. Where nothing is recorded for a backward
// pass, and unless x is to be kept, x itself is changed.
at::Tensor add_linear(const at::Tensor& x, const Linear& layer, const at::Tensor& y,
                      bool keep = false, const AdapterPass& pass = {});

}  // namespace dt2it::nn
