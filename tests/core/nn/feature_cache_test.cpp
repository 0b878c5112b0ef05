// SPDX-License-Identifier: Apache-2.0
#include "core/nn/feature_cache.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <thread>

#include "core/nn/optimizer.hpp"
#include "core/nn/text_file.hpp"
#include "dt2it/error.hpp"
#include "tests/core/nn/tiny_model.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;
using namespace dt2it::nn;
using namespace dt2it::testing;
namespace fs = std::filesystem;

namespace {

struct Seeing {
  VlModel model;
  FeatureCache* cache = nullptr;
  ImageProcessorConfig images = tiny_images();
  explicit Seeing(Family family = Family::qwen3_vl, std::uint64_t seed = 31,
                  at::ScalarType type = at::kFloat)
      : model(tiny_config(family), type) {
    Rng rng(seed);
    model.initialise(rng);
    freeze(true);
  }
  Seeing& with(const FeatureCacheOptions& options) {
    auto made = std::make_unique<FeatureCache>(options);
    cache = made.get();
    model.set_feature_cache(std::move(made));
    return *this;
  }
  void freeze(bool tower) {
    for (const auto& [name, tensor] : model.parameters())
      tensor.requires_grad_(!tower || name.find("visual.") == std::string::npos);
  }
  VisionFeatures see(const std::vector<const TokenTree*>& trees) {
    return vision_features(model, pack_trees(trees, images));
  }
};

std::vector<TokenTree> some_trees() {
  Rng rng(32);
  std::vector<TokenTree> trees;
  for (int i = 0; i < 4; ++i) trees.push_back(made_tree(rng, 1 + i % 2, {3}));
  return trees;
}

bool same(const VisionFeatures& a, const VisionFeatures& b) {
  bool equal = a.output.equal(b.output) && a.deepstack.size() == b.deepstack.size();
  for (std::size_t i = 0; equal && i < a.deepstack.size(); ++i)
    equal = a.deepstack[i].equal(b.deepstack[i]);
  return equal;
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".features") files.push_back(entry.path());
  return files;
}

constexpr std::uint64_t kMuch = 64 << 20;

}  // namespace

TEST_CASE("Cached features are those of the tower, and do not depend on what is beside a picture") {
  const std::vector<TokenTree> trees = some_trees();  // 6 pictures
  for (const Family family : {Family::qwen3_vl, Family::qwen2_5_vl}) {
    Seeing plain(family), cold(family), warm(family);
    cold.with({.memory_bytes = kMuch});
    warm.with({.memory_bytes = kMuch});
    const std::vector<const TokenTree*> all{&trees[0], &trees[1], &trees[2], &trees[3]};
    warm.see({&trees[2], &trees[1]});
    CHECK(warm.cache->made() == 3);
    const VisionFeatures a = cold.see(all), b = warm.see(all), c = cold.see(all);
    CHECK(cold.cache->made() == 6);
    CHECK(warm.cache->made() == 6);
    CHECK(same(a, b));
    CHECK(same(a, c));
    const VisionFeatures without = plain.see(all);
    const auto apart = [](const at::Tensor& x, const at::Tensor& y) {
      return difference(x, y) / std::max(1.0, y.abs().max().item<double>());
    };
    CHECK(apart(a.output, without.output) < 1e-6);
    for (std::size_t i = 0; i < a.deepstack.size(); ++i)
      CHECK(apart(a.deepstack[i], without.deepstack[i]) < 1e-6);
    // The whole pass, with its gradients.
    std::vector<at::Tensor> gradients;
    for (Seeing* seeing : {&cold, &warm}) {
      forward_trees(seeing->model, all, seeing->images, HiddenState::unnormed)
          .pow(2)
          .sum()
          .backward();
      for (const auto& [name, tensor] : seeing->model.parameters())
        if (tensor.grad().defined()) gradients.push_back(tensor.grad());
    }
    REQUIRE(gradients.size() > 20);
    for (std::size_t i = 0; i < gradients.size() / 2; ++i)
      CHECK(gradients[i].equal(gradients[i + gradients.size() / 2]));
    CHECK(cold.cache->made() == 6);
  }
}

TEST_CASE("Memory stays within its budget and forgets the least recently used") {
  const std::vector<TokenTree> trees = some_trees();
  Seeing all;
  all.with({.memory_bytes = kMuch});
  const auto take = [](Seeing& seeing, std::size_t i, const std::vector<TokenTree>& from) {
    seeing.see({&from[i]});
  };
  take(all, 0, trees);
  const std::uint64_t one = all.cache->held_bytes();
  take(all, 2, trees);
  const std::uint64_t both = all.cache->held_bytes();
  CHECK(both > one);
  Seeing small;
  small.with({.memory_bytes = both});
  for (const std::size_t i : {0, 2, 0, 1, 0}) {
    take(small, i, trees);
    CHECK(small.cache->held_bytes() <= both);
  }
  Seeing none;
  none.with({.memory_bytes = 16});
  take(none, 0, trees);
  take(none, 0, trees);
  CHECK(none.cache->made() == 2);
  CHECK(none.cache->held_bytes() == 0);
}

TEST_CASE("Features of changed weights are never used, and none while the tower trains") {
  const std::vector<TokenTree> trees = some_trees();
  const std::vector<const TokenTree*> all{&trees[0], &trees[1]};
  Seeing seeing;
  seeing.with({.memory_bytes = kMuch});
  const at::Tensor before = seeing.see(all).output;
  {
    at::NoGradGuard no_grad;
    seeing.model.parameter("model.visual.merger.linear_fc2.bias").add_(1);
  }
  CHECK(difference(seeing.see(all).output, before + 1) < 1e-5);
  seeing.freeze(false);
  CHECK_FALSE(seeing.model.usable_feature_cache(seeing.images));
  CHECK(seeing.see(all).output.requires_grad());
  at::NoGradGuard no_grad;
  CHECK(seeing.model.usable_feature_cache(seeing.images));
  const std::uint64_t made = seeing.cache->made();
  seeing.see(all);
  CHECK(seeing.cache->made() == made);  // the weights are as they were
}

TEST_CASE("Features are made anew after a step of the optimiser") {
  const std::vector<TokenTree> trees = some_trees();
  const std::vector<const TokenTree*> all{&trees[0], &trees[1]};
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    Seeing seeing(Family::qwen3_vl, 31, type);
    seeing.with({.memory_bytes = kMuch});
    std::vector<NamedParameter> trained;
    for (const auto& [name, tensor] : seeing.model.parameters())
      trained.push_back({name, tensor, true});
    Optimizer optimizer(trained, {.learning_rate = .1});
    at::Tensor before;
    {
      at::NoGradGuard no_grad;
      before = seeing.see(all).output.clone();
    }
    seeing.freeze(false);
    seeing.see(all).output.sum().backward();
    optimizer.clip_gradients(0);
    optimizer.step(1);
    at::NoGradGuard no_grad;
    const std::uint64_t made = seeing.cache->made();
    const at::Tensor after = seeing.see(all).output;
    CHECK(seeing.cache->made() == 2 * made);
    CHECK_FALSE(after.equal(before));
  }
}

TEST_CASE("A folder serves later processes; damaged files and those of other weights do not") {
  const std::vector<TokenTree> trees = some_trees();
  const std::vector<const TokenTree*> all{&trees[0], &trees[1], &trees[2], &trees[3]};
  const TemporaryFolder folder;
  const FeatureCacheOptions options{
      .memory_bytes = 0, .folder = folder.path() / "cache", .disk_bytes = kMuch};
  Seeing first;
  const VisionFeatures expected = first.with(options).see(all);
  CHECK(first.cache->made() == 6);
  const auto files = files_in(options.folder);
  REQUIRE(files.size() == 6);
  Seeing second;
  CHECK(same(second.with(options).see(all), expected));
  CHECK(second.cache->made() == 0);

  Seeing other(Family::qwen3_vl, 99);
  CHECK_FALSE(same(other.with(options).see(all), expected));
  CHECK(other.cache->made() == 6);
  Seeing shifted;
  shifted.images.mean[0] = .4f;
  shifted.with(options).see(all);
  CHECK(shifted.cache->made() == 6);

  const auto change = [](const fs::path& file, auto work) {
    std::string bytes = read_text_file(file);
    work(bytes);
    std::ofstream(file, std::ios::binary) << bytes;
  };
  change(files[0], [](std::string& bytes) { bytes[bytes.size() / 2] ^= 1; });  // a bit of the data
  change(files[1], [](std::string& bytes) { bytes.resize(bytes.size() - 1); });
  change(files[2], [](std::string& bytes) { bytes.resize(20); });
  change(files[3], [](std::string& bytes) { bytes[0] = 'x'; });
  change(files[4], [](std::string& bytes) { bytes[16] ^= 64; });  // the number of tokens
  change(files[5], [](std::string& bytes) { bytes.clear(); });
  Seeing third;
  CHECK(same(third.with(options).see(all), expected));
  CHECK(third.cache->made() == 6);
  Seeing fourth;  // they were replaced
  CHECK(same(fourth.with(options).see(all), expected));
  CHECK(fourth.cache->made() == 0);

  folder.write("file", "");
  CHECK_THROWS_AS(
      FeatureCache(
          {.memory_bytes = 0, .folder = folder.path() / "file/below", .disk_bytes = kMuch}),
      ConfigError);
}

TEST_CASE("A folder stays within its budget while several write, and what they get is right") {
  const TemporaryFolder folder;
  constexpr std::uint64_t kBudget = 200'000;  // about 24 of 60 pictures
  std::vector<PreparedVisual> pictures(60);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    pictures[i].width = static_cast<int>(i);
    pictures[i].rgb = {static_cast<std::uint8_t>(i)};
  }
  std::atomic<int> wrong = 0, made = 0;
  {
    std::vector<std::jthread> workers;
    for (int w = 0; w < 4; ++w)
      workers.emplace_back([&, w] {
        FeatureCache cache(
            {.memory_bytes = 20'000, .folder = folder.path(), .disk_bytes = kBudget});
        cache.begin(1, [] { return "weights"; });
        Rng rng(static_cast<std::uint64_t>(w));
        for (int i = 0; i < 400; ++i) {
          const std::size_t k = std::min(rng.below(pictures.size()), rng.below(pictures.size()));
          const auto value = static_cast<double>(k);
          const VisionFeatures got = cache.get(pictures[k], [&] {
            return VisionFeatures{at::full({8, 125}, value), {at::full({8, 125}, value + .5)}};
          });
          wrong += !got.output.equal(at::full({8, 125}, value)) ||
                   !got.deepstack[0].equal(at::full({8, 125}, value + .5));
        }
        made += static_cast<int>(cache.made());
      });
  }
  CHECK(wrong == 0);
  CHECK(made < 1200);  // of 1600: it is a cache
  std::uint64_t total = 0;
  for (const fs::path& file : files_in(folder.path())) total += fs::file_size(file);
  CHECK(total > kBudget / 2);
  CHECK(total <= kBudget + kBudget / 4);  // four writers between two looks
}

TEST_CASE("Models with the same tower share what it made; others do not") {
  const std::vector<TokenTree> trees = some_trees();
  std::vector<const TokenTree*> all;
  for (const TokenTree& tree : trees) all.push_back(&tree);
  const FeatureCacheOptions options{kMuch, {}, 0, true};
  const at::NoGradGuard no_grad;
  Seeing one;
  one.with(options);
  const VisionFeatures plain = one.see(all);  // alone in the process: nothing to share with
  CHECK(one.cache->made() == 0);
  Seeing two, other(Family::qwen3_vl, 99);
  two.with(options);
  other.with(options);
  CHECK(same(one.see(all), plain));  // the missing ones go through the tower together
  const std::uint64_t made = one.cache->made();
  CHECK(made > 0);
  CHECK(same(two.see(all), plain));
  CHECK(two.cache->made() == 0);
  CHECK_FALSE(same(other.see(all), plain));
  CHECK(other.cache->made() == made);
  // A tower that changed has features of its own again.
  for (const auto& [name, tensor] : two.model.parameters())
    if (name.find("visual.") != std::string::npos) tensor.mul_(2);
  CHECK_FALSE(same(two.see(all), plain));
  CHECK(two.cache->made() == made);
  CHECK(same(one.see(all), plain));
  CHECK(one.cache->made() == made);
  // Where gradients are recorded nothing is shared.
  const at::AutoGradMode recording(true);
  CHECK_FALSE(one.model.usable_feature_cache(one.images));
}
