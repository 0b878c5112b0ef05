// SPDX-License-Identifier: Apache-2.0
#include "core/nn/model_config.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "core/nn/safetensors.hpp"
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

std::vector<std::int64_t> integers(simdjson::simdjson_result<simdjson::dom::element> list,
                                   const std::string& file, const char* name) {
  std::vector<std::int64_t> values;
  simdjson::dom::array array;
  if (list.get(array))
    throw ModelError(fmt::format("{}: {} must be a list of integers", file, name));
  for (const auto item : array) {
    std::int64_t value = 0;
    if (item.get(value))
      throw ModelError(fmt::format("{}: {} must be a list of integers", file, name));
    values.push_back(value);
  }
  return values;
}

// What both families have in common. transformers 4.5x and 5 nest it as text_config; the hub's Qwen2.5-VL keeps it flat.
TextConfig read_text(const std::string& file, const Reader& text, simdjson::dom::element object,
                     const Reader& top, Family family) {
  TextConfig t;
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
  if (family == Family::qwen3_vl && text.flag("attention_bias", false))
    text.fail("attention_bias", "is not supported");
  if (text.flag("use_sliding_window", false)) text.fail("use_sliding_window", "is not supported");
  if (t.heads % t.kv_heads != 0)
    text.fail("num_key_value_heads", "must divide num_attention_heads");
  if (t.head_dim % 2 != 0) text.fail("head_dim", "must be even");

  // transformers 4 calls it rope_scaling (with rope_theta beside it), 5 puts both into rope_parameters.
  simdjson::dom::element rope;
  if (object["rope_scaling"].get(rope) && object["rope_parameters"].get(rope))
    text.fail("rope_scaling", "is missing");
  const Reader scaling(file, "rope_scaling.", rope);
  const std::string type = scaling.text("rope_type", scaling.text("type", "default").c_str());
  if (type != "default" && type != "mrope") scaling.fail("rope_type", "must be default or mrope");
  t.rope_theta = text.number("rope_theta", scaling.number("rope_theta", 0));
  if (!(t.rope_theta > 1)) text.fail("rope_theta", "must be above 1");
  const auto sections = integers(rope["mrope_section"], file, "mrope_section");
  if (sections.size() != 3 || std::min({sections[0], sections[1], sections[2]}) < 0 ||
      sections[0] + sections[1] + sections[2] != t.head_dim / 2)
    scaling.fail("mrope_section", "must be three numbers that add up to head_dim / 2");
  std::copy(sections.begin(), sections.end(), t.mrope_section.begin());
  return t;
}

void check_blocks(const Reader& vision, const char* name, const std::vector<std::int64_t>& blocks,
                  std::int64_t depth) {
  for (const std::int64_t block : blocks)
    if (block < 0 || block >= depth) vision.fail(name, "names a block that does not exist");
}

VisionConfig read_vision(const std::string& file, const Reader& vision,
                         simdjson::dom::element object, Family family, const TextConfig& text) {
  VisionConfig v;
  v.depth = vision.positive("depth");
  v.hidden = vision.positive("hidden_size");
  v.heads = vision.positive("num_heads");
  v.intermediate = vision.positive("intermediate_size");
  v.out_hidden = vision.positive("out_hidden_size");
  v.patch = vision.positive("patch_size", vision.positive("spatial_patch_size", 14));
  v.merge = vision.positive("spatial_merge_size", 2);
  v.temporal = vision.positive("temporal_patch_size", 2);
  v.channels = vision.positive("in_channels", vision.positive("in_chans", 3));
  if (v.hidden % v.heads != 0 || v.hidden / v.heads % 4 != 0)
    vision.fail("num_heads", "must divide hidden_size into heads of a multiple of 4");
  if (v.out_hidden != text.hidden)
    vision.fail("out_hidden_size", "must equal the hidden_size of the language model");
  if (v.channels != 3) vision.fail("in_channels", "must be 3");
  const std::string activation =
      vision.text("hidden_act", family == Family::qwen3_vl ? "gelu_pytorch_tanh" : "silu");
  if (family == Family::qwen3_vl) {
    v.deepstack = integers(object["deepstack_visual_indexes"], file, "deepstack_visual_indexes");
    const std::int64_t places = vision.positive("num_position_embeddings");
    v.position_side = std::llround(std::sqrt(static_cast<double>(places)));
    if (v.position_side * v.position_side != places)
      vision.fail("num_position_embeddings", "must be a square number");
    if (activation != "gelu_pytorch_tanh") vision.fail("hidden_act", "must be gelu_pytorch_tanh");
    if (static_cast<std::int64_t>(v.deepstack.size()) > text.layers)
      vision.fail("deepstack_visual_indexes", "has more entries than there are text layers");
    check_blocks(vision, "deepstack_visual_indexes", v.deepstack, v.depth);
  } else {
    v.full_attention = integers(object["fullatt_block_indexes"], file, "fullatt_block_indexes");
    v.tokens_per_second = vision.number("tokens_per_second", 2);
    const std::int64_t window = vision.positive("window_size");
    v.window = window / (v.patch * v.merge);
    if (v.window < 1 || window % (v.patch * v.merge) != 0)
      vision.fail("window_size", "must be a multiple of patch_size * spatial_merge_size");
    if (activation != "silu") vision.fail("hidden_act", "must be silu");
    check_blocks(vision, "fullatt_block_indexes", v.full_attention, v.depth);
  }
  return v;
}

}  // namespace

std::vector<std::int64_t> TextConfig::frequency_axes(Family family) const {
  std::vector<std::int64_t> axes(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const auto place = static_cast<std::int64_t>(i);
    if (family == Family::qwen2_5_vl) {
      axes[i] = place < mrope_section[0] ? 0 : place < mrope_section[0] + mrope_section[1] ? 1 : 2;
    } else {
      for (std::int64_t axis : {1, 2})
        if (place % 3 == axis && place < 3 * mrope_section[static_cast<std::size_t>(axis)])
          axes[i] = axis;
    }
  }
  return axes;
}

ModelConfig ModelConfig::read(const std::filesystem::path& path) {
  const std::string file = path.string();
  const std::string json = read_text_file(path);
  simdjson::dom::parser parser;
  simdjson::dom::element root, text_object, vision_object;
  if (parser.parse(json).get(root) || !root.is_object())
    throw ModelError(file + ": is not a JSON object");
  const Reader top(file, "", root);
  ModelConfig config;
  const std::string type = top.text("model_type", "(none)");
  bool nested = true;
  if (type == "qwen2_5_vl")
    config.family = Family::qwen2_5_vl;
  else if (type != "qwen3_vl")
    throw ModelError(
        fmt::format("{}: model_type is '{}' (qwen2_5_vl and qwen3_vl are supported)", file, type));
  if (root["text_config"].get(text_object)) {
    if (config.family == Family::qwen3_vl)
      throw ModelError(file + ": needs text_config and vision_config");
    text_object = root;
    nested = false;
  }
  if (root["vision_config"].get(vision_object)) throw ModelError(file + ": needs vision_config");
  const Reader text(file, nested ? "text_config." : "", text_object),
      vision(file, "vision_config.", vision_object);

  config.image_token = top.positive("image_token_id");
  config.video_token = top.positive("video_token_id", config.image_token);
  config.vision_start_token = top.positive("vision_start_token_id");
  config.vision_end_token = top.positive("vision_end_token_id");
  config.text = read_text(file, text, text_object, top, config.family);
  config.vision = read_vision(file, vision, vision_object, config.family, config.text);

  for (const Reader* reader : {&text, &top})
    for (const char* name : {"dtype", "torch_dtype"})
      if (const std::string stored = reader->text(name, ""); !stored.empty())
        config.type = stored == "bfloat16"  ? at::kBFloat16
                      : stored == "float16" ? at::kHalf
                                            : at::kFloat;
  return config;
}

}  // namespace dt2it::nn
