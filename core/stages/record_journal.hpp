// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/run/stage.hpp"
#include "core/util/journal.hpp"

namespace dt2it {

// What became of the records of a stream, for stages that can only read it from its start. A run that goes on reads the stream
// again, which is cheap, but takes up here what was found out about a record: pictures that were decoded, what a curator said.
// Both files are written in the order of the records, however they were finished.
class RecordJournal {
 public:
  explicit RecordJournal(StageRun& stage)
      : stage_(stage), journal_(stage.work / "records.journal") {}

  struct Fate {
    bool kept = false;
    std::string line;    // the record's, or that of dropped.jsonl
    std::string reason;  // of what was dropped
  };
  std::optional<Fate> fate(std::size_t record) const;  // nothing: to be worked on

  void keep(std::size_t record, std::string_view line) {
    journal_.append(record, 'K' + std::string(line));
  }
  // `detail`: JSON when it starts with '{', else text; may be empty.
  void drop(std::size_t record, const std::string& id, const std::string& source,
            const std::string& reason, const std::string& detail);

  // Writes output/file with the kept records for which `wanted` holds (the n-th kept one, from 0), and output/dropped.jsonl; returns
  // how many were written. All `records` have a fate by now.
  std::size_t write(const std::string& file, std::size_t records,
                    const std::function<bool(std::size_t)>& wanted);

 private:
  StageRun& stage_;
  Journal journal_;
};

}  // namespace dt2it
