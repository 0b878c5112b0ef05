// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <ostream>
#include <set>

#include "core/cli/pages.hpp"
#include "core/cli/verbs.hpp"
#include "core/media/media_store.hpp"
#include "core/report/html.hpp"
#include "core/report/run_summary.hpp"
#include "core/report/tables.hpp"
#include "core/run/layout.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace fs = std::filesystem;

namespace {

// The runs folder that a run lies in: it has the media that all its runs share.
fs::path runs_of(const fs::path& run) {
  const fs::path runs = layout::nearest_with(fs::absolute(run), layout::kStore);
  return runs.empty() ? run : runs;
}

// What rows save by sharing stages: each row by itself against each stage once. Empty: nothing is shared.
std::string sharing_text(const std::vector<report::RunSummary>& runs) {
  std::set<fs::path> seen;
  std::size_t stages = 0;
  double apart = 0, together = 0;
  for (const report::RunSummary& run : runs) {
    std::set<fs::path> own;  // two names within a row may stand for one stage
    for (const report::StageSummary& stage : run.stages) {
      if (!own.insert(stage.folder).second) continue;
      const double seconds = stage.cost ? stage.cost->seconds : 0;
      ++stages;
      apart += seconds;
      if (seen.insert(stage.folder).second) together += seconds;
    }
  }
  if (seen.size() == stages || apart <= 0) return {};
  return fmt::format(
      "Sharing: {} rows have {} stages, {} of them different. Their stages took {:.1f} min; each "
      "row by itself would have "
      "taken {:.1f} min (saved {:.0f} %).\n",
      runs.size(), stages, seen.size(), together / 60, apart / 60, 100 * (1 - together / apart));
}

}  // namespace

void write_page(const std::vector<fs::path>& folders, const fs::path& html,
                const std::string& command, std::vector<report::TextTable> first) {
  std::vector<report::RunSummary> runs;
  for (const fs::path& folder : folders) runs.push_back(report::load_run(folder));
  FileMediaStore media(runs_of(folders.front()) / layout::kMedia, []() -> std::shared_ptr<Codec> {
    throw Error("a report shows pictures as they are");
  });
  report::PageOptions options;
  options.assets = report::assets_folder();
  options.media = &media;
  options.command = command;
  options.first = std::move(first);
  report::write_report_html(runs, html, options);
}

void print_reports(const std::vector<fs::path>& folders, fs::path html, const std::string& command,
                   std::ostream& out) {
  std::vector<report::RunSummary> runs;
  for (const fs::path& folder : folders) runs.push_back(report::load_run(folder));
  out << report::print_tables(runs);
  if (const std::string sharing = sharing_text(runs); !sharing.empty()) out << '\n' << sharing;
  if (html.empty())
    html = folders.size() == 1 ? folders.front() / layout::kReport
                               : runs_of(folders.front()) / layout::kReport;
  write_page(folders, html, command, {});
  out << fmt::format("\nreport: {}\n", html.string());
}

}  // namespace dt2it::cli
