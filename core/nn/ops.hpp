// SPDX-License-Identifier: Apache-2.0
#pragma once

// The operations between the matrix products of a transformer. On the CPU in float32 each is one pass over memory, forward
// and backward; elsewhere they are made of ATen operators. All take part in autograd.

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "core/nn/attention_plan.hpp"

namespace dt2it::nn {

// x / sqrt(mean(x^2) + epsilon) * weight over the last dimension.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

// Rotary embedding: the halves of each head turned by the row's angles. x [rows, heads, dim] (rows may be apart, heads are
// dense); cos, sin [rows, dim / 2] float32.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

// silu(gate) * up
at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up);

// A plan with what devices need of it, made once for all layers.
class Attention {
 public:
  explicit Attention(AttentionPlan plan);
  ~Attention();
  const AttentionPlan& plan() const { return plan_; }

  // Softmax(q k^T / sqrt(dim)) v. q [queries, heads, dim]; k, v [keys, kv_heads, dim], heads a multiple of kv_heads;
  // rows may be apart, heads are dense. Result [queries, heads * dim].
  at::Tensor operator()(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const;

 private:
  struct Device;
  at::Tensor on_cuda(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const;
  AttentionPlan plan_;
  mutable std::unique_ptr<Device> device_;
};

// The same run by run with explicit masks on ATen's operators: for types and devices without a kernel here, and the
// oracle of the tests.
at::Tensor reference_attention(const AttentionPlan& plan, const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v);

}  // namespace dt2it::nn
