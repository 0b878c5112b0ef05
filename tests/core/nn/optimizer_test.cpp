// SPDX-License-Identifier: Apache-2.0
#include "core/nn/optimizer.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/zeros.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "dt2it/rng.hpp"

using namespace dt2it;
using namespace dt2it::nn;

namespace {

at::Tensor random_tensor(Rng& rng, std::vector<std::int64_t> sizes, double deviation) {
  at::Tensor tensor = at::zeros(sizes, at::kFloat);
  for (std::int64_t i = 0; i < tensor.numel(); ++i)
    tensor.data_ptr<float>()[i] = static_cast<float>(rng.normal(0, deviation));
  return tensor;
}

// Of sizes and types that occur, each with a gradient but the last.
std::vector<NamedParameter> some_parameters(Rng& rng) {
  std::vector<NamedParameter> all;
  for (int i = 0; i < 40; ++i) {
    at::Tensor weight = random_tensor(rng, {1 + i % 7, 30 + i}, 1);
    if (i % 5 == 4) weight = weight.to(at::kBFloat16);
    weight.requires_grad_(true);
    weight.mutable_grad() = random_tensor(rng, weight.sizes().vec(), std::pow(10.0, i % 4 - 2))
                                .to(weight.scalar_type());
    all.push_back({"weight" + std::to_string(i), weight, true});
  }
  all.push_back({"unused", random_tensor(rng, {4}, 1).requires_grad_(true), true});
  return all;
}

}  // namespace

TEST_CASE("The norm of all gradients adds up each tensor's squares in double, in their order") {
  Rng rng(3);
  const std::vector<NamedParameter> all = some_parameters(rng);
  double sum = 0;
  for (const NamedParameter& parameter : all) {
    if (!parameter.tensor.grad().defined()) continue;
    const at::Tensor flat = parameter.tensor.grad().reshape({-1}).to(at::kFloat);
    sum += at::dot(flat, flat).item<double>();
  }
  Optimizer optimizer(all, {});
  CHECK(optimizer.clip_gradients(0) == std::sqrt(sum));
  CHECK(optimizer.clip_gradients(1) == std::sqrt(sum));
  CHECK(optimizer.clip_gradients(0) == Approx(1).epsilon(1e-3));
  CHECK(Optimizer(std::vector<NamedParameter>{}, {}).clip_gradients(1) == 0);
}

TEST_CASE("A step counts up the versions of the weights that it changes, and of no others") {
  Rng rng(4);
  const std::vector<NamedParameter> all = some_parameters(rng);
  for (const bool master : {true, false}) {
    std::vector<std::int64_t> before;
    for (const NamedParameter& parameter : all)
      before.push_back(static_cast<std::int64_t>(parameter.tensor._version()));
    OptimizerConfig config;
    config.master_weights = master;
    Optimizer optimizer(all, config);
    optimizer.clip_gradients(0);
    optimizer.step(1);
    for (std::size_t i = 0; i < all.size(); ++i) {
      CAPTURE(all[i].name);
      CHECK((static_cast<std::int64_t>(all[i].tensor._version()) > before[i]) ==
            all[i].tensor.grad().defined());
    }
  }
}
