// SPDX-License-Identifier: Apache-2.0
#include "core/cli/inputs.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "core/run/layout.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

constexpr std::array kFormats{"auto", "dt2it", "jsonl", "sharegpt", "trl", "llava", "parquet"};

bool is_parquet(const fs::path& input) {
  if (!fs::is_directory(input)) return input.extension() == ".parquet";
  for (const auto& entry : fs::directory_iterator(input))
    if (entry.path().extension() == ".parquet") return true;
  return false;
}

// By the first record; a folder, by the file in it.
bool has_own_pairs(const fs::path& input) {
  const fs::path file = fs::is_directory(input) ? input / layout::kPairs : input;
  std::ifstream stream(file);
  std::string line;
  if (file.extension() != ".jsonl" || !std::getline(stream, line)) return false;
  simdjson::dom::parser parser;
  simdjson::dom::element record, messages;
  std::string_view chosen;
  return !parser.parse(line).get(record) && !record["prompt"]["messages"].get(messages) &&
         !record["chosen"]["text"].get(chosen);
}

}  // namespace

std::vector<ComponentConfig> pair_datasets(const InputOptions& options, const Catalog& catalog,
                                           const std::string& prefix) {
  std::vector<ComponentConfig> datasets;
  for (const std::string& input : options.inputs) {
    const std::string name = fmt::format("{}_{}", prefix, datasets.size() + 1);
    if ((options.format == "auto" || options.format == "dt2it" || options.format == "jsonl") &&
        has_own_pairs(input)) {
      std::vector<std::string> settings{text_setting("file", input)};
      if (!options.media_root.empty())
        settings.push_back(text_setting("media_root", options.media_root.string()));
      datasets.push_back(component_of(catalog, Dataset::kKind, name, "jsonl", settings));
      continue;
    }
    InputOptions one = options;
    one.inputs = {input};
    datasets.push_back(input_datasets(one, catalog, prefix).front());
    datasets.back().name = name;
  }
  return datasets;
}

void add_input_options(po::options_description& words, InputOptions& options) {
  words.add_options()("format", po::value(&options.format)->value_name("FORM"),
                      "auto (default), dt2it (or jsonl), sharegpt, trl, llava, parquet")(
      "media-root", po::value(&options.media_root)->value_name("DIR"),
      "folder that paths of images start from (default: the folder of the file)")(
      "dataset-info", po::value(&options.dataset_info)->value_name("FILE"),
      "LLaMA-Factory's dataset_info.json (default: the one beside the file)")(
      "media-store", po::value(&options.media_store)->value_name("DIR"),
      "where media are that records name by id (default: runs/.media)");
}

std::vector<ComponentConfig> input_datasets(const InputOptions& options, const Catalog& catalog,
                                            const std::string& prefix) {
  if (std::find(kFormats.begin(), kFormats.end(), options.format) == kFormats.end())
    throw ConfigError(fmt::format("--format cannot be '{}' (allowed: {})", options.format,
                                  fmt::join(kFormats, ", ")));
  std::vector<ComponentConfig> datasets;
  for (const std::string& input : options.inputs) {
    if (!fs::exists(input)) throw DataError(input + ": no such file or folder");
    const bool parquet = options.format == "parquet" || is_parquet(input);
    if (parquet && !catalog.find(Dataset::kKind, "parquet"))
      throw ConfigError(input +
                        ": Parquet needs the plugin datasets/parquet, which is not there: it is "
                        "built where Arrow is "
                        "found (./dev setup, or PYARROW_ROOT)");
    std::vector<std::string> settings{text_setting("file", input)};
    const std::string format = options.format == "jsonl"     ? "dt2it"
                               : options.format == "parquet" ? "auto"
                                                             : options.format;
    settings.push_back(text_setting("format", format));
    if (!options.media_root.empty())
      settings.push_back(text_setting("media_root", options.media_root.string()));
    if (!options.dataset_info.empty())
      settings.push_back(text_setting("dataset_info", options.dataset_info.string()));
    datasets.push_back(component_of(catalog, Dataset::kKind,
                                    fmt::format("{}_{}", prefix, datasets.size() + 1),
                                    parquet ? "parquet" : "preferences", settings));
  }
  return datasets;
}

InputMedia::InputMedia(const InputOptions& options, PluginRegistry& registry,
                       const fs::path& folder)
    : passing_(registry, folder / "media"),
      kept_(fs::is_directory(options.media_store)
                ? std::make_unique<HostMedia>(registry, options.media_store)
                : nullptr),
      media_(passing_.store(), folder / "media", kept_ ? &kept_->store() : nullptr) {}

}  // namespace dt2it::cli
