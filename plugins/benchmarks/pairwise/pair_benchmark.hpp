// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the pairwise suites share: where the records come from, and how they are counted.

#include <simdjson.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/benchmark.hpp"
#include "dt2it/context.hpp"
#include "dt2it/dataset.hpp"
#include "plugins/common/judging/verdict_reading.hpp"

namespace dt2it::records {

struct PairBenchmarkParams {
  std::filesystem::path data;
  std::string dataset;
  std::filesystem::path media_root;
  static void describe(Schema<PairBenchmarkParams>& schema) {
    schema
        .field(
            "data", &PairBenchmarkParams::data,
            "The suite's records: a .json, .jsonl, .parquet or .tsv file, or the folder it is in "
            "as published. Either this or `dataset`.")
        .argument();
    schema.component<Dataset>(
        "dataset", &PairBenchmarkParams::dataset,
        "A data set whose pairs stand in for the suite's records. Either this or `data`.");
    schema.field("media_root", &PairBenchmarkParams::media_root,
                 "Folder that the image paths in the records start from; empty: the folder of the "
                 "data file, of Parquet files the folder given. "
                 "Images that are not there are reported and the items still come.");
  }
};

class PairBenchmark : public Benchmark {
 public:
  // Throws ConfigError unless exactly one of `data` and `dataset` is given.
  PairBenchmark(const PairBenchmarkParams& params, Context& context);
  std::unique_ptr<Stream<PreferencePair>> items() override;

 protected:
  // Files to look for when `data` is a folder, below it; '*' stands for any part of a name: several files, one after the other.
  virtual std::vector<std::string> usual_names() const = 0;
  // One record of the carrier. Throws DataError starting with `where`.
  virtual PreferencePair read(const simdjson::dom::object& record, const std::string& where) = 0;
  // The group of a pair that a data set gave, from the group it came with and its id; empty: no
  // such group.
  virtual std::string normal_group(const std::string& group, const std::string& id) const = 0;
  virtual std::string allowed_groups() const = 0;
  // Told of each record of a file as it is read.
  virtual void on_item(std::size_t row, const PreferencePair& pair) {
    static_cast<void>(row);
    static_cast<void>(pair);
  }

  const std::filesystem::path& root() const { return root_; }
  MediaStore& media() { return context_.media(); }

 private:
  class FileStream;
  std::vector<std::filesystem::path> files() const;

  class DatasetStream;
  const PairBenchmarkParams params_;
  Context& context_;
  std::filesystem::path root_;
};

struct Count {
  std::int64_t correct = 0;
  std::int64_t total = 0;
  void add(const Outcome& outcome) {
    correct += outcome.correct();
    ++total;
  }
  // 0 when nothing was counted.
  double fraction() const {
    return total ? static_cast<double>(correct) / static_cast<double>(total) : 0;
  }
  Metric metric(std::string name) const { return {std::move(name), fraction(), correct, total}; }
};

Count count_all(std::span<const Outcome> outcomes);
std::map<std::string, Count> count_groups(std::span<const Outcome> outcomes);

// The unweighted mean over the groups that have rows, in `order`; a plain number.
Metric macro(std::string name, const std::map<std::string, Count>& groups,
             const std::vector<std::string>& order);

// "ties", "failed" (of all rows, both count as wrong in every accuracy), "failed/STATUS" for those
// that occur, and "accuracy_answered": correct of the rows that have both rewards, which is how
// scripts count that leave unparsed answers out of the denominator.
void append_health(std::vector<Metric>& metrics, std::span<const Outcome> outcomes);

// "1,250"
std::string with_commas(std::int64_t number);

// "12 rows (general 3, reasoning 9): not the counts of a published edition of SUITE (EDITIONS)"
std::string unknown_edition(std::span<const Outcome> outcomes,
                            const std::vector<std::string>& order, const std::string& suite,
                            const std::string& editions);

}  // namespace dt2it::records
