// SPDX-License-Identifier: Apache-2.0
#include "core/nn/reward_head.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tanh.h>

#include <catch2/catch.hpp>

#include "dt2it/error.hpp"
#include "tests/core/nn/golden.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;
using namespace dt2it::nn;
using Catch::Matchers::Contains;

namespace {

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace

TEST_CASE(
    "A linear head is saved as LLaMA-Factory reads it, and computes in float32 for any type") {
  const dt2it::testing::TemporaryFolder folder;
  RewardHead head{at::randn({1, 24}), at::randn({1})};
  head.save(folder.path());
  const SafetensorsFile file(folder.path() / "value_head.safetensors");
  CHECK(file.load("v_head.summary.weight").equal(head.weight));
  CHECK(file.load("v_head.summary.bias").equal(head.bias));
  const RewardHead read = RewardHead::load(folder.path(), 24);
  const at::Tensor hidden = at::randn({5, 24}).to(at::kBFloat16);
  const at::Tensor rewards = read(hidden);
  CHECK(rewards.scalar_type() == at::kFloat);
  CHECK(difference(rewards, at::matmul(hidden.to(at::kFloat), head.weight[0]) + head.bias) < 1e-5);
  CHECK_THROWS_WITH(RewardHead::load(folder.path(), 32),
                    Contains("24") && Contains("32") && Contains("value_head.safetensors"));
  head.bias = at::Tensor();
  head.save(folder.path());  // LLaMA-Factory's layer always has a bias
  CHECK(SafetensorsFile(folder.path() / "value_head.safetensors")
            .load("v_head.summary.bias")
            .item<float>() == 0);
}

TEST_CASE("A two-layer head: what it computes, its gradients, its files") {
  const dt2it::testing::TemporaryFolder folder;
  RewardHead head{at::randn({1, 12}), at::randn({1}), at::randn({12, 12}) / 4, at::randn({12})};
  const at::Tensor hidden = at::randn({7, 12}).requires_grad_(true);
  for (at::Tensor* parameter : {&head.weight, &head.bias, &head.dense, &head.dense_bias})
    parameter->requires_grad_(true);
  const at::Tensor rewards = head(hidden);
  const at::Tensor inner =
      at::tanh(at::matmul(hidden.detach(), head.dense.detach().t()) + head.dense_bias.detach());
  CHECK(difference(rewards.detach(),
                   at::matmul(inner, head.weight.detach()[0]) + head.bias.detach()) < 1e-5);
  rewards.sum().backward();
  CHECK(difference(head.weight.grad()[0], inner.sum(0)) < 1e-4);
  CHECK(head.bias.grad().item<float>() == 7);
  const at::Tensor back = head.weight.detach() * (1 - inner * inner);
  CHECK(difference(hidden.grad(), at::matmul(back, head.dense.detach())) < 1e-4);
  CHECK(difference(head.dense.grad(), at::matmul(back.t(), hidden.detach())) < 1e-4);

  head.save(folder.path());
  CHECK(difference(RewardHead::load(folder.path(), 12)(hidden).detach(), rewards.detach()) == 0);
  for (const HeadLayout layout : {HeadLayout::score, HeadLayout::rm_head}) {
    const dt2it::testing::TemporaryFolder other;
    save_weights(other.path(), head.tensors(layout));
    CHECK(difference(RewardHead::load(other.path(), Checkpoint(other.path()), 12)(hidden).detach(),
                     rewards.detach()) == 0);
  }
  CHECK_THROWS_WITH(head.tensors(HeadLayout::llama_factory), Contains("two layers"));
}

TEST_CASE("Rewards are normalised where OpenRLHF would, and a head without bias has none") {
  const dt2it::testing::TemporaryFolder folder;
  const at::Tensor weight = at::randn({1, 6}), hidden = at::randn({3, 6});
  save_weights(folder.path(), {{"score.weight", weight}});
  CHECK_FALSE(RewardHead::load(folder.path(), 6).bias.defined());
  const at::Tensor raw = at::matmul(hidden, weight[0]);
  CHECK(difference(RewardHead::load(folder.path(), 6)(hidden), raw) < 1e-6);
  write_text_file(folder.path() / "config.json",
                  R"({"mean": 0.5, "std": 2.0, "normalize_reward": true})");
  CHECK(difference(RewardHead::load(folder.path(), 6)(hidden), (raw - 0.5) / 2) < 1e-6);
}

TEST_CASE("The reference checkpoints' heads and weights are read in full") {
  if (dt2it::testing::golden_absent()) return;
  for (const char* name : {"qwen2_5_vl", "qwen3_vl", "qwen3_vl_tied", "qwen3_vl_sharded"}) {
    const auto folder = dt2it::testing::golden_folder() / "models" / name;
    CAPTURE(name);
    CHECK(RewardHead::load(folder, 64).bias.defined());
    const Checkpoint checkpoint(folder);
    CHECK(checkpoint.names().size() >= 90);
    CHECK(checkpoint.contains("lm_head.weight"));
    const bool old = std::string(name) == "qwen2_5_vl";
    CHECK(checkpoint.load("lm_head.weight").sizes() == at::IntArrayRef({1056, 64}));
    CHECK(checkpoint.weights()->tied() == (std::string(name) == "qwen3_vl_tied"));
    CHECK(checkpoint.contains(old ? "model.layers.2.mlp.up_proj.weight"
                                  : "model.language_model.layers.2.mlp.up_proj.weight"));
    for (const std::string& tensor : checkpoint.names())
      CHECK(checkpoint.view(tensor).equal(checkpoint.load(tensor)));
  }
  // The shards hold what the one file holds.
  const Checkpoint whole(dt2it::testing::golden_folder() / "models/qwen3_vl"),
      sharded(dt2it::testing::golden_folder() / "models/qwen3_vl_sharded");
  CHECK(whole.names().size() == sharded.names().size());
  for (const std::string& tensor : whole.names())
    CHECK(whole.load(tensor).equal(sharded.load(tensor)));
}
