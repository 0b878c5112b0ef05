// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/cli/verbs.hpp"
#include "core/media/passing_media_store.hpp"
#include "core/run/runner.hpp"

namespace dt2it::cli {

// Files of records named on the command line, in whatever form they are.
struct InputOptions {
  std::vector<std::string> inputs;
  std::string format = "auto";
  std::filesystem::path media_root, dataset_info, media_store = "runs/.media";
};

// --format, --media-root, --dataset-info, --media-store.
void add_input_options(boost::program_options::options_description& words, InputOptions& options);

// A [datasets.*] for each input, named PREFIX_1, PREFIX_2 ... Throws ConfigError for an unknown format, DataError for a
// file that is not there.
std::vector<ComponentConfig> input_datasets(const InputOptions& options, const Catalog& catalog,
                                            const std::string& prefix);
// The same for pairs to be used whole, with strengths and sources: files in this software's own form keep them.
std::vector<ComponentConfig> pair_datasets(const InputOptions& options, const Catalog& catalog,
                                           const std::string& prefix);

// Media of such files while they are read: what passes lies below FOLDER/media, what records name by id in --media-store.
class InputMedia {
 public:
  InputMedia(const InputOptions& options, PluginRegistry& registry,
             const std::filesystem::path& folder);
  PassingMediaStore& store() { return media_; }

 private:
  HostMedia passing_;
  std::unique_ptr<HostMedia> kept_;  // null: there is no such folder
  PassingMediaStore media_;
};

}  // namespace dt2it::cli
