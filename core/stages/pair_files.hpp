// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/run/stage.hpp"
#include "dt2it/stream.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// The pairs.jsonl of these stages, in order.
std::vector<std::filesystem::path> pair_files(const StageRun& stage,
                                              const std::vector<std::string>& stages);

// Several files of pairs read as one.
class PairFiles {
 public:
  explicit PairFiles(std::vector<std::filesystem::path> files);
  std::size_t count() const { return count_; }
  std::unique_ptr<Stream<PreferencePair>> open() const;
  std::vector<PreferencePair> read_all() const;

 private:
  std::vector<std::filesystem::path> files_;
  std::size_t count_ = 0;
};

}  // namespace dt2it
