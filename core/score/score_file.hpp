// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/score/score_lines.hpp"
#include "core/util/file_lock.hpp"
#include "core/util/shard.hpp"

namespace dt2it {

// All that rewards depend on, by name, each value as JSON text.
using ScoreSettings = std::map<std::string, std::string>;
// What differs, one sentence each: "model.dtype is \"float32\" there and \"bfloat16\" now".
std::vector<std::string> differences(const ScoreSettings& there, const ScoreSettings& now);

// A file of scores that is written as the work goes on, and whose writing can be taken up again after an end at any
// moment. Until it is complete it is FILE.part; its settings are in FILE.settings.json.
class ScoreFile {
 public:
  // Takes up what is there: complete lines are kept up to a multiple of `group` records, so that work is shared out as
  // it would have been without the interruption. `has` says which rows belong here. Throws ConfigError when the file was
  // made with other settings, saying what differs, or when it is another program's; Error when another process writes it.
  ScoreFile(std::filesystem::path file, const ScoreSettings& settings,
            const std::function<bool(std::size_t)>& has, std::size_t group);
  ~ScoreFile();
  ScoreFile(const ScoreFile&) = delete;
  ScoreFile& operator=(const ScoreFile&) = delete;

  bool complete() const { return descriptor_ < 0; }
  const ScoreTotals& totals() const { return totals_; }  // of lines taken up and appended
  std::size_t next_row() const { return next_row_; }     // rows below are there

  // Written by one call; on disk after a second at most.
  void append(std::span<const ScoreLine> lines);
  // All is on disk, under its own name.
  void finish();

 private:
  void take_up(const std::filesystem::path& file, const std::function<bool(std::size_t)>& has,
               std::size_t group);

  const std::filesystem::path file_;
  std::filesystem::path part_, lock_file_;
  std::unique_ptr<FileLock> lock_;
  int descriptor_ = -1;
  ScoreTotals totals_;
  std::size_t next_row_ = 0;
  std::chrono::steady_clock::time_point flushed_;
};

std::filesystem::path settings_file(const std::filesystem::path& file);

// One file of the complete files of all shards, in row order. Throws ConfigError for shards of other settings, missing or
// doubled ones; DataError for rows that are missing.
ScoreTotals merge_scores(const std::filesystem::path& out,
                         const std::vector<std::filesystem::path>& shards);

}  // namespace dt2it
