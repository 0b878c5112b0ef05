// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <iostream>
#include <set>

#include "core/cli/verbs.hpp"
#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/run/store.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

std::uintmax_t size_of(const fs::path& folder) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) bytes += entry.file_size();
  return bytes;
}

// What the runs refer to: also stages that a run at work, or one that was killed, has not linked yet.
std::set<std::string> folders_in_use(const fs::path& runs) {
  std::set<std::string> folders;
  for (auto it = fs::recursive_directory_iterator(runs); it != fs::recursive_directory_iterator();
       ++it) {
    const std::string name = it->path().filename().string();
    if (it->is_directory() && name.starts_with('.')) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file() && name == layout::kRun) {
      JsonLineReader lines(it->path());
      simdjson::dom::element run;
      simdjson::dom::array stages;
      if (!lines.next(run) || run["stages"].get(stages) != simdjson::SUCCESS)
        throw DataError(it->path().string() +
                        ": not the description of a run; nothing was removed");
      for (const simdjson::dom::element stage : stages) {
        std::string_view folder;
        if (stage["folder"].get(folder) == simdjson::SUCCESS) folders.emplace(folder);
      }
    }
  }
  return folders;
}

}  // namespace

int clean(const Arguments& arguments) {
  fs::path runs = "runs";
  bool dry_run = false;
  po::options_description options("options");
  options.add_options()("runs", po::value(&runs)->value_name("DIR"),
                        "where results are kept (default: runs)")(
      "dry-run", po::bool_switch(&dry_run), "say what would be removed, remove nothing");
  if (!parse(arguments, options, "",
             "usage: dt2it clean [options]\n\nRemoves unfinished work and "
             "finished stages that no run refers to. Runs themselves stay."))
    return 0;
  if (!fs::is_directory(runs)) {
    std::cout << "nothing to clean: there is no folder " << runs.string() << '\n';
    return 0;
  }
  StageStore store(runs);
  store.prepare();
  const std::set<std::string> used = folders_in_use(runs);
  std::uintmax_t bytes = 0;
  std::size_t removed = 0;
  auto drop = [&](const fs::path& folder) {
    const std::uintmax_t size = size_of(folder);
    std::cout << fmt::format("{} {} ({:.1f} MB)\n", dry_run ? "would remove" : "removed",
                             folder.filename().string(), static_cast<double>(size) / 1e6);
    bytes += size;
    ++removed;
    if (!dry_run) fs::remove_all(folder);
  };
  for (const auto& entry : fs::directory_iterator(runs / layout::kStore)) {
    if (!entry.is_directory() || used.contains(entry.path().filename().string())) continue;
    drop(entry.path());
    if (!dry_run) fs::remove(layout::cost_file(runs, entry.path().filename().string()));
  }
  for (const auto& entry :
       fs::directory_iterator(runs / layout::kStore)) {  // costs of stages that were never finished
    constexpr std::string_view kCost = layout::kCostEnding;
    const std::string name = entry.path().filename().string();
    if (!dry_run && name.ends_with(kCost) &&
        !store.complete(name.substr(0, name.size() - kCost.size())))
      fs::remove(entry.path());
  }
  for (const auto& entry : fs::directory_iterator(runs / layout::kWork)) {
    if (!entry.is_directory()) continue;
    std::string holder;
    const std::string folder = entry.path().filename().string();
    auto claim = store.claim(folder, holder);
    if (!claim) {
      std::cout << folder << " is being worked on by " << holder << '\n';
      continue;
    }
    drop(entry.path());
    if (!dry_run) store.drop(folder, std::move(*claim));
  }
  std::cout << fmt::format("{} folders, {:.1f} MB\n", removed, static_cast<double>(bytes) / 1e6);
  return 0;
}

}  // namespace dt2it::cli
