// SPDX-License-Identifier: Apache-2.0
#include "core/weights/weights.hpp"

#include <fmt/format.h>

#include <cmath>
#include <set>

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

std::vector<float> all_of(const Weights& weights, const std::string& name) {
  const auto info = weights.info(name);
  std::vector<float> values(StoredTensor{info.type, info.shape}.count());
  weights.read(name, Dtype::f32, 0, info.shape.empty() ? 1 : info.shape[0], values.data());
  return values;
}

void write_config(const fs::path& folder, const std::string& type, const std::string& more = "") {
  write_text(folder / "config.json", fmt::format("{{\"model_type\": \"{}\"{}}}", type, more));
}

Tensors behind(const std::string& prefix, Tensors tensors) {
  for (auto& [name, tensor] : tensors) name = prefix + name;
  return tensors;
}

constexpr const char* kAdapter =
    R"({{"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none", "base_model_name_or_path": "{}", "target_modules": ["q_proj"], "modules_to_save": ["score"]{}}})";

void write_adapter(const fs::path& folder, const std::string& base, const std::string& more = "",
                   bool dump = false) {
  fs::create_directories(folder);
  write_text(folder / "adapter_config.json", fmt::format(kAdapter, base, more));
  const std::string at = "base_model.model.model.language_model.layers.0.self_attn.q_proj",
                    end = dump ? ".default.weight" : ".weight";
  write_one(folder / "adapter_model.safetensors",
            {{at + ".lora_A" + end, made("A", {2, 8})},
             {at + ".lora_B" + end, made("B", {6, 2})},
             {dump ? "base_model.model.score.modules_to_save.default.weight"
                   : "base_model.model.score.weight",
              made("score", {1, 8})}});
}

std::vector<float> merged(double scale) {
  std::vector<float> weight = made("layers.0.q", {6, 8}).values;
  const auto a = made("A", {2, 8}).values, b = made("B", {6, 2}).values;
  for (std::size_t o = 0; o < 6; ++o)
    for (std::size_t i = 0; i < 8; ++i)
      weight[o * 8 + i] +=
          static_cast<float>(scale * (double{b[o * 2]} * a[i] + double{b[o * 2 + 1]} * a[8 + i]));
  return weight;
}

double furthest(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(double{a[i]} - b[i]));
  return most;
}

}  // namespace

TEST_CASE("Both key layouts of each family, behind any prefix, have the same canonical names") {
  const testing::TemporaryFolder folder;
  for (const char* type : {"qwen2_5_vl", "qwen3_vl"})
    for (const bool nested : {false, true})
      for (const char* prefix : {"", "base_model.model.", "pretrained_model.",
                                 "module.pretrained_model.base_model.model."}) {
        CAPTURE(type, nested, prefix);
        write_config(folder.path(), type);
        write_folder(folder.path(), behind(prefix, body(nested)));
        const Weights weights(folder.path());
        std::vector<std::string> expected;
        for (const auto& [name, tensor] : body(type == std::string("qwen3_vl")))
          expected.push_back(name);
        CHECK(weights.names() == expected);
        weights.require(expected);
        CHECK(weights.unused(expected).empty());
        const auto values = body(nested);
        for (std::size_t i = 0; i < expected.size(); ++i)
          CHECK(all_of(weights, expected[i]) == values[i].second.values);
      }
  CHECK(canonical_key(KeyLayout::qwen3_vl, "language_model.model.layers.3.mlp.up_proj.weight") ==
        "model.language_model.layers.3.mlp.up_proj.weight");
  CHECK(canonical_key(KeyLayout::qwen2_5_vl, "language_model.lm_head.weight") == "lm_head.weight");
  CHECK(canonical_key(KeyLayout::qwen2_5_vl, "pretrained_model.v_head.summary.weight") ==
        "v_head.summary.weight");
  CHECK(canonical_key(KeyLayout::as_stored, "model.layers.0.x") == "model.layers.0.x");
}

TEST_CASE("Shards under any name are read, in the order on disk, and a faulty index is an error") {
  const testing::TemporaryFolder folder;
  write_config(folder.path(), "qwen3_vl");
  const auto index = [&](const std::string& map) {
    write_text(folder.path() / "model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
  };
  write_one(folder.path() / "second.safetensors", {{"visual.b", made("b", {3})}});
  write_one(folder.path() / "first part.safetensors",
            {{"visual.z", made("z", {2})}, {"model.norm.weight", made("n", {2})}});
  const std::string z = R"("visual.z":"first part.safetensors")",
                    n = R"("model.norm.weight":"first part.safetensors")",
                    b = R"("visual.b":"second.safetensors")";
  index(b + "," + z + "," + n);
  const Weights weights(folder.path());
  CHECK((weights.names() == std::vector<std::string>{"model.visual.z",
                                                     "model.language_model.norm.weight",
                                                     "model.visual.b"}));
  CHECK(all_of(weights, "model.visual.b") == made("b", {3}).values);
  CHECK((weights.unused(std::vector<std::string>{"model.visual.b"}) ==
         std::vector<std::string>{"model.visual.z", "model.language_model.norm.weight"}));

  const auto said = [&](const std::string& map) {
    index(map);
    return complaint([&] { Weights again(folder.path()); });
  };
  CHECK_THAT(said(b + ",\"visual.y\":\"second.safetensors\""),
             Contains("'visual.y'") && Contains("second.safetensors"));
  CHECK_THAT(said(b + ",\"visual.y\":\"third.safetensors\""),
             Contains("1 of the 2 files") && Contains("third.safetensors"));
  CHECK_THAT(said("\"visual.b\":\"../second.safetensors\""),
             Contains("not in a file of this folder"));
  CHECK_THAT(said("\"visual.b\":7"), Contains("'visual.b'"));
  CHECK_THAT(said(b + "," + b), Contains("twice"));
  CHECK_THAT(said(""), Contains("no tensors"));
  write_text(folder.path() / "model.safetensors.index.json", "[]");
  CHECK_THAT(complaint([&] { Weights again(folder.path()); }), Contains("weight_map"));
  write_one(folder.path() / "model.safetensors",
            {{"visual.b", made("b", {3})}, {"model.visual.b", made("b", {3})}});
  CHECK_THAT(complaint([&] { Weights again(folder.path()); }),
             Contains("'model.visual.b'") && Contains("twice"));
}

TEST_CASE(
    "What is missing is told with the nearest names; pickled weights with the way to convert "
    "them") {
  const testing::TemporaryFolder folder;
  CHECK_THAT(complaint([&] { Weights weights(folder.path()); }),
             Contains("neither model.safetensors nor"));
  CHECK_THAT(complaint([&] { Weights weights(folder.path() / "absent"); }),
             Contains("no such folder"));
  write_text(folder.path() / "pytorch_model.bin", "x");
  CHECK_THAT(complaint([&] { Weights weights(folder.path()); }),
             Contains("pytorch_model.bin") && Contains("save_pretrained"));

  write_config(folder.path(), "qwen3_vl");
  write_folder(folder.path(), body(true));
  const Weights weights(folder.path());
  float value = 0;
  CHECK_THAT(
      complaint([&] {
        weights.read("model.language_model.layers.2.input_layernorm.weight", Dtype::f32, 0, 1,
                     &value);
      }),
      Contains("layers.2") && Contains("'model.language_model.layers.0.input_layernorm.weight'"));
  CHECK_THAT(complaint([&] {
               weights.require(std::vector<std::string>{"lm_head.weight", "a", "b", "c", "d"});
             }),
             Contains("4 of 5") && Contains("'a'"));
  CHECK_THAT(complaint([&] { weights.read("lm_head.weight", Dtype::f32, 9, 2, &value); }),
             Contains("9 to 11") && Contains("it has 10"));
  CHECK_THAT(complaint([&] { weights.read("lm_head.weight", Dtype::i64, 0, 1, &value); }),
             Contains("F32") && Contains("I64"));

  std::string bytes =
      safetensors_header(
          std::vector<std::pair<std::string, StoredTensor>>{{"visual.q", {Dtype::u8, {8}}}}, {}) +
      std::string(8, 'x');
  bytes.replace(bytes.find("\"U8\""), 4, "\"F8_E4M3\"");
  bytes[0] = static_cast<char>(bytes[0] + 5);
  folder.write("model.safetensors", bytes);
  const Weights quantised(folder.path());
  CHECK_THAT(complaint([&] { quantised.read("model.visual.q", Dtype::f32, 0, 1, &value); }),
             Contains("'model.visual.q'") && Contains("F8_E4M3") && Contains("quantised"));
}

TEST_CASE("Tied embeddings are the language model's head, with or without one in the file") {
  const testing::TemporaryFolder folder;
  for (const char* tied :
       {", \"tie_word_embeddings\": true", ", \"text_config\": {\"tie_word_embeddings\": true}"})
    for (const bool stored : {false, true}) {
      CAPTURE(tied, stored);
      write_config(folder.path(), "qwen3_vl", tied);
      write_folder(folder.path(), body(true, stored));
      const Weights weights(folder.path());
      CHECK(weights.tied());
      CHECK(all_of(weights, "lm_head.weight") == made("embed", {10, 8}).values);
      CHECK(weights.notes().size() == (stored ? 1 : 0));
      std::vector<std::string> without = weights.names();
      without.erase(std::remove(without.begin(), without.end(), "lm_head.weight"), without.end());
      CHECK(weights.unused(without).empty());
    }
  write_config(
      folder.path(), "qwen3_vl",
      ", \"tie_word_embeddings\": false, \"text_config\": {\"tie_word_embeddings\": true}");
  write_folder(folder.path(), body(true, false));
  CHECK_FALSE(Weights(folder.path()).contains("lm_head.weight"));
}

TEST_CASE("Rows are converted to any floating-point type, also in parts") {
  const testing::TemporaryFolder folder;
  const Tensors tensors{
      {"x", made("x", {700, 300})}, {"number", made("n", {})}, {"none", made("none", {0, 5})}};
  write_folder(folder.path(), tensors, Dtype::bf16);
  const Weights weights(folder.path());
  std::vector<std::uint16_t> stored(210000);
  convert(tensors[0].second.values.data(), Dtype::f32, stored.data(), Dtype::bf16, stored.size());
  for (const Dtype type : {Dtype::f32, Dtype::f64, Dtype::f16, Dtype::bf16}) {
    std::vector<char> expected(stored.size() * dtype_size(type)), read(expected.size());
    convert(stored.data(), Dtype::bf16, expected.data(), type, stored.size());
    const std::size_t row = 300 * dtype_size(type);
    weights.read("x", type, 0, 123, read.data());
    weights.read("x", type, 123, 577, read.data() + 123 * row);
    CHECK(read == expected);
  }
  CHECK(all_of(weights, "number").size() == 1);
  CHECK(all_of(weights, "none").empty());
}

TEST_CASE("A LoRA adapter is merged as it is read, from its own folder or into a given base") {
  const testing::TemporaryFolder folder;
  const fs::path base = folder.path() / "base", adapter = folder.path() / "adapter";
  for (const bool nested : {true, false}) {
    CAPTURE(nested);
    fs::create_directories(base);
    write_config(base, nested ? "qwen3_vl" : "qwen2_5_vl");
    write_folder(base, body(nested));
    const std::string q = body(nested)[2].first, q1 = body(nested)[4].first;
    for (const auto& [more, scale] :
         {std::pair{"", 3.0}, {", \"use_rslora\": true", 6 / std::sqrt(2.0)}})
      for (const bool dump : {false, true}) {
        write_adapter(adapter, base.string(), more, dump);
        const Weights own(adapter), two(base, {.adapter = adapter}), given(adapter, {.base = base});
        for (const Weights* each : {&own, &two, &given}) {
          const Weights& weights = *each;
          CHECK(furthest(all_of(weights, q), merged(scale)) < 1e-5);
          CHECK(all_of(weights, q1) == made("layers.1.q", {6, 8}).values);
          CHECK(all_of(weights, "score.weight") == made("score", {1, 8}).values);
          CHECK(weights.from_adapter("score.weight"));
          CHECK_FALSE(weights.from_adapter(q));
          CHECK(weights.view(q) == nullptr);
          CHECK(weights.view(q1) != nullptr);
          CHECK(weights.model_folder() == base);
          CHECK_THAT(weights.notes().at(0), Contains("1 weights"));
          std::vector<float> row(8), whole = all_of(weights, q);
          weights.read(q, Dtype::f32, 4, 1, row.data());
          CHECK(std::equal(row.begin(), row.end(), whole.begin() + 32));
          std::vector<std::uint16_t> rounded(48), expected(48);
          weights.read(q, Dtype::bf16, 0, 6, rounded.data());
          convert(whole.data(), Dtype::f32, expected.data(), Dtype::bf16, 48);
          CHECK(rounded == expected);
        }
      }
  }
  // A path beside the adapter, and none.
  write_adapter(adapter, "../base");
  CHECK(Weights(adapter).model_folder() == adapter / "../base");
  write_adapter(adapter, "Qwen/Qwen3-VL-8B-Instruct");
  CHECK_THAT(complaint([&] { Weights weights(adapter); }),
             Contains("Qwen/Qwen3-VL-8B-Instruct") && Contains("--base DIR"));
}

TEST_CASE("A large LoRA merge is the same in blocks, with a rank that is no multiple of four") {
  const testing::TemporaryFolder folder;
  const fs::path base = folder.path() / "base", adapter = folder.path() / "adapter";
  const Tensors tensors{{"model.layers.0.mlp.up_proj.weight", made("w", {1500, 1000})}};
  write_folder(base, tensors);
  fs::create_directories(adapter);
  write_text(
      adapter / "adapter_config.json",
      fmt::format(R"({{"peft_type":"LORA","r":7,"lora_alpha":7,"base_model_name_or_path":"{}"}})",
                  base.string()));
  write_one(adapter / "adapter_model.safetensors",
            {{"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", made("A", {7, 1000})},
             {"base_model.model.model.layers.0.mlp.up_proj.lora_B.weight", made("B", {1500, 7})}});
  const auto got = all_of(Weights(adapter), tensors[0].first);
  const auto a = made("A", {7, 1000}).values, b = made("B", {1500, 7}).values;
  double most = 0;
  for (std::size_t o = 0; o < 1500; ++o)
    for (std::size_t i = 0; i < 1000; ++i) {
      double sum = tensors[0].second.values[o * 1000 + i];
      for (std::size_t k = 0; k < 7; ++k) sum += double{b[o * 7 + k]} * a[k * 1000 + i];
      most = std::max(most, std::abs(sum - got[o * 1000 + i]));
    }
  CHECK(most < 1e-5);
}

TEST_CASE("Adapters that would be merged wrongly are refused, naming the setting") {
  const testing::TemporaryFolder folder;
  const fs::path base = folder.path() / "base", adapter = folder.path() / "adapter";
  fs::create_directories(base);
  write_config(base, "qwen3_vl");
  write_folder(base, body(true));
  const auto said = [&](const std::string& more) {
    write_adapter(adapter, base.string(), more);
    return complaint([&] { Weights weights(adapter); });
  };
  CHECK(said(", \"use_dora\": false, \"alpha_pattern\": {}, \"init_lora_weights\": true") ==
        "nothing");
  CHECK(said(", \"init_lora_weights\": \"gaussian\"") == "nothing");
  CHECK_THAT(said(", \"use_dora\": true"), Contains("use_dora"));
  CHECK_THAT(said(", \"fan_in_fan_out\": true"), Contains("fan_in_fan_out"));
  CHECK_THAT(said(", \"alpha_pattern\": {\"q_proj\": 3}"), Contains("alpha_pattern"));
  CHECK_THAT(said(", \"init_lora_weights\": \"pissa_niter_4\""), Contains("pissa_niter_4"));
  const auto config = [&](const std::string& old, const std::string& fresh) {
    write_adapter(adapter, base.string());
    std::string text = read_file(adapter / "adapter_config.json");
    text.replace(text.find(old), old.size(), fresh);
    write_text(adapter / "adapter_config.json", text);
    return complaint([&] { Weights weights(adapter); });
  };
  CHECK_THAT(config("\"bias\": \"none\"", "\"bias\": \"lora_only\""), Contains("lora_only"));
  CHECK_THAT(config("LORA", "IA3"), Contains("IA3"));
  CHECK_THAT(config("\"r\": 2", "\"r\": 4"), Contains("r = 4") && Contains("[2,8]"));
  CHECK_THAT(config("\"r\": 2", "\"r\": 0"), Contains("r must"));
  CHECK(config("\"r\": 2", "\"r\": 4, \"rank_pattern\": {\"q_proj\": 2}") == "nothing");

  const auto tensors = [&](const Tensors& written) {
    write_adapter(adapter, base.string());
    write_one(adapter / "adapter_model.safetensors", written);
    return complaint([&] { Weights weights(adapter); });
  };
  const std::string q = "base_model.model.model.language_model.layers.0.self_attn.q_proj.";
  CHECK_THAT(tensors({{q + "lora_A.weight", made("A", {2, 8})}}), Contains("one half"));
  CHECK_THAT(
      tensors({{q + "lora_A.weight", made("A", {2, 9})}, {q + "lora_B.weight", made("B", {6, 2})}}),
      Contains("[6,9]") && Contains("[6,8]"));
  CHECK_THAT(tensors({{q + "lora_magnitude_vector.weight", made("A", {8})}}), Contains("DoRA"));
  CHECK_THAT(tensors({{q + "lora_embedding_A", made("A", {2, 8})}}), Contains("embedding"));
  CHECK_THAT(
      tensors({{"base_model.model.model.layers.9.mlp.up_proj.lora_A.weight", made("A", {2, 8})},
               {"base_model.model.model.layers.9.mlp.up_proj.lora_B.weight", made("B", {6, 2})}}),
      Contains("layers.9") && Contains("not in"));
  fs::remove(adapter / "adapter_model.safetensors");
  write_text(adapter / "adapter_model.bin", "x");
  CHECK_THAT(complaint([&] { Weights weights(adapter); }),
             Contains("adapter_model.bin") && Contains("save_file"));
}

}  // namespace dt2it
