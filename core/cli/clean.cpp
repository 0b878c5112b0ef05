// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <iostream>
#include <set>

#include "core/cli/verbs.hpp"
#include "core/run/store.hpp"

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

}  // namespace

int clean(const Arguments& arguments) {
  fs::path runs = "runs";
  bool dry_run = false;
  po::options_description options("options");
  options.add_options()
      ("runs", po::value(&runs)->value_name("DIR"), "where results are kept (default: runs)")
      ("dry-run", po::bool_switch(&dry_run), "say what would be removed, remove nothing");
  if (!parse(arguments, options, "", "usage: dt2it clean [options]\n\nRemoves unfinished work and "
             "finished stages that no run refers to. Runs themselves stay.")) return 0;
  if (!fs::is_directory(runs)) {
    std::cout << "nothing to clean: there is no folder " << runs.string() << '\n';
    return 0;
  }
  StageStore store(runs);
  std::set<fs::path> used;
  for (auto it = fs::recursive_directory_iterator(runs); it != fs::recursive_directory_iterator(); ++it) {
    const std::string name = it->path().filename().string();
    if (it->is_directory() && !it->is_symlink() && name.starts_with('.')) {
      it.disable_recursion_pending();
    } else if (it->is_symlink()) {
      std::error_code broken;
      const fs::path target = fs::canonical(it->path(), broken);
      if (!broken) used.insert(target);
      it.disable_recursion_pending();
    }
  }
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
  for (const auto& entry : fs::directory_iterator(runs / ".store"))
    if (!used.contains(fs::canonical(entry.path()))) drop(entry.path());
  for (const auto& entry : fs::directory_iterator(runs / ".work")) {
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
