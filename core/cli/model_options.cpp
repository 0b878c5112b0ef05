// SPDX-License-Identifier: Apache-2.0
#include "core/cli/model_options.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/util/workers.hpp"
#include "dt2it/error.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

void add_model_options(po::options_description& words, ModelOptions& options) {
  words.add_options()("model,m", po::value(&options.model)->value_name("KIND[:ARG]"),
                      "reward model: a checkpoint's folder (or mrm:FOLDER), length, judge ...")(
      "dtype", po::value(&options.dtype)->value_name("TYPE"), "float32, bfloat16, checkpoint")(
      "device", po::value(&options.device)->value_name("DEVICE"),
      "cpu, cuda, cuda:N, auto; of several processes on a machine each takes its own for cuda and "
      "auto (LOCAL_RANK, SLURM_LOCALID)")("threads", po::value(&options.threads)->value_name("N"),
                                          "threads for the computation (default: the cores)")(
      "tokens-per-batch", po::value(&options.tokens_per_batch)->value_name("N"),
      "tokens of one forward pass")(
      "set", po::value(&options.settings)->composing()->value_name("KEY=VALUE"),
      "a parameter of the model; may be given often");
}

ComponentConfig reward_model_of(const ModelOptions& options, const Catalog& catalog) {
  if (options.model.empty()) throw ConfigError("no reward model given (--model CHECKPOINT, say)");
  if (options.threads < 0 || options.tokens_per_batch < 0)
    throw ConfigError("--threads and --tokens-per-batch must be at least 1");
  const std::string model =
      fs::is_directory(options.model) ? "mrm:" + options.model : options.model;
  const ComponentDescription* description =
      catalog.find(RewardModel::kKind, model.substr(0, model.find(':')));
  const auto takes = [&](const char* name) {
    return description && std::any_of(description->params.begin(), description->params.end(),
                                      [&](const ParamSpec& spec) { return spec.name == name; });
  };
  std::vector<std::string> settings;
  const auto flag = [&](const char* option, const char* name, const std::string& value, bool text) {
    if (value.empty()) return;
    if (description && !takes(name))
      throw ConfigError(fmt::format("reward_models/{} takes no {}", description->name, option));
    settings.push_back(text ? text_setting(name, value) : fmt::format("{}={}", name, value));
  };
  flag("--dtype", "dtype", options.dtype, true);
  flag("--device", "device", options.device, true);
  flag("--tokens-per-batch", "tokens_per_batch",
       options.tokens_per_batch ? std::to_string(options.tokens_per_batch) : "", false);
  flag("--threads", "threads", options.threads ? std::to_string(options.threads) : "", false);
  if (options.threads == 0 && takes("threads"))
    settings.push_back(fmt::format("threads={}", hardware_threads()));
  settings.insert(settings.end(), options.settings.begin(), options.settings.end());
  return component_of(catalog, RewardModel::kKind, "model", model, settings);
}

}  // namespace dt2it::cli
