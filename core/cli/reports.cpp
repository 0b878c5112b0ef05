// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <ostream>

#include "core/cli/verbs.hpp"
#include "core/media/media_store.hpp"
#include "core/report/html.hpp"
#include "core/report/run_summary.hpp"
#include "core/report/tables.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace fs = std::filesystem;

namespace {

// The runs folder that a run lies in: it has the media that all its runs share.
fs::path runs_of(const fs::path& run) {
  for (fs::path folder = fs::absolute(run); folder != folder.parent_path(); folder = folder.parent_path())
    if (fs::is_directory(folder / ".store")) return folder;
  return run;
}

}  // namespace

void print_reports(const std::vector<fs::path>& folders, fs::path html, const std::string& command,
                   std::ostream& out) {
  std::vector<report::RunSummary> runs;
  for (const fs::path& folder : folders) runs.push_back(report::load_run(folder));
  out << report::print_tables(runs);
  if (html.empty())
    html = folders.size() == 1 ? folders.front() / "report.html" : runs_of(folders.front()) / "report.html";
  FileMediaStore media(runs_of(folders.front()) / ".media", []() -> std::shared_ptr<Codec> {
    throw Error("a report shows pictures as they are");
  });
  report::PageOptions options;
  options.assets = report::assets_folder();
  options.media = &media;
  options.command = command;
  report::write_report_html(runs, html, options);
  out << fmt::format("\nreport: {}\n", html.string());
}

}  // namespace dt2it::cli
