// SPDX-License-Identifier: Apache-2.0
#include "core/weights/convert.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <iostream>

#include "core/cli/verbs.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

// "5GB", "500MB", "2GiB", "1000000".
std::uint64_t bytes_of(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  double factor = 0;
  for (const auto& [name, bytes] : {std::pair{"", 1.0},
                                    {"KB", 1e3},
                                    {"MB", 1e6},
                                    {"GB", 1e9},
                                    {"KiB", 1024.0},
                                    {"MiB", 1048576.0},
                                    {"GiB", 1073741824.0}})
    if (unit == name) factor = bytes;
  if (error != std::errc() || factor == 0 || !(number * factor >= 1) || number * factor > 1e18)
    throw ConfigError(
        fmt::format("dt2it convert: '{}' is no size (such as 5GB, 500MB, 2GiB)", text));
  return static_cast<std::uint64_t>(number * factor);
}

Dtype type_named(const std::string& text) {
  if (text == "bf16") return Dtype::bf16;
  if (text == "f16") return Dtype::f16;
  if (text == "f32") return Dtype::f32;
  throw ConfigError(fmt::format("dt2it convert: no type '{}' (there are: bf16, f16, f32)", text));
}

}  // namespace

int convert(const Arguments& arguments) {
  std::vector<std::string> folders;
  std::string layout = "keep", type, shard = "5GB", adapter, base;
  ConvertRequest request;
  po::options_description options("options");
  options.add_options()("folders", po::value(&folders), "the checkpoint, and the new folder")(
      "head-layout", po::value(&layout)->value_name("LAYOUT"),
      "llama_factory (value_head.safetensors), score (score.weight, for vLLM and transformers), "
      "v_head, rm_head, or keep (default)")(
      "dtype", po::value(&type)->value_name("TYPE"),
      "bf16, f16 or f32 for the model's weights (default: as they are); the head keeps its own")(
      "max-shard-size", po::value(&shard)->value_name("SIZE"),
      "largest weights file (default: 5GB)")("merge-adapter",
                                             po::bool_switch(&request.merge_adapter),
                                             "write a LoRA adapter and its base as one model")(
      "adapter", po::value(&adapter)->value_name("DIR"), "merge this adapter into the checkpoint")(
      "base", po::value(&base)->value_name("DIR"),
      "base model of an adapter folder, if adapter_config.json names none here")(
      "overwrite", po::bool_switch(&request.overwrite),
      "replace the new folder if it is there, with a checkpoint and nothing else in it");
  if (!parse(arguments, options, "folders", "usage: dt2it convert SOURCE TARGET [options]"))
    return 0;
  if (folders.size() != 2)
    throw ConfigError("dt2it convert: a source and a target folder are needed");
  request.from = folders[0];
  request.to = folders[1];
  if (layout != "keep") request.head = head_layout_named(layout);
  if (!type.empty()) request.type = type_named(type);
  request.max_shard_bytes = bytes_of(shard);
  request.options.adapter = adapter;
  request.options.base = base;
  request.merge_adapter = request.merge_adapter || !adapter.empty();

  const Converted done = convert_checkpoint(request);
  std::cout << fmt::format("{}: {} tensors, {:.1f} MB in {} file{}\n", request.to.string(),
                           done.tensors, static_cast<double>(done.written.bytes) / 1e6,
                           done.written.files, done.written.files == 1 ? "" : "s");
  if (!done.copied.empty())
    std::cout << fmt::format("  copied: {}\n", fmt::join(done.copied, ", "));
  for (const std::string& note : done.notes) std::cout << fmt::format("  note: {}\n", note);
  return 0;
}

}  // namespace dt2it::cli
