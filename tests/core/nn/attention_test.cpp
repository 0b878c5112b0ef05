// SPDX-License-Identifier: Apache-2.0
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>

#include "core/nn/ops.hpp"
#include "dt2it/rng.hpp"

using namespace dt2it;
using namespace dt2it::nn;

namespace {

at::Tensor drawn(Rng& rng, std::vector<std::int64_t> shape) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  auto* data = tensor.data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) data[i] = static_cast<float>(rng.normal(0, 1));
  return tensor;
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// Trees of a prompt and branches, windows, and the chosen rows of a last layer.
AttentionPlan mixed_plan(std::int64_t& queries, std::int64_t& keys) {
  AttentionPlan plan;
  std::int64_t q = 0, k = 0;
  const auto tree = [&](std::int64_t prompt, std::vector<std::int64_t> branches) {
    const std::int64_t base = k;
    plan.add({.query = q, .count = prompt, .own = k, .own_count = prompt});
    q += prompt, k += prompt;
    for (const std::int64_t length : branches) {
      plan.add({.query = q,
                .count = length,
                .full = base,
                .full_count = prompt,
                .own = k,
                .own_count = length});
      q += length, k += length;
    }
    plan.end_group();
  };
  tree(1100, {70, 1, 33});
  tree(5, {3});
  plan.add({.query = q, .count = 600, .full = k, .full_count = 600});  // a frame
  plan.end_group();
  q += 600, k += 600;
  plan.add({.query = q,
            .count = 2,
            .full = k,
            .full_count = 9,
            .own = k + 9,
            .own_count = 40});  // the last two of forty
  plan.end_group();
  q += 2, k += 49;
  queries = q;
  keys = k;
  return plan;
}

}  // namespace

TEST_CASE("Attention and its gradients equal masked attention, with shared key heads") {
  Rng rng(11);
  std::int64_t queries = 0, keys = 0;
  const AttentionPlan plan = mixed_plan(queries, keys);
  const Attention attention(plan);
  for (const auto& [heads, kv_heads, dim] :
       {std::array<std::int64_t, 3>{4, 2, 16}, {3, 3, 40}, {8, 1, 64}}) {
    CAPTURE(heads, kv_heads, dim);
    at::Tensor q = drawn(rng, {queries, heads, dim}), k = drawn(rng, {keys, kv_heads, dim}),
               v = drawn(rng, {keys, kv_heads, dim});
    {
      const at::NoGradGuard no_grad;
      CHECK(difference(attention(q, k, v), reference_attention(plan, q, k, v)) < 2e-6);
    }
    const at::Tensor weights = drawn(rng, {queries, heads * dim});
    std::vector<std::vector<at::Tensor>> gradients;
    for (const bool ours : {true, false}) {
      for (at::Tensor* x : {&q, &k, &v}) {
        *x = x->detach().clone();
        x->requires_grad_(true);
      }
      const at::Tensor out = ours ? attention(q, k, v) : reference_attention(plan, q, k, v);
      (out * weights).sum().backward();
      gradients.push_back({q.grad(), k.grad(), v.grad()});
    }
    for (std::size_t i = 0; i < 3; ++i)
      CHECK(difference(gradients[0][i], gradients[1][i]) <
            1e-5 * std::max(1.0, gradients[1][i].abs().max().item<double>()));
  }
}

TEST_CASE("Attention reads rows that lie apart and does not depend on the number of threads") {
  const at::NoGradGuard no_grad;
  Rng rng(12);
  AttentionPlan plan;
  plan.add({.query = 0, .count = 300, .own = 0, .own_count = 300});
  plan.end_group();
  const Attention attention(plan);
  const at::Tensor qkv = drawn(rng, {300, 3, 4, 24});
  const at::Tensor q = qkv.select(1, 0), k = qkv.select(1, 1), v = qkv.select(1, 2);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = attention(q, k, v);
  at::set_num_threads(2);
  const at::Tensor two = attention(q, k, v);
  at::set_num_threads(threads);
  CHECK(one.equal(two));
  CHECK(one.equal(attention(q.contiguous(), k.contiguous(), v.contiguous())));
}

TEST_CASE("Attention of very large and very small scores stays finite") {
  const at::NoGradGuard no_grad;
  AttentionPlan plan;
  plan.add({.query = 0, .count = 3, .own = 0, .own_count = 3});
  plan.end_group();
  at::Tensor q = at::empty({3, 1, 4}, at::kFloat).fill_(1e4), k = q.clone(), v = q.clone();
  k[1].fill_(-1e4);
  const at::Tensor out = Attention(plan)(q, k, v);
  CHECK(out.isfinite().all().item<bool>());
  CHECK(difference(out, q.view({3, 4})) < 1e-3);
}

TEST_CASE("Element-wise operations equal their definitions, forward and backward, at odd widths") {
  Rng rng(13);
  for (const std::int64_t width : {1, 7, 16, 33, 130}) {
    CAPTURE(width);
    at::Tensor x = drawn(rng, {9, width}), w = drawn(rng, {width}), up = drawn(rng, {9, width});
    const at::Tensor weights = drawn(rng, {9, width});
    const auto compare = [&](auto ours, auto definition, std::vector<at::Tensor> inputs) {
      std::vector<std::vector<at::Tensor>> results;
      for (const bool own : {true, false}) {
        std::vector<at::Tensor> leaves;
        for (const at::Tensor& input : inputs) {
          leaves.push_back(input.detach().clone());
          leaves.back().requires_grad_(true);
        }
        const at::Tensor y = own ? ours(leaves) : definition(leaves);
        (y * weights).sum().backward();
        results.push_back({y.detach()});
        for (const at::Tensor& leaf : leaves) results.back().push_back(leaf.grad());
        if (own) {
          const at::NoGradGuard no_grad;
          CHECK(difference(ours(leaves), y) == 0);
        }
      }
      for (std::size_t i = 0; i < results[0].size(); ++i)
        CHECK(difference(results[0][i], results[1][i]) <
              2e-6 * std::max(1.0, results[1][i].abs().max().item<double>()));
    };
    compare(
        [](const auto& in) { return rms_norm(in[0], in[1], 1e-6); },
        [](const auto& in) { return in[0] * (in[0].pow(2).mean(-1, true) + 1e-6).rsqrt() * in[1]; },
        {x, w});
    compare([](const auto& in) { return silu_mul(in[0], in[1]); },
            [](const auto& in) { return in[0] * in[0].sigmoid() * in[1]; }, {x * 5, up});
  }
  // Rotation: by angles and back again is where it began, and its gradient is the rotation back.
  at::Tensor x = drawn(rng, {5, 3, 40});
  const at::Tensor angles = drawn(rng, {5, 20}), cos = angles.cos(), sin = angles.sin();
  CHECK(difference(rotate(rotate(x, cos, sin), cos, -sin), x) < 1e-5);
  x.requires_grad_(true);
  const at::Tensor weights = drawn(rng, {5, 3, 40});
  (rotate(x, cos, sin) * weights).sum().backward();
  CHECK(difference(x.grad(), rotate(weights, cos, -sin)) < 1e-6);
}

TEST_CASE("The exponential within silu keeps its accuracy over the whole range") {
  const at::NoGradGuard no_grad;
  at::Tensor x = at::empty({4001}, at::kFloat);
  for (std::int64_t i = 0; i < 4001; ++i)
    x.data_ptr<float>()[i] = static_cast<float>(i - 2000) * 0.05f;
  const at::Tensor one = at::empty({4001}, at::kFloat).fill_(1);
  const at::Tensor exact = x.to(at::kDouble) * x.to(at::kDouble).sigmoid();
  CHECK(((silu_mul(x, one).to(at::kDouble) - exact).abs() / (exact.abs() + 1e-30))
            .slice(0, 300, 4001)
            .max()
            .item<double>() < 5e-7);
}

TEST_CASE(
    "Attention and its gradients on a CUDA device equal masked attention on the CPU within "
    "bfloat16") {
  if (!at::hasCUDA()) {
    std::cout << "skipped: no CUDA device: " << Catch::getResultCapture().getCurrentTestName()
              << "\n";
    return;
  }
  Rng rng(14);
  AttentionPlan frames;
  for (std::int64_t i = 0; i < 3; ++i) {
    frames.add({.query = i * 64, .count = 64, .full = i * 64, .full_count = 64});
    frames.end_group();
  }
  AttentionPlan trees;
  std::int64_t q = 0;
  for (const std::int64_t prompt : {300, 17}) {
    trees.add({.query = q, .count = prompt, .own = q, .own_count = prompt});
    const std::int64_t base = q;
    q += prompt;
    for (const std::int64_t length : {40, 1, 90}) {
      trees.add({.query = q,
                 .count = length,
                 .full = base,
                 .full_count = prompt,
                 .own = q,
                 .own_count = length});
      q += length;
    }
    trees.end_group();
  }
  for (const AttentionPlan& own : {trees, frames}) {
    const std::int64_t rows = own.queries();
    const Attention attention(own);
    std::vector<std::vector<at::Tensor>> gradients;
    std::vector<at::Tensor> outputs;
    const at::Tensor q0 = drawn(rng, {rows, 8, 64}).to(at::kBFloat16),
                     k0 = drawn(rng, {rows, 2, 64}).to(at::kBFloat16);
    const at::Tensor v0 = drawn(rng, {rows, 2, 64}).to(at::kBFloat16),
                     weights = drawn(rng, {rows, 8 * 64});
    for (const bool device : {true, false}) {
      std::vector<at::Tensor> leaves;
      for (const at::Tensor& x : {q0, k0, v0}) {
        leaves.push_back(device ? x.to(at::kCUDA) : x.to(at::kFloat));
        leaves.back().requires_grad_(true);
      }
      const at::Tensor out = device ? attention(leaves[0], leaves[1], leaves[2])
                                    : reference_attention(own, leaves[0], leaves[1], leaves[2]);
      (out.to(at::kFloat) * weights.to(out.device())).sum().backward();
      outputs.push_back(out.detach().to(at::kCPU, at::kFloat));
      gradients.push_back({});
      for (const at::Tensor& leaf : leaves)
        gradients.back().push_back(leaf.grad().to(at::kCPU, at::kFloat));
    }
    CHECK(difference(outputs[0], outputs[1]) < 0.03);
    for (std::size_t i = 0; i < 3; ++i) {
      CAPTURE(i);
      CHECK((gradients[0][i] - gradients[1][i]).norm().item<double>() <
            0.02 * gradients[1][i].norm().item<double>());
    }
  }
}
