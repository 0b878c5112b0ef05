// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/report/json_read.hpp"

namespace dt2it::report {

// The pair that a line of decisions.jsonl is about, as its position in what the stage read. Lines
// of earlier versions do not say it; then pairs are told by source and id.
class DecisionRows {
 public:
  explicit DecisionRows(std::vector<std::filesystem::path> files) : files_(std::move(files)) {}

  std::size_t of(const simdjson::dom::element& line) {
    if (const std::int64_t row = integer_of(line, "row", -1); row >= 0)
      return static_cast<std::size_t>(row);
    if (!read_) read();
    // What is not among the inputs still gets a place of its own.
    return rows_.try_emplace(name_of(line), next_).second ? next_++ : rows_.at(name_of(line));
  }

 private:
  static std::string name_of(const simdjson::dom::element& line) {
    return text_of(line, "source") + '\0' + text_of(line, "id");
  }
  void read() {
    read_ = true;
    for (const auto& file : files_)
      for_each_line(file, [&](std::size_t, const simdjson::dom::element& pair) {
        rows_[name_of(pair)] = next_++;
      });
  }

  std::vector<std::filesystem::path> files_;
  bool read_ = false;
  std::size_t next_ = 0;
  std::unordered_map<std::string, std::size_t> rows_;
};

}  // namespace dt2it::report
