// SPDX-License-Identifier: Apache-2.0
// Both families against transformers 4.57 on tiny checkpoints: every named value of every reference pass.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include <map>
#include <set>

#include "core/nn/packed_batch.hpp"
#include "core/nn/reward_head.hpp"
#include "tests/core/nn/golden.hpp"

using namespace dt2it;
using namespace dt2it::nn;
namespace fs = std::filesystem;

namespace {

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kCPU, at::kFloat) - b.to(at::kCPU, at::kFloat)).abs().max().item<double>();
}

// True, with a line that says so, without a CUDA device.
bool cuda_absent() {
  if (at::hasCUDA()) return false;
  std::cout << "skipped: no CUDA device: " << Catch::getResultCapture().getCurrentTestName()
            << "\n";
  return true;
}

std::vector<Grid> grids_of(const at::Tensor& table) {
  std::vector<Grid> grids;
  for (std::int64_t i = 0; i < table.size(0); ++i)
    grids.push_back({table[i][0].item<std::int64_t>(), table[i][1].item<std::int64_t>(),
                     table[i][2].item<std::int64_t>()});
  return grids;
}

struct Loaded {
  ModelConfig config;
  VlModel model;
  RewardHead head;
  explicit Loaded(const fs::path& folder, at::TensorOptions options = at::kFloat)
      : config(ModelConfig::read(folder / "config.json")),
        model(config, options),
        head(RewardHead::load(folder, config.text.hidden)) {
    model.load(Checkpoint(folder));
    head = head.to(options.device());
  }
};

void to_device(DecoderInput& input, at::Device device) {
  for (at::Tensor* tensor : {&input.tokens, &input.positions, &input.visual_rows, &input.rows})
    if (tensor->defined()) *tensor = tensor->to(device);
}

// A padded batch of the reference as one packed sequence. Features of images stand before those of videos.
struct Packed {
  DecoderInput input;
  at::Tensor flat_rows;  // rows of [B * L] that are attended
  at::Tensor features;  // rows of [image features; video features] in the order of the placeholders
};

Packed pack(const SafetensorsFile& stored, const ModelConfig& config, std::int64_t image_features) {
  Packed packed;
  const at::Tensor ids = stored.load("input_ids").view({-1}), mask = stored.load("attention_mask");
  packed.flat_rows = mask.view({-1}).nonzero().squeeze(-1);
  const auto keep = [&](const at::Tensor& x) { return x.index_select(0, packed.flat_rows); };
  packed.input.tokens = keep(ids);
  packed.input.positions =
      stored.load("position_ids").reshape({3, -1}).index_select(1, packed.flat_rows);
  AttentionPlan plan;
  std::int64_t base = 0;
  for (std::int64_t b = 0; b < mask.size(0); ++b) {
    const auto length = mask[b].sum().item<std::int64_t>();
    plan.add({.query = base, .count = length, .own = base, .own_count = length});
    plan.end_group();
    base += length;
  }
  packed.input.attention = std::make_shared<const Attention>(std::move(plan));
  std::vector<std::int64_t> rows, features;
  std::int64_t image = 0, video = image_features;
  const auto* token = packed.input.tokens.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < base; ++i) {
    if (token[i] != config.image_token && token[i] != config.video_token) continue;
    rows.push_back(i);
    features.push_back(token[i] == config.image_token ? image++ : video++);
  }
  const auto tensor = [](const std::vector<std::int64_t>& values) {
    at::Tensor made = at::empty({static_cast<std::int64_t>(values.size())}, at::kLong);
    std::copy(values.begin(), values.end(), made.data_ptr<std::int64_t>());
    return made;
  };
  if (!rows.empty()) {
    packed.input.visual_rows = tensor(rows);
    packed.features = tensor(features);
  }
  return packed;
}

// The reference's rotary tables repeat each half; Qwen2.5-VL's come before the sections are chosen.
at::Tensor chosen_rotary(const at::Tensor& stored, const ModelConfig& config,
                         const at::Tensor& flat_rows) {
  const std::int64_t half = config.text.head_dim / 2;
  if (config.family == Family::qwen3_vl)
    return stored.reshape({-1, 2 * half}).index_select(0, flat_rows).narrow(1, 0, half);
  const at::Tensor all = stored.reshape({3, -1, 2 * half}).index_select(1, flat_rows);
  std::vector<at::Tensor> columns;
  const auto axes = config.text.frequency_axes(config.family);
  for (std::int64_t f = 0; f < half; ++f)
    columns.push_back(all[axes[static_cast<std::size_t>(f)]].select(1, f));
  return at::stack(columns, 1);
}

}  // namespace

namespace {

void check_reference_passes(at::Device device) {
  at::NoGradGuard no_grad;
  std::map<std::string, int> cases;
  std::set<std::string> compared;
  for (const std::string name : {"qwen2_5_vl", "qwen3_vl", "qwen3_vl_tied", "qwen3_vl_sharded"}) {
    Loaded own(dt2it::testing::golden_folder() / "models" / name,
               at::TensorOptions(at::kFloat).device(device));
    const std::string passes = name == "qwen3_vl_sharded" ? "qwen3_vl" : name;
    for (const auto& entry :
         fs::directory_iterator(dt2it::testing::golden_folder() / "forward" / passes)) {
      if (entry.path().extension() != ".safetensors") continue;
      const SafetensorsFile stored(entry.path());
      CAPTURE(name, entry.path().filename().string());
      ++cases[name];

      const auto check = [&](const std::string& what, const at::Tensor& ours,
                             const at::Tensor& theirs) {
        CAPTURE(what);
        REQUIRE(ours.sizes() == theirs.sizes());
        CHECK(difference(ours, theirs) < 1e-4);
        compared.insert(what);
      };
      std::vector<VisionFeatures> seen;
      std::int64_t image_features = 0;
      for (const std::string kind : {"image", "video"}) {
        const std::string pixels = kind == "image" ? "pixel_values" : "pixel_values_videos";
        if (!stored.contains(pixels)) continue;
        const std::vector<Grid> grids = grids_of(stored.load(kind + "_grid_thw"));
        seen.push_back(own.model.vision(
            stored.load(pixels), grids, [&](std::string_view what, const at::Tensor& value) {
              const std::string key = "vision." + kind + "." + std::string(what);
              if (stored.contains(key)) check(key, value, stored.load(key));
            }));
        if (kind == "image") image_features = seen.back().output.size(0);
      }
      Packed packed = pack(stored, own.config, image_features);
      to_device(packed.input, device);
      VisionFeatures features;
      if (!seen.empty()) {
        const auto join = [&](auto part) {
          std::vector<at::Tensor> parts;
          for (const VisionFeatures& one : seen) parts.push_back(part(one));
          return at::cat(parts).index_select(0, packed.features.to(device));
        };
        features.output = join([](const VisionFeatures& one) { return one.output; });
        for (std::size_t k = 0; k < seen[0].deepstack.size(); ++k)
          features.deepstack.push_back(
              join([k](const VisionFeatures& one) { return one.deepstack[k]; }));
      }
      const VisionFeatures* used = seen.empty() ? nullptr : &features;
      const auto attended = [&](const at::Tensor& x) {
        return x.flatten(0, 1).index_select(0, packed.flat_rows);
      };
      const at::Tensor normed = own.model.decode(
          packed.input, used, HiddenState::normed,
          [&](std::string_view what, const at::Tensor& value) {
            const std::string key(what);
            if (!stored.contains(key)) return;
            // The reference shows a layer's output after deepstack features were added in place.
            if (key.starts_with("lm.layer") && stored.contains(key + "_deepstack")) return;
            if (key.starts_with("lm.rotary"))
              check(key, value, chosen_rotary(stored.load(key), own.config, packed.flat_rows));
            else
              check(key, value, attended(stored.load(key)));
          });
      const at::Tensor raw = own.model.decode(packed.input, used, HiddenState::unnormed);
      CHECK(difference(own.model.normed(raw), normed) < 1e-5);  // with and without the observer
      check("values", own.head(normed), attended(stored.load("values")));
      if (stored.contains("values_prenorm"))
        check("values_prenorm", own.head(raw), attended(stored.load("values_prenorm")));

      // The scored tokens only, as reward models ask for them.
      const at::Tensor score_index = stored.load("score_index"),
                       mask = stored.load("attention_mask");
      DecoderInput chosen = packed.input;
      AttentionPlan last;
      std::vector<std::int64_t> ends;
      std::int64_t base = 0;
      for (std::int64_t b = 0; b < mask.size(0); ++b) {
        const auto length = mask[b].sum().item<std::int64_t>();
        CHECK(mask[b][score_index[b].item<std::int64_t>()].item<std::int64_t>() == 1);
        last.add({.query = b, .count = 1, .own = base, .own_count = length});
        last.end_group();
        base += length;
        ends.push_back(base - 1);
      }
      chosen.rows = at::empty({static_cast<std::int64_t>(ends.size())}, at::kLong);
      std::copy(ends.begin(), ends.end(), chosen.rows.data_ptr<std::int64_t>());
      chosen.last_attention = std::make_shared<const Attention>(std::move(last));
      to_device(chosen, device);
      const at::Tensor end_states = own.model.decode(chosen, used, HiddenState::normed);
      check("reward", own.head(end_states), stored.load("reward"));
      check("logits_last", own.model.logits(end_states), stored.load("logits_last"));
      if (stored.contains("reward_prenorm"))
        check("reward_prenorm", own.head(own.model.decode(chosen, used, HiddenState::unnormed)),
              stored.load("reward_prenorm"));
    }
  }
  CHECK(cases["qwen2_5_vl"] == 12);
  CHECK(cases["qwen3_vl"] == 12);
  CHECK(cases["qwen3_vl_sharded"] == 12);
  CHECK(cases["qwen3_vl_tied"] == 3);
  for (const char* what :
       {"vision.image.patch_embed", "vision.image.block_input", "vision.image.block3",
        "vision.image.merger", "vision.image.output", "vision.image.deepstack1",
        "vision.image.window_index", "vision.video.output", "vision.video.block0",
        "lm.inputs_embeds", "lm.rotary_cos", "lm.layer0.attn", "lm.layer0.mlp",
        "lm.layer0_deepstack", "lm.layer2", "lm.final_norm", "values_prenorm", "reward_prenorm"}) {
    CAPTURE(what);
    CHECK(compared.contains(what));
  }
}

// Rewards of all reference passes, in file order, for weights of one type on one device.
std::vector<double> rewards_of(const std::string& name, at::TensorOptions options) {
  at::NoGradGuard no_grad;
  Loaded own(dt2it::testing::golden_folder() / "models" / name, options);
  std::set<fs::path> files;
  for (const auto& entry :
       fs::directory_iterator(dt2it::testing::golden_folder() / "forward" / name))
    if (entry.path().extension() == ".safetensors") files.insert(entry.path());
  std::vector<double> rewards;
  for (const fs::path& file : files) {
    const SafetensorsFile stored(file);
    if (stored.contains("pixel_values_videos")) continue;
    VisionFeatures features;
    const bool seeing = stored.contains("pixel_values");
    if (seeing)
      features =
          own.model.vision(stored.load("pixel_values"), grids_of(stored.load("image_grid_thw")));
    Packed packed = pack(stored, own.config, seeing ? features.output.size(0) : 0);
    const at::Tensor mask = stored.load("attention_mask");
    to_device(packed.input, options.device());
    const at::Tensor hidden =
        own.model.decode(packed.input, seeing ? &features : nullptr, HiddenState::normed);
    const at::Tensor values = own.head(hidden.to(at::kFloat)).to(at::kCPU);
    const at::Tensor ends = mask.sum(1).cumsum(0) - 1;
    for (std::int64_t b = 0; b < mask.size(0); ++b)
      rewards.push_back(values[ends[b].item<std::int64_t>()].item<double>());
  }
  return rewards;
}

void check_short_type(at::Device device) {
  for (const std::string name : {"qwen2_5_vl", "qwen3_vl"}) {
    const std::vector<double> exact = rewards_of(name, at::kFloat);
    const std::vector<double> rounded =
        rewards_of(name, at::TensorOptions(at::kBFloat16).device(device));
    REQUIRE(exact.size() >= 12);
    double noise = 0;
    for (std::size_t i = 0; i < exact.size(); ++i)
      noise = std::max(noise, std::abs(exact[i] - rounded[i]));
    CAPTURE(name, noise);
    CHECK(noise < 0.15);
    int ordered = 0;
    for (std::size_t i = 0; i < exact.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (std::abs(exact[i] - exact[j]) > 2 * noise) {
          ++ordered;
          CHECK((exact[i] > exact[j]) == (rounded[i] > rounded[j]));
        }
    CHECK(ordered > 10);
  }
}

}  // namespace

TEST_CASE("Both families agree with transformers on every value of the reference passes") {
  if (!dt2it::testing::golden_absent()) check_reference_passes(at::kCPU);
}

TEST_CASE("Both families agree with transformers on a CUDA device in float32") {
  if (!dt2it::testing::golden_absent() && !cuda_absent()) check_reference_passes(at::kCUDA);
}

TEST_CASE("bfloat16 ranks as float32 does wherever the margin is above its noise") {
  if (!dt2it::testing::golden_absent()) check_short_type(at::kCPU);
}

TEST_CASE(
    "bfloat16 on a CUDA device ranks as float32 does wherever the margin is above its noise") {
  if (!dt2it::testing::golden_absent() && !cuda_absent()) check_short_type(at::kCUDA);
}

TEST_CASE("Bradley-Terry gradients agree with transformers on the reference pairs") {
  if (dt2it::testing::golden_absent()) return;
  const fs::path golden = dt2it::testing::golden_folder();
  for (const auto& [name, state, file] :
       {std::tuple{"qwen2_5_vl", HiddenState::normed, "gradients.safetensors"},
        std::tuple{"qwen3_vl", HiddenState::normed, "gradients.safetensors"},
        std::tuple{"qwen3_vl", HiddenState::unnormed, "gradients_prenorm.safetensors"}}) {
    CAPTURE(name, file);
    const fs::path training = golden / "training" / name;
    const SafetensorsFile pairs(training / "pairs.safetensors"), gradients(training / file);
    Loaded own(golden / "models" / name);
    for (const auto& [key, tensor] : own.model.parameters()) tensor.requires_grad_(true);
    own.head.weight.requires_grad_(true);
    VisionFeatures features =
        own.model.vision(pairs.load("pixel_values"), grids_of(pairs.load("image_grid_thw")));
    Packed packed = pack(pairs, own.config, features.output.size(0));
    const auto twice = [](const at::Tensor& half) {
      return at::cat(at::TensorList{half, half});
    };  // chosen and rejected rows
    features.output = twice(features.output);
    for (at::Tensor& deep : features.deepstack) deep = twice(deep);
    const at::Tensor hidden = own.model.decode(packed.input, &features, state);
    const at::Tensor ends = pairs.load("attention_mask").sum(1).cumsum(0) - 1;
    const bool normed = state == HiddenState::normed;
    const at::Tensor rewards = own.head(hidden.index_select(0, ends));
    CHECK(difference(rewards.detach(), pairs.load(normed ? "rewards" : "rewards_prenorm")) < 1e-4);
    const std::int64_t half = rewards.size(0) / 2;
    const at::Tensor loss =
        -(rewards.narrow(0, 0, half) - rewards.narrow(0, half, half)).sigmoid().log().mean();
    CHECK(std::abs(loss.item<double>() -
                   pairs.load(normed ? "loss" : "loss_prenorm").item<double>()) < 1e-5);
    loss.backward();
    int compared = 0;
    for (const auto& [key, tensor] : own.model.parameters()) {
      CAPTURE(key);
      if (!gradients.contains(key)) {
        CHECK_FALSE(tensor.grad().defined());  // untied lm_head
        continue;
      }
      ++compared;
      const at::Tensor expected = gradients.load(key);
      if (tensor.grad().defined())
        CHECK(difference(tensor.grad(), expected) < 2e-5);
      else
        CHECK(expected.abs().max().item<double>() == 0);
    }
    CHECK(compared > 80);
  }
}
