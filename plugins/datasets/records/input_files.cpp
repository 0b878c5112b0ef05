// SPDX-License-Identifier: Apache-2.0
#include "plugins/datasets/records/input_files.hpp"

#include <glob.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <optional>

#include "dt2it/error.hpp"
#include "plugins/datasets/records/archive.hpp"

namespace dt2it::records {
namespace {

namespace fs = std::filesystem;

constexpr char kAllowed[] =
    "a .json, .jsonl or .parquet file, a folder of them, a pattern, a .zip or .tar archive, "
    "InternVL's meta file";

bool is_record_file(const fs::path& file) {
  const std::string extension = file.extension().string();
  return extension == ".json" || extension == ".jsonl" || extension == ".ndjson" ||
         extension == ".parquet";
}

// Archives on the way are replaced by the folders they unpack to.
fs::path through_archives(const fs::path& path, Context& context) {
  fs::path at;
  for (const fs::path& step : path) {
    at /= step;
    std::error_code ignored;
    if (is_archive(at) && fs::is_regular_file(at, ignored))
      at = unpacked(at, context.scratch(),
                    [&](const std::string& text) { context.log(LogLevel::warning, text); });
  }
  return at;
}

template <class Iterator>
std::vector<fs::path> in_folder(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : Iterator(folder)) {
    std::error_code ignored;
    if (entry.is_regular_file(ignored) && is_record_file(entry.path()) &&
        entry.path().filename() != "dataset_info.json")
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<fs::path> matching(const fs::path& pattern) {
  std::vector<fs::path> files;
  glob_t found{};
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
    for (std::size_t i = 0; i < found.gl_pathc; ++i) files.emplace_back(found.gl_pathv[i]);
  globfree(&found);
  return files;
}

std::string source_of(const fs::path& file) {
  const std::string stem = file.stem().string();
  for (const char* shard :
       {"train-", "test-", "validation-", "val-", "data-", "train", "test", "data", "part-"})
    if ((stem == shard || (std::string_view(shard).ends_with('-') && stem.starts_with(shard))) &&
        file.has_parent_path()) {
      const std::string folder = file.parent_path().filename().string();
      if (folder == "data" && file.parent_path().has_parent_path())
        return file.parent_path().parent_path().filename().string();
      if (!folder.empty()) return folder;
    }
  return stem;
}

// The subsets of a meta file; none when it is something else.
std::optional<std::vector<InputFile>> subsets_of(const fs::path& file, const fs::path& media_root,
                                                 Context& context) {
  std::error_code ignored;
  if (file.extension() != ".json" || fs::file_size(file, ignored) > (16u << 20))
    return std::nullopt;
  std::ifstream stream(file, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(stream), {});
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos || text[first] != '{' || text.find("\"annotation\"") == text.npos)
    return std::nullopt;
  simdjson::dom::parser parser;
  simdjson::dom::object sets;
  if (parser.parse(without_trailing_commas(std::move(text))).get(sets)) return std::nullopt;
  std::vector<InputFile> inputs;
  for (const auto& [name, set] : sets) {
    std::string_view annotation, root;
    if (set["annotation"].get(annotation))
      throw DataError(file.string() + ": subset '" + std::string(name) + "' has no 'annotation'");
    if (set["root"].get(root)) root = {};
    InputFile input;
    input.file = through_archives(file.parent_path() / std::string(annotation), context);
    input.media_root = through_archives(
        (media_root.empty() ? file.parent_path() : media_root) / std::string(root), context);
    input.source = name;
    double share = 1;
    if (!set["repeat_time"].get(share) && share > 0 && share < 1) input.share = share;
    if (!fs::exists(input.file))
      throw DataError(file.string() + ": subset '" + std::string(name) + "': there is no file " +
                      input.file.string());
    inputs.push_back(std::move(input));
  }
  return inputs;
}

}  // namespace

std::string without_trailing_commas(std::string text) {
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (in_string) {
      if (text[i] == '\\')
        ++i;
      else if (text[i] == '"')
        in_string = false;
    } else if (text[i] == '"') {
      in_string = true;
    } else if (text[i] == ',') {
      const std::size_t next = text.find_first_not_of(" \t\r\n", i + 1);
      if (next != text.npos && (text[next] == '}' || text[next] == ']')) text[i] = ' ';
    }
  }
  return text;
}

std::vector<InputFile> input_files(const fs::path& path, const fs::path& media_root,
                                   const std::string& source, Context& context) {
  const fs::path place = through_archives(path, context);
  const fs::path media = media_root.empty() ? media_root : through_archives(media_root, context);
  std::vector<fs::path> files;
  std::error_code ignored;
  if (fs::is_directory(place, ignored)) {
    files = in_folder<fs::directory_iterator>(place);
    if (files.empty()) files = in_folder<fs::recursive_directory_iterator>(place);
  } else if (fs::exists(place, ignored)) {
    if (!is_record_file(place))
      throw DataError(place.string() + ": not a file of records (allowed: " + kAllowed + ")");
    files = {place};
  } else if (place.string().find_first_of("*?[") != std::string::npos) {
    for (const fs::path& file : matching(place)) {
      const fs::path inside = through_archives(file, context);
      if (fs::is_directory(inside, ignored)) {
        const auto more = in_folder<fs::recursive_directory_iterator>(inside);
        files.insert(files.end(), more.begin(), more.end());
      } else if (is_record_file(inside)) {
        files.push_back(inside);
      }
    }
  }
  if (files.empty())
    throw DataError(path.string() +
                    ": no such file or folder, or no records in it (allowed: " + kAllowed + ")");
  std::vector<InputFile> inputs;
  for (const fs::path& file : files) {
    if (auto subsets = subsets_of(file, media, context)) {
      inputs.insert(inputs.end(), subsets->begin(), subsets->end());
    } else {
      inputs.push_back({file, media.empty() ? file.parent_path() : media,
                        source.empty() ? source_of(file) : source, 1});
    }
  }
  return inputs;
}

}  // namespace dt2it::records
