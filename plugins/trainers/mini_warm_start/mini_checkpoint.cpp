// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/mini_warm_start/mini_checkpoint.hpp"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <array>
#include <cctype>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "core/nn/safetensors.hpp"
#include "dt2it/json_text.hpp"
#include "plugins/common/mini_world/language.hpp"

namespace dt2it::warm_start {
namespace {

// In the order of their ids, from 0.
constexpr std::array<std::string_view, 7> kSpecial{
    "<|endoftext|>",  "<|im_start|>",  "<|im_end|>",   "<|vision_start|>",
    "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"};
enum SpecialId { kPad, kStart, kEnd, kVisionStart, kVisionEnd, kImage, kVideo };
constexpr std::string_view kUnknown = "<unk>";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// Words after the special tokens, in id order.
std::vector<std::string> words() {
  std::vector<std::string> all{std::string(kUnknown), "user", "assistant", "system"};
  for (const std::string_view compound : mini_world::kCompounds) {
    std::string joined = lower(compound);
    std::erase(joined, ' ');
    all.push_back(joined);
  }
  std::set<std::string> seen(all.begin(), all.end());
  for (const std::string& word : mini_world::vocabulary())
    if (std::string small = lower(word); seen.insert(small).second) all.push_back(std::move(small));
  return all;
}

std::string added_token(std::size_t id) {
  return fmt::format(
      R"({{"id":{},"content":{},"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}})",
      id, json_text(kSpecial[id]));
}

std::string tokenizer_json(const std::vector<std::string>& all) {
  std::string added, vocabulary, compounds;
  for (std::size_t id = 0; id < kSpecial.size(); ++id)
    added += (id ? ",\n    " : "") + added_token(id);
  for (std::size_t i = 0; i < all.size(); ++i)
    vocabulary += fmt::format("{}{}:{}", i ? "," : "", json_text(all[i]), i + kSpecial.size());
  for (const std::string_view compound : mini_world::kCompounds) {
    const std::string from = lower(compound);
    std::string to = from;
    std::erase(to, ' ');
    compounds += fmt::format(R"(,
    {{"type":"Replace","pattern":{{"String":{}}},"content":{}}})",
                             json_text(from), json_text(to));
  }
  return fmt::format(R"({{
  "version":"1.0","truncation":null,"padding":null,
  "added_tokens":[
    {}],
  "normalizer":{{"type":"Sequence","normalizers":[
    {{"type":"Lowercase"}}{}]}},
  "pre_tokenizer":{{"type":"Whitespace"}},
  "post_processor":null,"decoder":null,
  "model":{{"type":"WordLevel","unk_token":{},"vocab":{{{}}}}}
}}
)",
                     added, compounds, json_text(kUnknown), vocabulary);
}

constexpr std::string_view kChatTemplate =
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}"
    "{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif part.type == 'text' -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{ '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}";

}  // namespace

void write_mini_description(const std::filesystem::path& folder) {
  const std::vector<std::string> all = words();
  const std::size_t vocabulary = kSpecial.size() + all.size();
  nn::write_text_file(
      folder / "config.json",
      fmt::format(R"({{
  "architectures": ["Qwen3VLForConditionalGeneration"],
  "model_type": "qwen3_vl",
  "dtype": "bfloat16",
  "image_token_id": {},
  "video_token_id": {},
  "vision_start_token_id": {},
  "vision_end_token_id": {},
  "tie_word_embeddings": true,
  "text_config": {{
    "model_type": "qwen3_vl_text",
    "dtype": "bfloat16",
    "hidden_size": {},
    "num_hidden_layers": {},
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 160,
    "hidden_act": "silu",
    "attention_bias": false,
    "attention_dropout": 0.0,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000,
    "rope_scaling": {{"rope_type": "default", "mrope_interleaved": true, "mrope_section": [6, 5, 5]}},
    "max_position_embeddings": 4096,
    "initializer_range": 0.02,
    "tie_word_embeddings": true,
    "use_cache": true,
    "bos_token_id": {},
    "eos_token_id": {},
    "vocab_size": {}
  }},
  "vision_config": {{
    "model_type": "qwen3_vl",
    "depth": 1,
    "hidden_size": 48,
    "num_heads": 4,
    "intermediate_size": 96,
    "hidden_act": "gelu_pytorch_tanh",
    "in_channels": 3,
    "initializer_range": 0.02,
    "patch_size": {},
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_position_embeddings": 64,
    "out_hidden_size": {},
    "deepstack_visual_indexes": []
  }}
}}
)",
                  int{kImage}, int{kVideo}, int{kVisionStart}, int{kVisionEnd}, kHidden, kLayers,
                  int{kPad}, int{kEnd}, vocabulary, kPatch, kHidden));
  nn::write_text_file(folder / "tokenizer.json", tokenizer_json(all));
  nn::write_text_file(folder / "tokenizer_config.json",
                      fmt::format(R"({{
  "tokenizer_class": "PreTrainedTokenizerFast",
  "bos_token": null,
  "eos_token": {},
  "pad_token": {},
  "unk_token": {},
  "clean_up_tokenization_spaces": false,
  "model_max_length": 4096,
  "chat_template": {}
}}
)",
                                  json_text(kSpecial[kEnd]), json_text(kSpecial[kPad]),
                                  json_text(kUnknown), json_text(kChatTemplate)));
  nn::write_text_file(folder / "chat_template.json",
                      fmt::format("{{\n  \"chat_template\": {}\n}}\n", json_text(kChatTemplate)));
  nn::write_text_file(folder / "preprocessor_config.json", fmt::format(R"({{
  "image_processor_type": "Qwen2VLImageProcessorFast",
  "processor_class": "Qwen3VLProcessor",
  "size": {{"shortest_edge": 256, "longest_edge": 65536}},
  "patch_size": {},
  "temporal_patch_size": 2,
  "merge_size": 2,
  "image_mean": [0.5, 0.5, 0.5],
  "image_std": [0.5, 0.5, 0.5]
}}
)",
                                                                       kPatch));
}

void initialise_mini(nn::VlModel& model, Rng& rng) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : model.parameters()) {
    if (tensor.dim() == 1) {
      tensor.fill_(name.ends_with(".bias") ? 0 : 1);
      continue;
    }
    double deviation = 1 / std::sqrt(3.0 * static_cast<double>(tensor.numel() / tensor.size(0)));
    if (name.ends_with("embed_tokens.weight")) deviation = .1;
    if (name.ends_with("pos_embed.weight")) deviation = .02;
    auto* data = tensor.data_ptr<float>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i)
      data[i] = static_cast<float>(rng.normal(0, deviation));
  }
}

}  // namespace dt2it::warm_start
