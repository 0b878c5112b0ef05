// SPDX-License-Identifier: Apache-2.0
#include "core/nn/adapters.hpp"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>

#include "core/nn/safetensors.hpp"
#include "dt2it/error.hpp"
#include "tests/core/nn/tiny_model.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;
using namespace dt2it::nn;
using namespace dt2it::testing;
namespace fs = std::filesystem;

namespace {

struct Made {
  VlModel model;
  Rng rng{21};
  std::vector<TokenTree> trees;
  explicit Made(Family family = Family::qwen3_vl) : model(tiny_config(family)) {
    model.initialise(rng);
    trees = {made_tree(rng, 2, {4, 7}), made_tree(rng, 0, {3})};
  }
  at::Tensor hidden() {
    std::vector<const TokenTree*> all;
    for (const TokenTree& tree : trees) all.push_back(&tree);
    return forward_trees(model, all, tiny_images(), HiddenState::unnormed);
  }
  void fill(double deviation) {
    at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : model.adapters()->parameters())
      for (std::int64_t i = 0; i < tensor.numel(); ++i)
        tensor.data_ptr<float>()[i] = static_cast<float>(rng.normal(0, deviation));
  }
};

LoraOptions options(std::int64_t rank = 3) {
  return {.rank = rank, .alpha = 6, .targets = {"all"}, .seed = 5};
}

// Gradients by name; resets them.
std::map<std::string, at::Tensor> gradients(
    const std::vector<std::pair<std::string, at::Tensor>>& parameters) {
  std::map<std::string, at::Tensor> all;
  for (const auto& [name, tensor] : parameters) {
    if (tensor.grad().defined()) all[name] = tensor.grad();
    tensor.mutable_grad().reset();
  }
  return all;
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return difference(a, b) / std::max(1e-3, b.abs().max().item<double>());
}

}  // namespace

TEST_CASE("New adapters change nothing, have PEFT's names and start as PEFT's do") {
  for (const Family family : {Family::qwen3_vl, Family::qwen2_5_vl}) {
    Made made(family);
    const at::Tensor before = made.hidden().detach();
    made.model.add_adapters(options());
    CHECK(made.hidden().detach().equal(before));
    const auto& adapters = made.model.adapters()->parameters();
    CHECK(adapters.size() == 2 * 2 * 7);  // two matrices, two layers, seven linear layers in each
    CHECK(adapters[0].first ==
          "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight");
    CHECK(adapters[1].first ==
          "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_B.weight");
    for (std::size_t i = 0; i < adapters.size(); i += 2) {
      const at::Tensor a = adapters[i].second.detach();
      const double bound = 1 / std::sqrt(static_cast<double>(a.size(1)));
      CHECK(a.abs().max().item<double>() <= bound);
      CHECK(a.abs().max().item<double>() > .8 * bound);
      CHECK(std::abs(a.mean().item<double>()) < .3 * bound);
      CHECK(adapters[i + 1].second.abs().max().item<double>() == 0);
    }
    Made again(family), other(family);
    again.model.add_adapters(options());
    LoraOptions seeded = options();
    seeded.seed = 6;
    other.model.add_adapters(seeded);
    CHECK(again.model.adapters()->parameters()[0].second.equal(adapters[0].second));
    CHECK_FALSE(other.model.adapters()->parameters()[0].second.equal(adapters[0].second));
    for (const auto& [name, tensor] : made.model.parameters()) CHECK_FALSE(tensor.requires_grad());
  }
}

TEST_CASE("Adapters give what merged weights give, and the gradients that follow from theirs") {
  for (const Family family : {Family::qwen3_vl, Family::qwen2_5_vl})
    for (const bool rank_stabilised : {false, true}) {
      Made made(family), whole(family);
      LoraOptions chosen = options();
      chosen.rank_stabilised = rank_stabilised;
      made.model.add_adapters(chosen);
      const double scale = rank_stabilised ? 6 / std::sqrt(3.0) : 2;
      CHECK(chosen.scale() == Approx(scale));
      made.fill(.2);
      {
        at::NoGradGuard no_grad;
        for (const auto& [name, tensor] : whole.model.parameters())
          tensor.copy_(made.model.merged_parameter(name));
      }
      for (const auto& [name, tensor] : whole.model.parameters()) tensor.requires_grad_(true);
      const at::Tensor ours = made.hidden(), theirs = whole.hidden();
      CHECK(relative(ours.detach(), theirs.detach()) < 1e-5);
      CHECK(difference(ours.detach(), Made(family).hidden().detach()) > .1);  // it does something
      (ours * ours).sum().backward();
      (theirs * theirs).sum().backward();
      for (const auto& [name, tensor] : made.model.parameters())
        CHECK_FALSE(tensor.grad().defined());
      const auto adapters = gradients(made.model.adapters()->parameters()),
                 weights = gradients(whole.model.parameters());
      int compared = 0;
      const auto& list = made.model.adapters()->parameters();
      for (std::size_t i = 0; i < list.size(); i += 2) {
        const std::string end = list[i].first.substr(list[i].first.find("layers."));
        const std::string layer = end.substr(0, end.find(".lora_A"));
        CAPTURE(layer);
        for (const auto& [name, gradient] : weights) {
          if (!name.ends_with(layer + ".weight")) continue;
          ++compared;
          const at::Tensor a = list[i].second.detach(), b = list[i + 1].second.detach();
          CHECK(relative(adapters.at(list[i].first), scale * b.t().mm(gradient)) < 1e-4);
          CHECK(relative(adapters.at(list[i + 1].first), scale * gradient.mm(a.t())) < 1e-4);
        }
      }
      CHECK(compared == 14);
    }
}

TEST_CASE(
    "Adapters can be switched off, for passes from then on only; recomputation gives the same "
    "gradients") {
  Made made;
  const at::Tensor base = made.hidden().detach();
  LoraOptions chosen = options();
  chosen.dropout = .3;
  made.model.add_adapters(chosen);
  made.fill(.2);
  std::vector<std::map<std::string, at::Tensor>> found;
  std::vector<at::Tensor> outputs;
  for (const bool recompute : {false, true}) {
    made.model.set_recompute(recompute);
    made.model.seed_dropout(17);
    const at::Tensor hidden = made.hidden();
    CHECK(made.model.use_adapters(false));
    {
      at::NoGradGuard no_grad;
      CHECK(made.hidden().equal(base));
    }
    hidden.pow(2).sum().backward();
    CHECK_FALSE(made.model.use_adapters(true));
    found.push_back(gradients(made.model.adapters()->parameters()));
    outputs.push_back(hidden.detach());
  }
  CHECK(outputs[0].equal(outputs[1]));
  CHECK(found[0].size() == 28);
  for (const auto& [name, gradient] : found[0]) CHECK(found[1].at(name).equal(gradient));
  // Dropout: another mask each pass, none without gradients.
  CHECK_FALSE(made.hidden().equal(made.hidden()));
  at::NoGradGuard no_grad;
  CHECK(made.hidden().equal(made.hidden()));
}

TEST_CASE("Dropout of one model is not disturbed by what else draws random numbers") {
  const auto passes = [](bool disturbed) {
    Made made, other;
    LoraOptions chosen = options();
    chosen.dropout = .3;
    for (Made* one : {&made, &other}) {
      one->model.add_adapters(chosen);
      one->fill(.2);
      one->model.seed_dropout(17);
    }
    std::vector<at::Tensor> outputs;
    for (int i = 0; i < 3; ++i) {
      if (disturbed) {
        at::manual_seed(static_cast<std::uint64_t>(i));
        other.hidden();
      }
      outputs.push_back(made.hidden().detach());
    }
    return outputs;
  };
  const auto alone = passes(false), disturbed = passes(true);
  CHECK_FALSE(alone[0].equal(alone[1]));
  for (std::size_t i = 0; i < alone.size(); ++i) CHECK(alone[i].equal(disturbed[i]));
}

TEST_CASE("Masks of dropout are the same bits by a loop, by threads and by tensor operations") {
  const auto by_loop = [](std::int64_t count, double rate, std::uint64_t seed) {
    at::Tensor mask = at::zeros({count}, at::kFloat);
    for (std::int64_t i = 0; i < count; ++i) {
      std::uint64_t bits = seed + 0x9e3779b97f4a7c15 * static_cast<std::uint64_t>(i + 1);
      bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
      bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
      const bool kept =
          (bits ^ (bits >> 31)) >= static_cast<std::uint64_t>(rate * 18446744073709551616.0);
      if (kept) mask.data_ptr<float>()[i] = static_cast<float>(1 / (1 - rate));
    }
    return mask;
  };
  for (const double rate : {.05, .5, .9})
    for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1} << 63, ~std::uint64_t{4}}) {
      CAPTURE(rate, seed);
      const at::Tensor expected = by_loop(300 * 301, rate, seed).view({300, 301});
      CHECK(dropout_mask({300, 301}, rate, seed, at::kCPU).equal(expected));
      CHECK(dropout_mask_by_tensors({300, 301}, rate, seed, at::kCPU).equal(expected));
    }
  // More than one chunk.
  const std::int64_t many = (std::int64_t{1} << 24) + 5;
  CHECK(dropout_mask_by_tensors({many}, .1, 7, at::kCPU)
            .equal(dropout_mask({many}, .1, 7, at::kCPU)));
}

TEST_CASE("Dropout keeps the mean of what an adapter reads") {
  Linear layer{at::zeros({1, 20000}), {}, std::make_shared<LoraPair>()};
  layer.lora->a = at::ones({1, 20000}) / 20000;
  layer.lora->b = at::ones({1, 1});
  layer.lora->scale = 1;
  layer.lora->dropout = .25;
  const at::Tensor x = at::ones({1, 20000});
  CHECK(apply(layer, x).item<double>() == Approx(1).epsilon(1e-4));
  const double one = apply(layer, x, {.dropout = true, .seed = 1}).item<double>();
  CHECK(one == Approx(1).margin(.02));
  CHECK(one == apply(layer, x, {.dropout = true, .seed = 1}).item<double>());
  CHECK(one != apply(layer, x, {.dropout = true, .seed = 2}).item<double>());
  CHECK(apply(layer, x, {.on = false, .dropout = true, .seed = 1}).item<double>() == 0);
}

TEST_CASE("A saved adapter is merged on reading and can be gone on with") {
  const TemporaryFolder folder;
  for (const auto& [family, layout] : {std::pair{Family::qwen3_vl, KeyLayout::qwen3_vl},
                                       std::pair{Family::qwen2_5_vl, KeyLayout::qwen2_5_vl}}) {
    Made made(family);
    LoraOptions chosen = options();
    chosen.rank_stabilised = true;
    chosen.targets = {"q_proj", "down_proj"};
    made.model.add_adapters(chosen);
    CHECK(made.model.adapters()->parameters().size() == 8);
    made.fill(.2);
    const fs::path base = folder.path() / "base", saved = folder.path() / "adapter";
    fs::create_directories(base);
    fs::create_directories(saved);
    NamedTensors tensors;
    for (const auto& [name, tensor] : made.model.parameters())
      tensors.emplace_back(name, tensor.detach());
    save_weights(base, tensors);
    made.model.adapters()->save(saved, base.string());
    WeightsOptions reading;
    reading.layout = layout;
    const Checkpoint merged_on_reading(saved, reading);  // finds its base
    int changed = 0;
    for (const auto& [name, tensor] : made.model.parameters()) {
      CAPTURE(name);
      const at::Tensor read = merged_on_reading.load(name);
      CHECK(difference(read, made.model.merged_parameter(name)) < 1e-5);
      changed += difference(read, tensor.detach()) > 1e-3;
    }
    CHECK(changed == 4);

    Made on(family);
    LoraOptions from = options();
    from.from = saved;
    on.model.add_adapters(from);
    const auto &first = made.model.adapters()->parameters(),
               &second = on.model.adapters()->parameters();
    REQUIRE(first.size() == second.size());
    for (std::size_t i = 0; i < first.size(); ++i) {
      CHECK(first[i].first == second[i].first);
      CHECK(first[i].second.equal(second[i].second));
      CHECK(second[i].second.requires_grad());
    }
    CHECK(on.hidden().detach().equal(made.hidden().detach()));
    // reset() brings back what the folder holds.
    on.fill(1);
    on.model.adapters()->reset();
    CHECK(first[0].second.equal(second[0].second));
    const std::string config = read_text_file(saved / "adapter_config.json");
    fs::create_directories(folder.path() / "again");
    on.model.adapters()->save(folder.path() / "again", base.string());
    CHECK(read_text_file(folder.path() / "again/adapter_config.json") == config);
  }
}

TEST_CASE("Layers that are not there, and adapters of other models, are refused by name") {
  Made made;
  LoraOptions wrong = options();
  wrong.targets = {"query"};
  CHECK_THROWS_WITH(made.model.add_adapters(wrong),
                    Catch::Contains("query") && Catch::Contains("q_proj"));
  wrong.targets = {"qkv"};  // of the tower, which is frozen
  CHECK_THROWS_AS(made.model.add_adapters(wrong), ConfigError);
  wrong.tower = true;
  Made tower;
  tower.model.add_adapters(wrong);
  CHECK(tower.model.adapters()->any_in_tower());
  CHECK(tower.model.adapters()->parameters()[0].first ==
        "base_model.model.model.visual.blocks.0.attn.qkv.lora_A.weight");
  tower.fill(.2);
  tower.hidden().pow(2).sum().backward();
  CHECK(gradients(tower.model.adapters()->parameters()).size() == 4);

  const TemporaryFolder folder;
  tower.model.adapters()->save(folder.path(), "base");
  Made other(Family::qwen3_vl);
  LoraOptions from = options();
  from.from = folder.path();
  other.model.add_adapters(from);
  ModelConfig wide = tiny_config();
  wide.vision.hidden = 32;
  VlModel wider(wide);
  CHECK_THROWS_WITH(wider.add_adapters(from), Catch::Contains("does not fit"));
  ModelConfig shallow = tiny_config();
  shallow.vision.depth = 1;
  VlModel shallower(shallow);
  CHECK_THROWS_WITH(shallower.add_adapters(from), Catch::Contains("blocks.1.attn.qkv"));
}

// What tests/peers/lora made with PEFT, and what it will read.
TEST_CASE("Hidden states and gradients of a PEFT adapter are PEFT's", "[.peer]") {
  const char* work = std::getenv("DT2IT_LORA_PEER");
  REQUIRE(work);
  for (const std::string name : {"qwen2_5_vl", "qwen3_vl"}) {
    CAPTURE(name);
    const fs::path folder = fs::path(work) / name;
    const ModelConfig config = ModelConfig::read(folder / "model/config.json");
    VlModel model(config);
    model.load(Checkpoint(folder / "model"));
    model.add_adapters({.from = folder / "adapter"});
    const SafetensorsFile stored(folder / "expected.safetensors");
    DecoderInput input;
    input.tokens = stored.load("input_ids").view({-1});
    input.positions = stored.load("position_ids").view({3, -1});
    input.visual_rows = (input.tokens == config.image_token).nonzero().squeeze(-1);
    const std::int64_t length = input.tokens.size(0);
    AttentionPlan plan;
    plan.add({.query = 0, .count = length, .own = 0, .own_count = length});
    plan.end_group();
    input.attention = std::make_shared<const Attention>(std::move(plan));
    std::vector<Grid> grids;
    const at::Tensor table = stored.load("image_grid_thw");
    for (std::int64_t i = 0; i < table.size(0); ++i)
      grids.push_back({table[i][0].item<std::int64_t>(), table[i][1].item<std::int64_t>(),
                       table[i][2].item<std::int64_t>()});
    const VisionFeatures features = model.vision(stored.load("pixel_values"), grids);
    const at::Tensor hidden = model.decode(input, &features, HiddenState::normed);
    CHECK(difference(hidden.detach(), stored.load("hidden").view({length, -1})) < 1e-4);
    (hidden * stored.load("weights").view({length, -1})).sum().backward();
    for (const auto& [key, tensor] : model.adapters()->parameters()) {
      CAPTURE(key);
      CHECK(relative(tensor.grad(), stored.load("gradient." + key)) < 1e-3);
    }
    fs::create_directories(folder / "ours");
    model.adapters()->save(folder / "ours", (folder / "model").string());
  }
}
