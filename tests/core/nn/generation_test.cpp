// SPDX-License-Identifier: Apache-2.0
// Greedy decoding of both families against transformers, which recomputed everything for each token.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "core/nn/decoding.hpp"
#include "core/nn/mrope.hpp"
#include "core/nn/safetensors.hpp"
#include "core/nn/sampling.hpp"
#include "tests/core/nn/golden.hpp"

using namespace dt2it;
using namespace dt2it::nn;

namespace {

// The picture that these patches were made of.
std::shared_ptr<const PreparedVisual> picture_of(const at::Tensor& patches, std::int64_t rows,
                                                 std::int64_t columns,
                                                 const ImageProcessorConfig& config) {
  auto made = std::make_shared<PreparedVisual>();
  PreparedVisual& visual = *made;
  visual.width = static_cast<int>(columns) * config.patch;
  visual.height = static_cast<int>(rows) * config.patch;
  visual.tokens = static_cast<int>(rows * columns) / (config.merge * config.merge);
  visual.rgb.resize(static_cast<std::size_t>(3 * visual.width * visual.height));
  const at::Tensor flat = patches.contiguous();
  const float* value = flat.data_ptr<float>();
  const int merge = config.merge, blocks = static_cast<int>(columns) / merge;
  for (int r = 0; r < rows * columns; ++r) {
    const int block = r / (merge * merge), within = r % (merge * merge);
    const int top = (block / blocks * merge + within / merge) * config.patch;
    const int left = (block % blocks * merge + within % merge) * config.patch;
    for (int c = 0; c < 3; ++c)
      for (int t = 0; t < config.temporal; ++t)
        for (int y = 0; y < config.patch; ++y)
          for (int x = 0; x < config.patch; ++x) {
            const auto k = static_cast<std::size_t>(c);
            const float level = (*value++ * config.deviation[k] + config.mean[k]) * 255;
            visual.rgb[static_cast<std::size_t>(((top + y) * visual.width + left + x) * 3 + c)] =
                static_cast<std::uint8_t>(std::lround(level));
          }
  }
  std::vector<float> again(static_cast<std::size_t>(flat.numel()));
  write_patches(visual, config, again.data());
  double worst = 0;
  for (std::size_t i = 0; i < again.size(); ++i)
    worst = std::max(worst, std::abs(double{again[i]} - flat.data_ptr<float>()[i]));
  CHECK(worst < 1e-5);
  return made;
}

TokenTree prompt_of(const SafetensorsFile& stored, const std::string& name,
                    const ModelConfig& model, const ImageProcessorConfig& images) {
  TokenTree tree;
  const at::Tensor ids = stored.load(name + ".input_ids")[0].contiguous();
  tree.tokens.assign(ids.data_ptr<std::int64_t>(), ids.data_ptr<std::int64_t>() + ids.numel());
  tree.prefix = tree.tokens.size();
  MropePositions positions(tree.positions);
  std::int64_t patch = 0, image = 0;
  for (std::size_t i = 0; i < tree.tokens.size();) {
    if (tree.tokens[i] != model.image_token) {
      positions.text(1);
      ++i;
      continue;
    }
    const at::Tensor grid = stored.load(name + ".image_grid_thw")[image++];
    const auto rows = grid[1].item<std::int64_t>(), columns = grid[2].item<std::int64_t>();
    tree.visuals.push_back(
        picture_of(stored.load(name + ".pixel_values").narrow(0, patch, rows * columns), rows,
                   columns, images));
    patch += rows * columns;
    const auto count = static_cast<std::size_t>(tree.visuals.back()->tokens);
    tree.visual_runs.push_back({i, tree.visuals.size() - 1, 0, count});
    positions.visual(rows / images.merge, columns / images.merge);
    i += count;
  }
  return tree;
}

}  // namespace

TEST_CASE(
    "Greedy decoding gives the reference's 32 tokens and logits, alone and among others that "
    "join") {
  if (dt2it::testing::golden_absent()) return;
  const auto golden = dt2it::testing::golden_folder();
  const at::NoGradGuard no_grad;
  int compared = 0;
  for (const std::string family : {"qwen2_5_vl", "qwen3_vl"}) {
    const auto folder = golden / "models" / family;
    const ModelConfig config = ModelConfig::read(folder / "config.json");
    const auto images = ImageProcessorConfig::read(folder / "preprocessor_config.json");
    VlModel model(config);
    model.load(Checkpoint(folder));
    const SafetensorsFile stored(golden / "generation" / (family + ".safetensors"));
    const std::vector<std::string> names{"text", "image", "two_images"};
    std::vector<TokenTree> prompts;
    std::vector<std::vector<std::int64_t>> expected;
    for (const std::string& name : names) {
      prompts.push_back(prompt_of(stored, name, config, images));
      const at::Tensor ids = stored.load(name + ".new_ids").contiguous();
      expected.emplace_back(ids.data_ptr<std::int64_t>(),
                            ids.data_ptr<std::int64_t>() + ids.numel());
      REQUIRE(expected.back().size() == 32);
    }
    const auto greedy = [](const at::Tensor& row) {
      return next_tokens({row.const_data_ptr<float>(), static_cast<std::size_t>(row.numel())}, {},
                         {.temperature = 0})[0]
          .token;
    };
    const auto same_logits = [&](const at::Tensor& row, const std::string& key) {
      CAPTURE(family, key);
      CHECK((row - stored.load(key)).abs().max().item<double>() < 1e-4);
      ++compared;
    };
    std::vector<std::vector<at::Tensor>> alone(names.size());
    for (std::size_t k = 0; k < names.size(); ++k) {
      CAPTURE(family, names[k]);
      const TokenTree* prompt = &prompts[k];
      const std::size_t one = 1;
      PackedDecoding decoding(model, images, {&prompt, 1}, {&one, 1});
      std::vector<std::int64_t> ids;
      while (true) {
        alone[k].push_back(decoding.logits()[0].clone());
        ids.push_back(greedy(alone[k].back()));
        if (ids.size() == 32) break;
        decoding.advance({&ids.back(), 1});
      }
      CHECK(ids == expected[k]);
      same_logits(alone[k].front(), names[k] + ".logits_step1");
      same_logits(alone[k].back(), names[k] + ".logits_step32");
    }
    // Two samples of the first prompt, then the second prompt joins, one sample leaves, and the third prompt joins.
    const std::vector<const TokenTree*> all{&prompts[0], &prompts[1], &prompts[2]};
    const std::vector<std::size_t> two{2}, one{1};
    PackedDecoding decoding(model, images, std::span(all).first(1), two);
    struct Row {
      std::size_t name, step;
    };
    std::vector<Row> rows{{0, 0}, {0, 0}};
    for (int step = 0; step < 20; ++step) {
      REQUIRE(decoding.logits().size(0) == static_cast<std::int64_t>(rows.size()));
      std::vector<std::int64_t> tokens;
      for (std::size_t i = 0; i < rows.size(); ++i) {
        CAPTURE(family, step, i);
        const at::Tensor row = decoding.logits()[static_cast<std::int64_t>(i)];
        CHECK(row.equal(alone[rows[i].name][rows[i].step]));  // to the last bit
        tokens.push_back(expected[rows[i].name][rows[i].step++]);
      }
      decoding.advance(tokens);
      if (step == 7) {
        decoding.keep(std::vector<std::size_t>{1, 2});
        rows.erase(rows.begin());
      }
      for (const std::size_t k : {1u, 2u})
        if (step == static_cast<int>(4 * k)) {
          decoding.join(std::span(all).subspan(k, 1), one);
          rows.push_back({k, 0});
        }
    }
  }
  CHECK(compared == 12);
}
