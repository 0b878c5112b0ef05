// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/cli/verbs.hpp"

namespace dt2it::cli {

// A reward model named on the command line.
struct ModelOptions {
  std::string model, dtype, device;
  int threads = 0;
  std::int64_t tokens_per_batch = 0;
  std::vector<std::string> settings;
};

// --model, --dtype, --device, --threads, --tokens-per-batch, --set.
void add_model_options(boost::program_options::options_description& words, ModelOptions& options);

// A checkpoint's folder stands for mrm:FOLDER. Throws ConfigError.
ComponentConfig reward_model_of(const ModelOptions& options, const Catalog& catalog);

}  // namespace dt2it::cli
