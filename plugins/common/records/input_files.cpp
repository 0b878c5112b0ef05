// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/input_files.hpp"

#include <glob.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>

#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"
#include "plugins/common/records/archive.hpp"

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

fs::path unpacked_with(const fs::path& archive, Context& context) {
  return unpacked(archive, context.scratch(),
                  [&](const std::string& text) { context.log(LogLevel::warning, text); });
}

// The archive that holds what is not there under this name: annotations.zip for annotations, images.zip_aa for images.
std::optional<fs::path> archive_of(const fs::path& place) {
  for (const char* ending :
       {".zip", ".zip_aa", ".zip.part-aa", ".zip.001", ".tar", ".tar.gz", ".tgz"}) {
    std::error_code ignored;
    if (fs::is_regular_file(place.string() + ending, ignored)) return place.string() + ending;
  }
  return std::nullopt;
}

// Archives on the way are replaced by the folders they unpack to.
fs::path through_archives(const fs::path& path, Context& context) {
  fs::path at;
  for (const fs::path& step : path) {
    at /= step;
    std::error_code ignored;
    if (is_archive(at) && fs::is_regular_file(at, ignored)) {
      at = unpacked_with(at, context);
    } else if (!step.empty() && !fs::exists(at, ignored)) {
      if (const auto archive = archive_of(at)) {
        const fs::path folder = unpacked_with(*archive, context);
        at = fs::exists(folder / step, ignored) ? folder / step : folder;
      }
    }
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

// Folders and archives as one folder: links to what is in them. An archive packed without a folder of its own is found under its
// name as well.
fs::path joined(const std::vector<fs::path>& places, Context& context) {
  std::string facts;
  std::vector<std::pair<std::string, fs::path>> folders;
  for (const fs::path& place : places) {
    const fs::path folder = through_archives(place, context);
    if (!fs::is_directory(folder)) continue;
    folders.emplace_back(place.stem().string(), folder);
    facts += folder.string() + '\n';
  }
  char tag[24];
  std::snprintf(tag, sizeof tag, "%016llx", static_cast<unsigned long long>(stable_hash(facts)));
  const fs::path whole = context.scratch() / "joined" / tag;
  fs::create_directories(whole);
  std::map<std::string, fs::path> names;
  for (const auto& [name, folder] : folders) {
    bool own = false;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string inside = entry.path().filename().string();
      own = own || inside == name;
      const auto [other, fresh] = names.emplace(inside, entry.path());
      if (!fresh)
        throw DataError("'" + inside + "' is in " + other->second.parent_path().string() +
                        " and in " + folder.string() + ": they cannot be taken as one folder");
    }
    if (!own) names.emplace(name, folder);
  }
  for (const auto& [name, target] : names)
    if (!fs::is_symlink(whole / name)) fs::create_symlink(fs::absolute(target), whole / name);
  return whole;
}

// Where paths of media start: a folder, an archive, or what a pattern matches.
fs::path media_place(const fs::path& root, Context& context) {
  const fs::path place = through_archives(root, context);
  std::error_code ignored;
  if (fs::exists(place, ignored) || place.string().find_first_of("*?[") == std::string::npos)
    return place;
  const std::vector<fs::path> found = matching(place);
  if (found.empty())
    throw DataError(root.string() + ": no folder or archive of media matches this");
  return joined(found, context);
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

// What a meta file names, from the folder it lies in; some name it from the folder around that one.
fs::path beside(const fs::path& meta, const fs::path& name, Context& context) {
  const fs::path folder = meta.parent_path();
  const fs::path place = through_archives(folder / name, context);
  std::error_code ignored;
  if (fs::exists(place, ignored) || name.empty() || *name.begin() != folder.filename())
    return place;
  const fs::path other = through_archives(folder.parent_path() / name, context);
  return fs::exists(other, ignored) ? other : place;
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
    input.file = beside(file, std::string(annotation), context);
    input.media_root = media_root.empty()
                           ? beside(file, std::string(root), context)
                           : through_archives(media_root / std::string(root), context);
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
  const fs::path media = media_root.empty() ? media_root : media_place(media_root, context);
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
