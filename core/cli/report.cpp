// SPDX-License-Identifier: Apache-2.0

#include <iostream>

#include "core/cli/verbs.hpp"
#include "core/report/html.hpp"
#include "core/report/run_summary.hpp"
#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

int report(const Arguments& arguments) {
  std::vector<std::string> words;
  fs::path html, json;
  po::options_description options("options");
  options.add_options()
      ("runs", po::value(&words), "run folders")
      ("html", po::value(&html)->value_name("FILE"),
       "where to write the page (default: report.html in the only run, or in the runs folder for several)")
      ("json", po::value(&json)->value_name("FILE"), "write what the page is drawn from, but for pairs and pictures");
  if (!parse(arguments, options, "runs", "usage: dt2it report RUN... [options]\n\nRUN is a folder below runs/, "
             "for example runs/table7/method1_pointwise.")) return 0;
  if (words.empty()) throw ConfigError("dt2it report: no run folder given");
  std::vector<fs::path> folders;
  for (const std::string& word : words) {
    if (!fs::exists(fs::path(word) / "run.json"))
      throw DataError(word + ": not a run folder (it has no run.json)");
    folders.emplace_back(word);
  }
  print_reports(folders, html, "", std::cout);
  if (json.empty()) return 0;
  std::vector<report::RunSummary> runs;
  for (const fs::path& folder : folders) runs.push_back(report::load_run(folder));
  report::PageOptions page;
  page.gallery = 0;
  write_file_atomically(json, report::page_data(runs, page) + "\n");
  return 0;
}

}  // namespace dt2it::cli
