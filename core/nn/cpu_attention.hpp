// SPDX-License-Identifier: Apache-2.0
#pragma once

// Attention over packed sequences on the CPU in float32: blocks of scores are made by BLAS and consumed at once (Dao et al.
// 2022), each key range of a run in its turn, so no mask and no T x T matrix exists. Parallel over runs, heads and query
// blocks; the result does not depend on the number of threads.

#include <cstdint>

#include "core/nn/attention_plan.hpp"

namespace dt2it::nn::cpu {

struct AttentionShape {
  std::int64_t heads = 1, kv_heads = 1, dim = 1;  // heads is a multiple of kv_heads
  std::int64_t q_stride = 0, k_stride = 0,
               v_stride = 0;  // floats from one row to the next; heads within are dense
  float scale = 1;
};

// out [queries, heads, dim] dense; log_sums [queries, heads] (of the scaled scores) may be null. A query without keys gives 0.
void attention(const AttentionPlan& plan, const AttentionShape& shape, const float* q,
               const float* k, const float* v, float* out, float* log_sums);

// Gradients; dq [queries, heads, dim], dk, dv [keys, kv_heads, dim] are dense and must be zero before.
void attention_backward(const AttentionPlan& plan, const AttentionShape& shape, const float* q,
                        const float* k, const float* v, const float* out, const float* log_sums,
                        const float* dout, float* dq, float* dk, float* dv);

}  // namespace dt2it::nn::cpu
