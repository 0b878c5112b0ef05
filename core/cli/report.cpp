// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "core/cli/pages.hpp"
#include "core/cli/verbs.hpp"
#include "core/config/paper_results.hpp"
#include "core/report/html.hpp"
#include "core/report/paper_table.hpp"
#include "core/report/run_summary.hpp"
#include "core/run/layout.hpp"
#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

// experiments/paper_results.toml here or above, else where the program was built or installed.
fs::path find_paper_results() {
  const fs::path profiles = find_profiles(fs::current_path() / "experiments");
  return profiles.parent_path().parent_path() / "experiments" / kPaperResults;
}

// runs/NAME, runs/NAME@PROFILE, and those with @seedN.
std::vector<fs::path> seeds_of_row(const fs::path& runs, const std::string& name,
                                   const std::string& profile) {
  if (name.empty()) return {};
  const fs::path whole =
      runs / (profile == "mini" ? name : name + "@" + fs::path(profile).stem().string());
  const std::string stem = whole.filename().string();
  std::vector<fs::path> folders;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(whole.parent_path(), absent)) {
    const std::string own = entry.path().filename().string();
    const bool seeded =
        own.starts_with(stem + "@seed") && own.find('@', stem.size() + 1) == std::string::npos;
    if ((own == stem || seeded) && layout::is_run(entry.path())) folders.push_back(entry.path());
  }
  std::ranges::sort(folders);
  return folders;
}

int report_table(const PaperTable& table, const fs::path& runs, const std::string& profile,
                 fs::path html) {
  std::vector<report::RowRuns> rows;
  std::vector<fs::path> folders;
  for (const PaperRow& row : table.rows) {
    report::RowRuns& own = rows.emplace_back();
    for (const fs::path& folder : seeds_of_row(runs, row.run, profile)) {
      own.push_back(report::load_run(folder));
      if (std::ranges::find(folders, folder) == folders.end()) folders.push_back(folder);
    }
  }
  const auto orderings = report::orderings(table, rows);
  const std::vector<report::TextTable> tables{report::side_by_side(table, rows),
                                              report::orderings_table(table, orderings)};
  for (const report::TextTable& one : tables) std::cout << report::print_table(one) << '\n';
  if (profile == "mini")
    std::cout << "Ours are runs of the mini world: figures and models of that role, not those of "
                 "the paper.\n";
  if (folders.empty()) {
    std::cout << fmt::format("No row has been run below {}.\n", runs.string());
    return 0;
  }
  if (html.empty()) html = runs / (table.id + ".html");
  write_page(folders, html, "", tables);
  std::cout << fmt::format("report: {}\n", html.string());
  return 0;
}

}  // namespace

int report(const Arguments& arguments) {
  std::vector<std::string> words;
  fs::path html, json, runs = "runs", paper;
  std::string profile = "mini";
  po::options_description options("options");
  options.add_options()("words", po::value(&words), "run folders, or one table of the paper")(
      "html", po::value(&html)->value_name("FILE"),
      "where to write the page (default: report.html in the only run, or in the runs folder for "
      "several; TABLE.html)")(
      "json", po::value(&json)->value_name("FILE"),
      "for runs: write what the page is drawn from, but for pairs and pictures")(
      "runs", po::value(&runs)->value_name("DIR"),
      "for a table: where its runs are (default: runs)")(
      "profile", po::value(&profile)->value_name("NAME"),
      "for a table: runs of this profile (default: mini)")(
      "paper", po::value(&paper)->value_name("FILE"),
      "for a table: what the paper prints (default: experiments/paper_results.toml)");
  if (!parse(arguments, options, "words",
             "usage: dt2it report RUN... [options]\n       dt2it report table7 [options]\n\nRUN is "
             "a folder below "
             "runs/, for example runs/table7/method1_pointwise. table1 to table8: the paper's "
             "table beside all our runs of its rows."))
    return 0;
  if (words.empty()) throw ConfigError("dt2it report: no run folder given");
  if (words.size() == 1 && words[0].starts_with("table") && !layout::is_run(words[0])) {
    const fs::path file = paper.empty() ? find_paper_results() : paper;
    std::vector<std::string> names;
    for (const PaperTable& table : read_paper_results(file)) {
      if (table.id == words[0]) return report_table(table, runs, profile, html);
      names.push_back(table.id);
    }
    throw ConfigError(fmt::format("{}: no table '{}' in it (allowed: {})", file.string(), words[0],
                                  fmt::join(names, ", ")));
  }
  std::vector<fs::path> folders;
  for (const std::string& word : words) {
    if (!layout::is_run(word)) throw DataError(word + ": not a run folder (it has no run.json)");
    folders.emplace_back(word);
  }
  print_reports(folders, html, "", std::cout);
  if (json.empty()) return 0;
  std::vector<report::RunSummary> summaries;
  for (const fs::path& folder : folders) summaries.push_back(report::load_run(folder));
  report::PageOptions page;
  page.gallery = 0;
  write_file_atomically(json, report::page_data(summaries, page) + "\n");
  return 0;
}

}  // namespace dt2it::cli
