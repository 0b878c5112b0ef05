// SPDX-License-Identifier: Apache-2.0
#include "core/score/checkpoint_facts.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <array>
#include <map>

#include "core/util/json.hpp"
#include "core/weights/head_weights.hpp"
#include "core/weights/lora.hpp"
#include "core/weights/weights.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

namespace {

constexpr std::array kNeeded{"tokenizer.json", "preprocessor_config.json"};
constexpr const char* kProcessor = "processor_config.json";
constexpr double kMakerOdds = 2;  // config.json may have come along from another version

void get(const simdjson::dom::element& object, const char* key, std::int64_t& number) {
  std::int64_t value = 0;
  if (!object[key].get(value)) number = value;
}

std::string gib(double bytes) {
  return fmt::format("{:.{}f} GiB", bytes / (1u << 30), bytes < (1u << 30) ? 3 : 1);
}

}  // namespace

CheckpointFacts::CheckpointFacts(const fs::path& path) : folder(path.string()) {
  if (!fs::is_directory(path)) throw ModelError(folder + ": no such folder");
  if (!fs::exists(path / "config.json") && !LoraAdapter::is_adapter(path))
    throw ModelError(folder + ": has no config.json; it is no checkpoint");
  const auto weights = std::make_shared<const Weights>(path);
  const fs::path model = weights->model_folder();
  if (!weights->adapter_folder().empty()) {
    adapter = weights->adapter_folder().string();
    base = model.string();
  }
  notes = weights->notes();
  tied = weights->tied();

  simdjson::dom::parser parser;
  simdjson::dom::element root, inner;
  const fs::path config = model / "config.json";
  if (parser.load(config.string()).get(root)) throw ModelError(config.string() + ": is not JSON");
  std::string_view text;
  if (!root["model_type"].get(text)) model_type = text;
  if (!root["transformers_version"].get(text)) made_with = text;
  if (simdjson::dom::array list;
      !root["architectures"].get(list) && list.size() > 0 && !list.at(0).get(text))
    architecture = text;
  const simdjson::dom::element language = root["text_config"].get(inner) ? root : inner;
  get(language, "num_hidden_layers", layers);
  get(language, "hidden_size", hidden);
  get(language, "vocab_size", vocabulary);
  if (simdjson::dom::element vision; !root["vision_config"].get(vision))
    get(vision, "depth", vision_layers);
  if (model_type.empty()) problems.push_back("config.json has no model_type");

  std::map<std::string_view, std::uint64_t> by_type;
  for (const std::string& name : weights->names()) {
    if (tied && name == "lm_head.weight") continue;  // the embedding again
    const Weights::Info info = weights->info(name);
    std::uint64_t count = 1;
    for (const std::int64_t size : info.shape) count *= static_cast<std::uint64_t>(size);
    parameters += count;
    bytes += count * dtype_bits(info.type) / 8;
    by_type[dtype_name(info.type)] += count;
  }
  for (const auto& [type, count] : by_type)
    types +=
        (types.empty() ? "" : ", ") +
        (by_type.size() == 1
             ? std::string(type)
             : fmt::format("{} ({:.2g} %)", type,
                           100.0 * static_cast<double>(count) / static_cast<double>(parameters)));

  try {
    const FoundHead head = find_reward_head(path, weights);
    head_file = head.file;
    head_weight = head.weight;
    head_bias = head.bias;
    head_layout = head.linear() ? "linear" : "two layers";
    const HeadWeights values = head.read();
    head_width = values.width();
    if (values.bias)
      notes.push_back(
          fmt::format("the head's bias is {:.6g}; it shifts all rewards alike", *values.bias));
    if (hidden > 0 && head_width != static_cast<std::uint64_t>(hidden))
      problems.push_back(fmt::format("the head is {} wide, the model {}", head_width, hidden));
  } catch (const ModelError& error) {
    problems.push_back(error.what());
    head_weight.clear();
  }
  head_input = stated_head_input(path);
  for (const char* name : kNeeded)
    (fs::exists(path / name) || fs::exists(model / name) ? present : absent).push_back(name);
  // From 5.0 on transformers writes the image processor as a part of this file only.
  if (!absent.empty() && absent.back() == kNeeded.back() &&
      !parser.load((model / kProcessor).string()).get(root) &&
      root["image_processor"].is_object()) {
    absent.pop_back();
    present.push_back(kProcessor);
  }
  for (const std::string& name : absent) problems.push_back(name + " is not there");
}

double CheckpointFacts::head_input_odds() const {
  if (model_type == "qwen2_5_vl")
    return kMakerOdds + 1;  // read after the norm by every known program
  if (model_type != "qwen3_vl" || !head_file.ends_with("value_head.safetensors")) return 0;
  if (made_with.starts_with("4.")) return -kMakerOdds;
  return made_with.empty() ? 0 : kMakerOdds;
}

std::string CheckpointFacts::text() const {
  std::string text = folder + '\n';
  const auto row = [&text](const char* name, const std::string& value) {
    if (!value.empty()) text += fmt::format("  {:<12} {}\n", name, value);
  };
  row("model", fmt::format("{}{}", model_type, architecture.empty() ? "" : ", " + architecture));
  row("size", fmt::format("{:.3g} B parameters; {} layers of {}, {} in the tower; vocabulary {}",
                          static_cast<double>(parameters) / 1e9, layers, hidden, vision_layers,
                          vocabulary));
  row("weights", fmt::format("{} in {}{}", gib(static_cast<double>(bytes)), types,
                             tied ? ", embeddings tied" : ""));
  row("adapter", adapter.empty() ? "" : adapter + " on " + base);
  row("memory", fmt::format("about {} in bfloat16, {} in float32, and room for a batch",
                            gib(2.0 * static_cast<double>(parameters)),
                            gib(4.0 * static_cast<double>(parameters))));
  row("head", has_head() ? fmt::format("{}, {} {}, {}", head_file, head_weight, head_layout,
                                       head_bias.empty() ? "no bias" : "with bias")
                         : "none");
  row("head_input", head_input.empty() ? "" : "training.json says " + head_input);
  row("made with", made_with.empty() ? "" : "transformers " + made_with);
  row("beside", fmt::format("{}", fmt::join(present, ", ")));
  for (const std::string& note : notes) row("note", note);
  for (const std::string& problem : problems) row("problem", problem);
  return text;
}

std::string CheckpointFacts::json() const {
  JsonWriter json;
  json.begin_object();
  const auto put = [&json](const char* name, const std::string& value) {
    if (!value.empty()) json.key(name).value(value);
  };
  put("folder", folder);
  put("model_type", model_type);
  put("architecture", architecture);
  put("made_with", made_with);
  json.key("layers").value(layers).key("hidden").value(hidden).key("vocabulary").value(vocabulary);
  json.key("vision_layers").value(vision_layers);
  json.key("parameters")
      .value(static_cast<std::int64_t>(parameters))
      .key("bytes")
      .value(static_cast<std::int64_t>(bytes));
  put("types", types);
  json.key("tied").value(tied);
  put("adapter", adapter);
  put("base", base);
  put("head_file", head_file);
  put("head_weight", head_weight);
  put("head_bias", head_bias);
  if (has_head()) put("head_layout", head_layout);
  put("head_input", head_input);
  for (const auto& [name, list] :
       {std::pair{"absent", &absent}, {"notes", &notes}, {"problems", &problems}}) {
    json.key(name).begin_array();
    for (const std::string& one : *list) json.value(one);
    json.end_array();
  }
  return json.end_object().text();
}

}  // namespace dt2it
