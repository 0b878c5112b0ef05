// SPDX-License-Identifier: Apache-2.0
#include "core/weights/head_weights.hpp"

#include <fmt/format.h>

#include <limits>

#include "tests/core/weights/checkpoints.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using testing::body;
using testing::complaint;
using testing::made;
using testing::Tensors;
using testing::write_folder;
using testing::write_one;
using testing::write_text;

Tensors with(const Tensors& more) {
  Tensors tensors = body(true);
  tensors.insert(tensors.end(), more.begin(), more.end());
  return tensors;
}

const Tensors kTwoLayers{{"dense.weight", made("dw", {8, 8})},
                         {"dense.bias", made("db", {8})},
                         {"out_proj.weight", made("ow", {1, 8})},
                         {"out_proj.bias", made("ob", {1})}};

Tensors named(const std::string& prefix, Tensors tensors) {
  for (auto& [name, tensor] : tensors) name = prefix + name;
  return tensors;
}

void write_config(const fs::path& folder, const std::string& more = "") {
  fs::create_directories(folder);
  write_text(folder / "config.json", "{\"model_type\": \"qwen3_vl\"" + more + "}");
}

std::string said(const fs::path& folder, std::string_view key = {}) {
  return complaint([&] { find_reward_head(folder, WeightsOptions{}, key).read(); });
}

}  // namespace

TEST_CASE(
    "Linear heads are found under all their names, in the weights and in value_head.safetensors") {
  const auto weight = made("w", {1, 8});
  struct Case {
    const char *weight, *bias;
    bool apart;
  };
  for (const Case& c :
       {Case{"v_head.summary.weight", "v_head.summary.bias", true},
        {"summary.weight", "summary.bias", true},
        {"v_head.summary.weight", nullptr, false},
        {"pretrained_model.v_head.summary.weight", "pretrained_model.v_head.summary.bias", false},
        {"score.weight", nullptr, false},
        {"score.weight", "score.bias", false},
        {"rm_head.weight", nullptr, false},
        {"v_head.weight", nullptr, false},
        {"value_head.weight", nullptr, false},
        {"my_head.weight", nullptr, false}}) {
    CAPTURE(c.weight, c.apart);
    const testing::TemporaryFolder folder;
    write_config(folder.path(), ", \"value_head_prefix\": \"my_head\"");
    Tensors tensors{{c.weight, weight}};
    if (c.bias) tensors.emplace_back(c.bias, made("b", {1}));
    write_folder(folder.path(), c.apart ? body(true) : with(tensors));
    if (c.apart) write_one(folder.path() / "value_head.safetensors", tensors);
    const HeadWeights head = find_reward_head(folder.path()).read();
    CHECK(head.weight == weight.values);
    CHECK(head.bias.has_value() == (c.bias != nullptr));
    if (c.bias) CHECK(*head.bias == made("b", {1}).values[0]);
    CHECK(head.dense.empty());
  }
}

TEST_CASE("Two-layer heads are found as rm_head and as score") {
  for (const char* prefix : {"rm_head.", "score."}) {
    const testing::TemporaryFolder folder;
    write_folder(folder.path(), with(named(prefix, kTwoLayers)));
    const FoundHead found = find_reward_head(folder.path());
    CHECK_FALSE(found.linear());
    CHECK(found.names().size() == 4);
    const HeadWeights head = found.read();
    CHECK(head.dense == made("dw", {8, 8}).values);
    CHECK(head.dense_bias == made("db", {8}).values);
    CHECK(head.weight == made("ow", {1, 8}).values);
    CHECK(*head.bias == made("ob", {1}).values[0]);
  }
}

TEST_CASE("No head is an error with what is there, never a head of some kind") {
  const testing::TemporaryFolder folder;
  write_folder(folder.path(), with({{"classifier.out.weight", made("c", {1, 8})}}));
  CHECK_THAT(said(folder.path()), Contains("no reward head") &&
                                      Contains("'classifier.out.weight'") &&
                                      Contains("'lm_head.weight'"));
  write_folder(folder.path(), with({{"score.weight", made("c", {2, 8})}}));
  CHECK_THAT(said(folder.path()), Contains("'score.weight'") && Contains("[2,8]"));
  write_folder(folder.path(), with({{"rm_head.out_proj.weight", made("c", {1, 8})}}));
  CHECK_THAT(said(folder.path()), Contains("rm_head.dense.weight"));
  auto broken = made("c", {1, 8});
  broken.values[3] = std::numeric_limits<float>::quiet_NaN();
  write_folder(folder.path(), with({{"score.weight", broken}}));
  CHECK_THAT(said(folder.path()), Contains("'score.weight'") && Contains("not finite"));
  write_one(folder.path() / "value_head.safetensors", {{"other", made("c", {1, 8})}});
  CHECK_THAT(said(folder.path()), Contains("value_head.safetensors") && Contains("'other'"));
  fs::remove(folder.path() / "value_head.safetensors");
  write_text(folder.path() / "value_head.bin", "x");
  CHECK_THAT(said(folder.path()),
             Contains("value_head.bin") && Contains("save_file") && Contains("weights_only=True"));
  const testing::TemporaryFolder empty;
  CHECK_THAT(said(empty.path()), Contains("neither"));
}

TEST_CASE("Several heads must be equal, or one be named") {
  const testing::TemporaryFolder folder;
  write_folder(folder.path(),
               with({{"score.weight", made("s", {1, 8})}, {"v_head.weight", made("v", {1, 8})}}));
  CHECK_THAT(said(folder.path()),
             Contains("'score.weight'") && Contains("'v_head.weight'") && Contains("differ"));
  CHECK(find_reward_head(folder.path(), WeightsOptions{}, "v_head").read().weight ==
        made("v", {1, 8}).values);
  CHECK_THAT(said(folder.path(), "rm_head"), Contains("'rm_head'") && Contains("no reward head"));
  write_one(folder.path() / "value_head.safetensors",
            {{"v_head.summary.weight", made("s", {1, 8})}});
  CHECK(find_reward_head(folder.path(), WeightsOptions{}, "score").read().weight ==
        made("s", {1, 8}).values);
  write_folder(folder.path(), with({{"score.weight", made("s", {1, 8})}}));
  CHECK(said(folder.path()) == "nothing");  // twice the same
  const testing::TemporaryFolder only;
  write_one(only.path() / "value_head.safetensors", {{"v_head.summary.weight", made("s", {1, 8})}});
  CHECK(said(only.path()) == "nothing");
}

TEST_CASE("Whether there is a head, by any of its names") {
  const testing::TemporaryFolder folder;
  write_folder(folder.path(), with({}));
  CHECK_FALSE(has_reward_head(folder.path()));
  write_one(folder.path() / "value_head.safetensors",
            {{"v_head.summary.weight", made("s", {1, 8})}});
  CHECK(has_reward_head(folder.path()));
  fs::remove(folder.path() / "value_head.safetensors");
  write_folder(folder.path(), with({{"score.weight", made("s", {1, 8})}}));
  CHECK(has_reward_head(folder.path()));
}

TEST_CASE("An adapter's head counts before that of its base") {
  const testing::TemporaryFolder folder;
  const fs::path base = folder.path() / "base", adapter = folder.path() / "adapter";
  write_config(base);
  write_folder(base, with({{"score.weight", made("old", {1, 8})}}));
  fs::create_directories(adapter);
  write_text(
      adapter / "adapter_config.json",
      R"({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "base_model_name_or_path": "../base"})");
  const Tensors pair{
      {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", made("A", {2, 8})},
      {"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", made("B", {6, 2})}};
  write_one(adapter / "adapter_model.safetensors", pair);
  CHECK(find_reward_head(adapter).read().weight == made("old", {1, 8}).values);
  CHECK(has_reward_head(adapter));
  Tensors saved = pair;
  saved.emplace_back("base_model.model.score.weight", made("new", {1, 8}));
  write_one(adapter / "adapter_model.safetensors", saved);
  CHECK(find_reward_head(adapter).read().weight == made("new", {1, 8}).values);
  CHECK(find_reward_head(base, {.adapter = adapter}).read().weight == made("new", {1, 8}).values);
  CHECK(find_reward_head(base).read().weight == made("old", {1, 8}).values);
  write_one(adapter / "value_head.safetensors", {{"v_head.summary.weight", made("file", {1, 8})},
                                                 {"v_head.summary.bias", made("b", {1})}});
  CHECK(find_reward_head(adapter).read().weight == made("file", {1, 8}).values);
}

TEST_CASE("OpenRLHF's mean and deviation are read, and count when its configuration says so") {
  const testing::TemporaryFolder folder;
  write_folder(folder.path(), with({{"score.weight", made("s", {1, 8})}}));
  write_config(folder.path(), ", \"mean\": 2.5, \"std\": 0.5");
  FoundHead found = find_reward_head(folder.path());
  CHECK((found.mean_and_deviation == std::pair{2.5, 0.5}));
  CHECK_FALSE(found.normalised);
  write_config(folder.path(), ", \"mean\": 2.5, \"std\": 0.5, \"normalize_reward\": true");
  CHECK(find_reward_head(folder.path()).normalised);
  write_config(folder.path(), ", \"mean\": 2.5, \"std\": 0, \"normalize_reward\": true");
  CHECK_THAT(said(folder.path()), Contains("std = 0"));
}

TEST_CASE("Names of a head in each layout") {
  CHECK(head_names(HeadLayout::llama_factory, true, 1.f).bias == "v_head.summary.bias");
  const HeadNames score = head_names(HeadLayout::score, true, -0.25f);
  CHECK(score.weight == "score.weight");
  CHECK(score.bias.empty());
  CHECK_THAT(score.note, Contains("-0.25") && Contains("rankings"));
  CHECK(head_names(HeadLayout::score, true, 0.f).note.empty());
  CHECK(head_names(HeadLayout::score, false, {}).dense == "score.dense.weight");
  CHECK_THAT(complaint([] { head_names(HeadLayout::llama_factory, false, {}); }),
             Contains("two layers"));
  CHECK(head_layout_named("rm_head") == HeadLayout::rm_head);
  CHECK_THAT(complaint<ConfigError>([] { head_layout_named("trl"); }),
             Contains("'trl'") && Contains("llama_factory, score"));
}

TEST_CASE(
    "training.json says which hidden state a head reads; where it does not, there is a doubt") {
  const testing::TemporaryFolder folder;
  write_config(folder.path());
  CHECK(stated_head_input(folder.path()).empty());
  CHECK_THAT(doubt_about_head_input(folder.path()),
             Contains("before_norm") && Contains("dt2it doctor"));
  for (const auto& [word, input] : {std::pair{"final_norm", "final_norm"},
                                    {"before_norm", "before_norm"},
                                    {"normed", "final_norm"},
                                    {"unnormed", "before_norm"},
                                    {"other", ""}}) {
    write_text(folder.path() / "training.json", fmt::format("{{\"head_input\": \"{}\"}}", word));
    CHECK(stated_head_input(folder.path()) == input);
  }
  write_text(folder.path() / "training.json", "no JSON");
  CHECK(stated_head_input(folder.path()).empty());
  write_text(folder.path() / "config.json", R"({"model_type": "qwen2_5_vl"})");
  CHECK(doubt_about_head_input(folder.path()).empty());
}

}  // namespace dt2it
