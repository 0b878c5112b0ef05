// SPDX-License-Identifier: Apache-2.0
#include "core/run/fingerprint.hpp"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <cstdint>
#include <regex>
#include <string_view>
#include <vector>

#include "core/util/files.hpp"
#include "core/util/sha256.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kReadWhole = 256u << 20;        // of a file, or of a folder's files
constexpr std::uintmax_t kReadInFullFolder = 64u << 10;  // of a file in a folder of more
constexpr std::uintmax_t kMetaFile = 16u << 20;
constexpr std::size_t kLongestPath = 4096;

std::string file_fingerprint(const fs::path& file, std::uintmax_t read_whole = kReadWhole) {
  const std::uintmax_t size = fs::file_size(file);
  if (size > read_whole) {
    const auto time = fs::last_write_time(file).time_since_epoch().count();
    return fmt::format("file of {} bytes at {}", size, time);
  }
  return sha256_hex(read_file(file));
}

std::string of_lines(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  return sha256_hex(fmt::format("{}", fmt::join(lines, "\n")));
}

std::string folder_fingerprint(const fs::path& folder) {
  std::vector<fs::path> files;
  std::uintmax_t total = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    files.push_back(entry.path());
    total += entry.file_size();
  }
  std::vector<std::string> lines;
  for (const fs::path& file : files)
    lines.push_back(file.lexically_relative(folder).string() + " " +
                    file_fingerprint(file, total > kReadWhole ? kReadInFullFolder : kReadWhole));
  return of_lines(std::move(lines));
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder.empty() ? "." : folder, error))
    entries.push_back(folder / entry.path().filename());
  std::sort(entries.begin(), entries.end());
  return entries;
}

// Of an archive, with the parts it goes on in: images.zip_aa, .zip_ab ...; data.zip.001, .zip.002 ...
std::string archive_fingerprint(const fs::path& file) {
  static const std::regex kPart(R"((.+\.(?:zip|tar|tgz|tar\.gz)(?:_|\.|\.part-?))([a-z]+|[0-9]+))");
  std::smatch found;
  const std::string name = file.filename().string();
  if (!std::regex_match(name, found, kPart)) return file_fingerprint(file);
  std::vector<std::string> lines;
  for (const fs::path& entry : entries_of(file.parent_path())) {
    const std::string other = entry.filename().string();
    std::error_code error;
    if (other.size() == name.size() && other.starts_with(found[1].str()) &&
        fs::is_regular_file(entry, error))
      lines.push_back(other + " " + file_fingerprint(entry));
  }
  return of_lines(std::move(lines));
}

// Files that InternVL's meta file names, and those that say how the records of a file are read.
void add_what_is_read_with(const fs::path& file, std::vector<std::string>& lines) {
  const fs::path folder = file.parent_path();
  // The name of the data set is that of the file; of the folders around it for shards ("train-00000-of-00002").
  const std::string name = file.filename().string();
  std::string named = name;
  for (const char* shard : {"train", "test", "val", "data", "part"})
    if (name.starts_with(shard)) {
      named = folder.filename().string() + "/" + name;
      if (folder.filename() == "data")
        named = folder.parent_path().filename().string() + "/" + named;
      break;
    }
  lines.push_back("named " + named);
  std::error_code error;
  if (const fs::path info = folder / "dataset_info.json"; fs::is_regular_file(info, error))
    lines.push_back("columns " + file_fingerprint(info));
  if (file.extension() != ".json" || fs::file_size(file) > kMetaFile) return;
  // No JSON parser: files written by hand have commas that do not belong there.
  constexpr std::string_view kKey = "\"annotation\"", kSpace = " \t\r\n";
  const std::string text = read_file(file);
  if (const std::size_t first = text.find_first_not_of(kSpace);
      first == text.npos || text[first] != '{')
    return;  // records
  for (std::size_t at = text.find(kKey); at != text.npos; at = text.find(kKey, at)) {
    at += kKey.size();
    const std::size_t colon = text.find_first_not_of(kSpace, at);
    const std::size_t begin = colon == text.npos || text[colon] != ':'
                                  ? text.npos
                                  : text.find_first_not_of(kSpace, colon + 1);
    if (begin == text.npos || text[begin] != '"') continue;
    const std::size_t end = text.find('"', begin + 1);
    if (end == text.npos || end - begin > kLongestPath) continue;
    const fs::path named(text.substr(begin + 1, end - begin - 1));
    for (const fs::path& place : {folder / named, folder.parent_path() / named}) {
      const std::string behind = fs::is_directory(place, error) ? "absent" : fingerprint(place);
      if (behind == "absent") continue;
      lines.push_back("annotation " + named.string() + " " + behind);
      break;
    }
  }
}

// Follows a path from folder to folder.
class Search {
 public:
  Search(const fs::path& path, bool data) : steps_(path.begin(), path.end()), data_(data) {}

  // What was found, a line each.
  std::vector<std::string> run() {
    if (!steps_.empty()) walk({}, 0, "");
    return std::move(lines_);
  }

 private:
  // `label`: what patterns stood for so far.
  void walk(const fs::path& place, std::size_t next, const std::string& label) {
    std::error_code error;
    if (next == steps_.size() || (next + 1 == steps_.size() && steps_[next].empty()))
      return add(place, label);
    if (next > 0 && fs::is_regular_file(place, error)) {  // on inside an archive
      lines_.push_back(label + " " + rest(next) + " in " + archive_fingerprint(place));
      return;
    }
    const fs::path step = steps_[next];
    if (const fs::path there = place / step; fs::exists(there, error))
      return walk(there, next + 1, label);
    const std::string name = step.string();
    if (name.find_first_of("*?[") != std::string::npos) {
      for (const fs::path& entry : entries_of(place))
        if (const std::string own = entry.filename().string();
            fnmatch(name.c_str(), own.c_str(), FNM_PERIOD) == 0)
          walk(entry, next + 1, label + "/" + own);
      return;
    }
    for (const fs::path& entry : entries_of(place))  // packed beside its place
      if (const std::string own = entry.filename().string();
          own.starts_with(name + ".") && fs::is_regular_file(entry, error))
        lines_.push_back(label + " " + rest(next) + " in " + own + " " + file_fingerprint(entry));
  }

  void add(const fs::path& place, const std::string& label) {
    std::error_code error;
    if (fs::is_directory(place, error)) {
      lines_.push_back(label + " " + folder_fingerprint(place));
      if (data_)
        lines_.push_back("named " + fs::absolute(place).lexically_normal().filename().string());
    } else if (fs::is_regular_file(place, error)) {
      lines_.push_back(label + " " + archive_fingerprint(place));
      if (data_) add_what_is_read_with(fs::absolute(place), lines_);
    }
  }

  std::string rest(std::size_t next) const {
    fs::path path;
    for (; next < steps_.size(); ++next) path /= steps_[next];
    return path.string();
  }

  const std::vector<fs::path> steps_;
  const bool data_;
  std::vector<std::string> lines_;
};

std::string found(const fs::path& path, bool data) {
  std::vector<std::string> lines = Search(path, data).run();
  return lines.empty() ? "absent" : of_lines(std::move(lines));
}

}  // namespace

std::string fingerprint(const fs::path& path) {
  // As ever where it is plain: keys of what was made before hold.
  std::error_code error;
  if (fs::is_regular_file(path, error)) return archive_fingerprint(path);
  if (fs::is_directory(path, error)) return folder_fingerprint(path);
  return found(path, false);
}

std::string data_fingerprint(const fs::path& path) { return found(path, true); }

const std::string& Fingerprints::of(const std::string& path, bool data) {
  const auto [it, fresh] = known_.try_emplace({path, data});
  if (fresh) it->second = data ? data_fingerprint(path) : fingerprint(path);
  return it->second;
}

}  // namespace dt2it
