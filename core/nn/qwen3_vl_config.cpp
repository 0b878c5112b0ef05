// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <simdjson.h>

#include <cmath>

#include "core/nn/qwen3_vl.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

// Reads members of one object; what is missing is an error that says where.
class Reader {
 public:
  Reader(const std::string& file, std::string where, simdjson::dom::element object)
      : file_(file), where_(std::move(where)), object_(object) {}

  std::int64_t positive(const char* name) const {
    std::int64_t value = 0;
    if (object_[name].get(value) || value < 1 || value > (std::int64_t{1} << 32))
      fail(name, "must be a positive integer");
    return value;
  }
  std::int64_t positive(const char* name, std::int64_t fallback) const {
    return object_[name].error() ? fallback : positive(name);
  }
  double number(const char* name, double fallback) const {
    double value = 0;
    return object_[name].get(value) ? fallback : value;
  }
  std::string text(const char* name, const char* fallback) const {
    std::string_view value;
    return object_[name].get(value) ? fallback : std::string(value);
  }
  bool flag(const char* name, bool fallback) const {
    bool value = false;
    return object_[name].get(value) ? fallback : value;
  }
  [[noreturn]] void fail(const char* name, const char* what) const {
    throw ModelError(fmt::format("{}: {}{} {}", file_, where_, name, what));
  }

 private:
  const std::string& file_;
  std::string where_;
  simdjson::dom::element object_;
};

std::vector<std::int64_t> integers(simdjson::simdjson_result<simdjson::dom::element> list, const std::string& file,
                                   const char* name) {
  std::vector<std::int64_t> values;
  simdjson::dom::array array;
  if (list.get(array)) throw ModelError(fmt::format("{}: {} must be a list of integers", file, name));
  for (const auto item : array) {
    std::int64_t value = 0;
    if (item.get(value)) throw ModelError(fmt::format("{}: {} must be a list of integers", file, name));
    values.push_back(value);
  }
  return values;
}

}  // namespace

Qwen3VlConfig Qwen3VlConfig::read(const std::filesystem::path& path) {
  const std::string file = path.string();
  const std::string json = read_text_file(path);
  simdjson::dom::parser parser;
  simdjson::dom::element root, text_object, vision_object;
  if (parser.parse(json).get(root) || !root.is_object()) throw ModelError(file + ": is not a JSON object");
  if (root["text_config"].get(text_object) || root["vision_config"].get(vision_object))
    throw ModelError(file + ": needs text_config and vision_config");
  const Reader top(file, "", root), text(file, "text_config.", text_object), vision(file, "vision_config.", vision_object);
  if (const std::string type = top.text("model_type", "(none)"); type != "qwen3_vl")
    throw ModelError(fmt::format("{}: model_type is '{}', qwen3_vl is expected", file, type));

  Qwen3VlConfig config;
  config.image_token = top.positive("image_token_id");
  config.vision_start_token = top.positive("vision_start_token_id");
  config.vision_end_token = top.positive("vision_end_token_id");

  TextConfig& t = config.text;
  t.layers = text.positive("num_hidden_layers");
  t.hidden = text.positive("hidden_size");
  t.heads = text.positive("num_attention_heads");
  t.kv_heads = text.positive("num_key_value_heads", t.heads);
  t.head_dim = text.positive("head_dim", t.hidden / t.heads);
  t.intermediate = text.positive("intermediate_size");
  t.vocabulary = text.positive("vocab_size");
  t.norm_epsilon = text.number("rms_norm_eps", 1e-6);
  t.initial_deviation = text.number("initializer_range", 0.02);
  t.tied = top.flag("tie_word_embeddings", text.flag("tie_word_embeddings", false));
  if (text.text("hidden_act", "silu") != "silu") text.fail("hidden_act", "must be silu");
  if (text.flag("attention_bias", false)) text.fail("attention_bias", "is not supported");
  if (t.heads % t.kv_heads != 0) text.fail("num_key_value_heads", "must divide num_attention_heads");
  if (t.head_dim % 2 != 0) text.fail("head_dim", "must be even");

  // transformers 4 calls it rope_scaling (with rope_theta beside it), 5 puts both into rope_parameters.
  simdjson::dom::element rope;
  if (text_object["rope_scaling"].get(rope) && text_object["rope_parameters"].get(rope))
    text.fail("rope_scaling", "is missing");
  const Reader scaling(file, "text_config.rope_scaling.", rope);
  if (scaling.text("rope_type", "default") != "default") scaling.fail("rope_type", "must be default");
  t.rope_theta = text.number("rope_theta", scaling.number("rope_theta", 0));
  if (!(t.rope_theta > 1)) text.fail("rope_theta", "must be above 1");
  const auto sections = integers(rope["mrope_section"], file, "mrope_section");
  if (sections.size() != 3 || sections[0] + sections[1] + sections[2] != t.head_dim / 2)
    scaling.fail("mrope_section", "must be three numbers that add up to head_dim / 2");
  std::copy(sections.begin(), sections.end(), t.mrope_section.begin());

  VisionConfig& v = config.vision;
  v.depth = vision.positive("depth");
  v.hidden = vision.positive("hidden_size");
  v.heads = vision.positive("num_heads");
  v.intermediate = vision.positive("intermediate_size");
  v.out_hidden = vision.positive("out_hidden_size");
  v.patch = vision.positive("patch_size");
  v.merge = vision.positive("spatial_merge_size", 2);
  v.temporal = vision.positive("temporal_patch_size", 2);
  v.channels = vision.positive("in_channels", 3);
  v.deepstack = integers(vision_object["deepstack_visual_indexes"], file, "deepstack_visual_indexes");
  const std::int64_t places = vision.positive("num_position_embeddings");
  v.position_side = std::llround(std::sqrt(static_cast<double>(places)));
  if (v.position_side * v.position_side != places) vision.fail("num_position_embeddings", "must be a square number");
  if (vision.text("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh")
    vision.fail("hidden_act", "must be gelu_pytorch_tanh");
  if (v.hidden % v.heads != 0 || v.hidden / v.heads % 4 != 0)
    vision.fail("num_heads", "must divide hidden_size into heads of a multiple of 4");
  if (v.out_hidden != t.hidden) vision.fail("out_hidden_size", "must equal the text hidden_size");
  if (v.channels != 3) vision.fail("in_channels", "must be 3");
  if (static_cast<std::int64_t>(v.deepstack.size()) > t.layers)
    vision.fail("deepstack_visual_indexes", "has more entries than there are text layers");
  for (const std::int64_t block : v.deepstack)
    if (block < 0 || block >= v.depth) vision.fail("deepstack_visual_indexes", "names a block that does not exist");

  for (const Reader* reader : {&text, &top})
    for (const char* name : {"dtype", "torch_dtype"})
      if (const std::string type = reader->text(name, ""); !type.empty())
        config.type = type == "bfloat16" ? at::kBFloat16 : type == "float16" ? at::kHalf : at::kFloat;
  return config;
}

}  // namespace dt2it::nn
