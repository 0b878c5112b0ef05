// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
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
  // it would have been without the interruption. Lines that are `unavailable` hold no result: their rows are asked again,
  // those of a whole file too, which stays in place until there is a new one. `has` says which rows belong here. Throws ConfigError when the file was
  // made with other settings, saying what differs, or when it is another program's; Error when another process writes it.
  ScoreFile(std::filesystem::path file, const ScoreSettings& settings,
            const std::function<bool(std::size_t)>& has, std::size_t group);
  ~ScoreFile();
  ScoreFile(const ScoreFile&) = delete;
  ScoreFile& operator=(const ScoreFile&) = delete;

  bool complete() const { return descriptor_ < 0; }
  // Of lines taken up, without those to be asked again, and appended.
  const ScoreTotals& totals() const { return totals_; }
  std::size_t next_row() const { return next_row_; }  // rows below have a line
  // Which rows are to be appended, as of now: those to be asked again and all from next_row() on.
  std::function<bool(std::size_t row)> missing() const;

  // In row order. Written by one call; on disk after a second at most.
  void append(std::span<const ScoreLine> lines);
  // All is on disk, under its own name.
  void finish();

 private:
  void take_up(const std::filesystem::path& file, const std::function<bool(std::size_t)>& has,
               std::size_t group);
  void put_in_order();

  const std::filesystem::path file_;
  std::filesystem::path part_, lock_file_;
  std::unique_ptr<FileLock> lock_;
  int descriptor_ = -1;
  ScoreTotals totals_;
  std::size_t next_row_ = 0;
  std::set<std::size_t> again_;  // rows whose last line is `unavailable`
  bool out_of_order_ = false;    // lines of rows that were asked again stand behind the others
  std::chrono::steady_clock::time_point flushed_;
};

std::filesystem::path settings_file(const std::filesystem::path& file);

// One file of the complete files of all shards, in row order. Throws ConfigError for shards of other settings, missing or
// doubled ones; DataError for rows that are missing.
ScoreTotals merge_scores(const std::filesystem::path& out,
                         const std::vector<std::filesystem::path>& shards);

}  // namespace dt2it
