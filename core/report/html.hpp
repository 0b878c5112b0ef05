// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/report/run_summary.hpp"
#include "core/report/tables.hpp"
#include "dt2it/media.hpp"

namespace dt2it::report {

struct PageOptions {
  // Folder with report.html, report.css, report.js and, where it was installed, chart.umd.js; see
  // assets_folder().
  std::filesystem::path assets;
  MediaStore* media = nullptr;   // for the gallery; null: no pictures
  std::size_t gallery = 24;      // pairs of each run; pictures come from at most this many pairs
  std::vector<TextTable> first;  // tables that the page begins with
  std::string
      command;  // the command line that makes these runs again; empty: made up from the runs
};

// ../share/dt2it/report of the running program: the same in the build tree and where it is
// installed.
std::filesystem::path assets_folder();

// One page that opens without a network: tables, funnels, judge statistics, training curves,
// gallery. All that comes from data reaches the page as JSON and is written as text, never as
// markup. Without the chart library the page says so and shows the tables. The same runs give the
// same bytes. Throws DataError.
void write_report_html(std::span<const RunSummary> runs, const std::filesystem::path& file,
                       const PageOptions& options);

// The JSON that the page is drawn from (UTF-8, one object); for the tests and for other tools.
std::string page_data(std::span<const RunSummary> runs, const PageOptions& options);

// JSON text that may stand inside a script element: '<', '>', '&', U+2028 and U+2029 become
// escapes.
std::string escape_for_script(std::string_view json);

}  // namespace dt2it::report
