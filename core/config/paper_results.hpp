// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the paper prints, as data: experiments/paper_results.toml.

#include <filesystem>
#include <string>
#include <vector>

namespace dt2it {

struct PaperRow {
  std::string name, group, run, data;
  std::vector<double> values;          // one for each column; NaN: cannot be read
  std::vector<std::string> corrected;  // columns that were read wrongly and set right
};

struct PaperTable {
  std::string id;  // "table7"
  std::string title;
  std::vector<std::string> columns;
  std::vector<std::string> figures;    // where each column is found in a run
  std::vector<std::string> orderings;  // columns by which rows are compared
  std::vector<PaperRow> rows;
};

inline constexpr const char* kPaperResults = "paper_results.toml";

// Throws ConfigError, which names file and line.
std::vector<PaperTable> read_paper_results(const std::filesystem::path& file);

}  // namespace dt2it
