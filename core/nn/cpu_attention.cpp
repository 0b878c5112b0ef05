// SPDX-License-Identifier: Apache-2.0
#include "core/nn/cpu_attention.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "core/nn/cpu_kernels.hpp"

// BLAS comes with LibTorch (MKL in the CPU wheel), which exports it under the Fortran name.
extern "C" void sgemm_(const char* transpose_a, const char* transpose_b, const int* m, const int* n,
                       const int* k, const float* alpha, const float* a, const int* lda,
                       const float* b, const int* ldb, const float* beta, float* c, const int* ldc);

namespace dt2it::nn::cpu {
namespace {

constexpr std::int64_t kQueryRows =
    128;  // rows of a block: queries times the heads that share a key head
constexpr std::int64_t kKeys = 512;

// Row-major c [m, n] = a [m, k] * b + beta * c, where b is [k, n], or [n, k] when `transposed`.
void gemm(bool transposed, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c,
          std::int64_t ldc) {
  const int rows = static_cast<int>(m), columns = static_cast<int>(n), depth = static_cast<int>(k);
  const int a_stride = static_cast<int>(lda), b_stride = static_cast<int>(ldb),
            c_stride = static_cast<int>(ldc);
  const float one = 1;
  sgemm_(transposed ? "T" : "N", "N", &columns, &rows, &depth, &one, b, &b_stride, a, &a_stride,
         &beta, c, &c_stride);
}

// Row-major c [m, n] += a^T * b, a [k, m], b [k, n].
void gemm_left_transposed(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                          std::int64_t lda, const float* b, std::int64_t ldb, float* c,
                          std::int64_t ldc) {
  const int rows = static_cast<int>(m), columns = static_cast<int>(n), depth = static_cast<int>(k);
  const int a_stride = static_cast<int>(lda), b_stride = static_cast<int>(ldb),
            c_stride = static_cast<int>(ldc);
  const float one = 1;
  sgemm_("N", "T", &columns, &rows, &depth, &one, b, &b_stride, a, &a_stride, &one, c, &c_stride);
}

struct KeyRange {
  std::int64_t begin, count;
  std::int64_t
      visible_to_first;  // how many of them the block's first query sees; each further query one more
  std::int64_t visible(std::int64_t query) const {
    return std::min(count, visible_to_first + query);
  }
};

// One block: queries [first, first + queries) of a run, all heads of one key head. Rows are query-major.
struct Block {
  const AttentionShape& shape;
  std::int64_t kv_head, group, query, queries, rows;

  std::int64_t ranges(const AttentionRun& run, KeyRange (&out)[2]) const {
    std::int64_t count = 0;
    const std::int64_t first = query - run.query;
    if (run.full_count > 0) out[count++] = {run.full, run.full_count, run.full_count};
    const std::int64_t seen = run.own_count - run.count + 1 + first;
    const std::int64_t most = std::min(run.own_count, seen + queries - 1);
    if (most > 0) out[count++] = {run.own, most, seen};
    return count;
  }
  std::int64_t head(std::int64_t row) const { return kv_head * group + row % group; }
  // Copies the block's rows of [., heads, dim] with `stride` into dense [rows, dim], times `by`.
  void gather(const float* from, std::int64_t stride, float by, float* to) const {
    for (std::int64_t i = 0; i < queries; ++i)
      scaled(from + (query + i) * stride + kv_head * group * shape.dim, by,
             to + i * group * shape.dim, group * shape.dim);
  }
};

struct Task {
  std::size_t run;
  std::int64_t kv_head, first;  // first query within the run
};

Block block_of(const AttentionShape& shape, const AttentionRun& run, std::int64_t kv_head,
               std::int64_t first, std::int64_t most) {
  const std::int64_t group = shape.heads / shape.kv_heads;
  const std::int64_t queries = std::min(most, run.count - first);
  return {shape, kv_head, group, run.query + first, queries, queries * group};
}

std::int64_t queries_per_block(const AttentionShape& shape) {
  return std::max<std::int64_t>(1, kQueryRows / (shape.heads / shape.kv_heads));
}

struct Buffers {
  explicit Buffers(std::size_t floats) : storage(new float[floats]), next(storage.get()) {}
  float* take(std::int64_t count) { return std::exchange(next, next + count); }
  std::unique_ptr<float[]> storage;
  float* next;
};

}  // namespace

void attention(const AttentionPlan& plan, const AttentionShape& shape, const float* q,
               const float* k, const float* v, float* out, float* log_sums) {
  const std::int64_t most = queries_per_block(shape), dim = shape.dim;
  std::vector<Task> tasks;
  for (std::size_t r = 0; r < plan.runs.size(); ++r)
    for (std::int64_t head = 0; head < shape.kv_heads; ++head)
      for (std::int64_t first = 0; first < plan.runs[r].count; first += most)
        tasks.push_back({r, head, first});

  at::parallel_for(
      0, static_cast<std::int64_t>(tasks.size()), 1, [&](std::int64_t begin, std::int64_t end) {
        const std::int64_t rows = most * (shape.heads / shape.kv_heads);
        Buffers buffers(static_cast<std::size_t>(rows * (2 * dim + kKeys + 2)));
        float* queries = buffers.take(rows * dim);
        float* sums = buffers.take(rows * dim);  // of the values, weighted
        float* scores = buffers.take(rows * kKeys);
        float* maximum = buffers.take(rows);
        float* total = buffers.take(rows);
        for (std::int64_t t = begin; t < end; ++t) {
          const Task& task = tasks[static_cast<std::size_t>(t)];
          const AttentionRun& run = plan.runs[task.run];
          const Block block = block_of(shape, run, task.kv_head, task.first, most);
          block.gather(q, shape.q_stride, shape.scale, queries);
          std::fill_n(maximum, block.rows, -std::numeric_limits<float>::infinity());
          std::fill_n(total, block.rows, 0.f);
          bool fresh = true;
          KeyRange ranges[2];
          const std::int64_t count = block.ranges(run, ranges);
          for (std::int64_t part = 0; part < count; ++part)
            for (std::int64_t key = 0; key < ranges[part].count; key += kKeys) {
              const std::int64_t width = std::min(kKeys, ranges[part].count - key),
                                 row = ranges[part].begin + key;
              gemm(true, block.rows, width, dim, queries, dim,
                   k + row * shape.k_stride + task.kv_head * dim, shape.k_stride, 0, scores, kKeys);
              for (std::int64_t r = 0; r < block.rows; ++r) {
                const std::int64_t visible =
                    std::clamp<std::int64_t>(ranges[part].visible(r / block.group) - key, 0, width);
                const float before = maximum[r];
                const float sum = exp_row(scores + r * kKeys, visible, width, maximum[r]);
                const float shrink = maximum[r] == before ? 1.f : std::exp(before - maximum[r]);
                total[r] = total[r] * shrink + sum;
                if (!fresh && shrink != 1.f) scale(sums + r * dim, shrink, dim);
              }
              gemm(false, block.rows, dim, width, scores, kKeys,
                   v + row * shape.v_stride + task.kv_head * dim, shape.v_stride, fresh ? 0.f : 1.f,
                   sums, dim);
              fresh = false;
            }
          for (std::int64_t r = 0; r < block.rows; ++r) {
            const std::int64_t place =
                (block.query + r / block.group) * shape.heads + block.head(r);
            if (total[r] > 0)
              scaled(sums + r * dim, 1.f / total[r], out + place * dim, dim);
            else
              std::fill_n(out + place * dim, dim, 0.f);
            if (log_sums) log_sums[place] = maximum[r] + std::log(total[r]);
          }
        }
      });
}

void attention_backward(const AttentionPlan& plan, const AttentionShape& shape, const float* q,
                        const float* k, const float* v, const float* out, const float* log_sums,
                        const float* dout, float* dq, float* dk, float* dv) {
  const std::int64_t most = queries_per_block(shape), dim = shape.dim;
  const std::int64_t out_stride = shape.heads * dim, key_stride = shape.kv_heads * dim;
  const auto groups = static_cast<std::int64_t>(plan.groups.size()) - 1;
  // Gradients of keys are sums over the queries of a group: one thread has a group and a key head to itself.
  at::parallel_for(0, groups * shape.kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t rows = most * (shape.heads / shape.kv_heads);
    Buffers buffers(static_cast<std::size_t>(rows * (4 * dim + 2 * kKeys + 2)));
    float* queries = buffers.take(rows * dim);
    float* gradients = buffers.take(rows * dim);
    float* outputs = buffers.take(rows * dim);
    float* to_queries = buffers.take(rows * dim);
    float* scores = buffers.take(rows * kKeys);
    float* to_scores = buffers.take(rows * kKeys);
    float* mean = buffers.take(rows);
    for (std::int64_t t = begin; t < end; ++t) {
      const auto group = static_cast<std::size_t>(t / shape.kv_heads);
      const std::int64_t kv_head = t % shape.kv_heads;
      for (std::size_t i = plan.groups[group]; i < plan.groups[group + 1]; ++i) {
        const AttentionRun& run = plan.runs[i];
        for (std::int64_t first = 0; first < run.count; first += most) {
          const Block block = block_of(shape, run, kv_head, first, most);
          block.gather(q, shape.q_stride, shape.scale, queries);
          block.gather(dout, out_stride, 1, gradients);
          block.gather(out, out_stride, 1, outputs);
          for (std::int64_t r = 0; r < block.rows; ++r)
            mean[r] = dot(gradients + r * dim, outputs + r * dim, dim);
          std::fill_n(to_queries, block.rows * dim, 0.f);
          KeyRange ranges[2];
          const std::int64_t count = block.ranges(run, ranges);
          for (std::int64_t part = 0; part < count; ++part)
            for (std::int64_t key = 0; key < ranges[part].count; key += kKeys) {
              const std::int64_t width = std::min(kKeys, ranges[part].count - key),
                                 row = ranges[part].begin + key;
              const float* keys = k + row * shape.k_stride + kv_head * dim;
              const float* values = v + row * shape.v_stride + kv_head * dim;
              const std::int64_t place = row * key_stride + kv_head * dim;
              gemm(true, block.rows, width, dim, queries, dim, keys, shape.k_stride, 0, scores,
                   kKeys);
              for (std::int64_t r = 0; r < block.rows; ++r) {
                const std::int64_t visible =
                    std::clamp<std::int64_t>(ranges[part].visible(r / block.group) - key, 0, width);
                probability_row(
                    scores + r * kKeys, visible, width,
                    log_sums[(block.query + r / block.group) * shape.heads + block.head(r)]);
              }
              gemm_left_transposed(width, dim, block.rows, scores, kKeys, gradients, dim,
                                   dv + place, key_stride);
              gemm(true, block.rows, width, dim, gradients, dim, values, shape.v_stride, 0,
                   to_scores, kKeys);
              for (std::int64_t r = 0; r < block.rows; ++r)
                score_gradient_row(scores + r * kKeys, to_scores + r * kKeys, width, mean[r]);
              gemm(false, block.rows, dim, width, to_scores, kKeys, keys, shape.k_stride, 1,
                   to_queries, dim);
              gemm_left_transposed(width, dim, block.rows, to_scores, kKeys, queries, dim,
                                   dk + place, key_stride);
            }
          for (std::int64_t j = 0; j < block.queries; ++j)
            scaled(to_queries + j * block.group * dim, shape.scale,
                   dq + (block.query + j) * out_stride + kv_head * block.group * dim,
                   block.group * dim);
        }
      }
    }
  });
}

}  // namespace dt2it::nn::cpu
