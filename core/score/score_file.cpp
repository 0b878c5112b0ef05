// SPDX-License-Identifier: Apache-2.0
#include "core/score/score_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <simdjson.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

namespace {

constexpr auto kFlushEvery = std::chrono::seconds(1);
constexpr char kShard[] = "shard";

std::string to_json(const ScoreSettings& settings) {
  std::string text = "{";
  for (const auto& [name, value] : settings) {
    text += text.size() > 1 ? ",\n " : "\n ";
    append_json_string(text, name);
    text += ": " + value;
  }
  return text + "\n}\n";
}

ScoreSettings read_settings(const fs::path& file) {
  ScoreSettings settings;
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  const std::string text = read_file(file);
  if (parser.parse(text).get(object)) throw DataError(file.string() + ": is no JSON object");
  for (const auto& [name, value] : object) settings[std::string(name)] = simdjson::minify(value);
  return settings;
}

// The same form that read_settings gives.
ScoreSettings minified(const ScoreSettings& settings) {
  ScoreSettings result;
  simdjson::dom::parser parser;
  for (const auto& [name, value] : settings) {
    simdjson::dom::element element;
    result[name] = parser.parse(value).get(element) ? value : simdjson::minify(element);
  }
  return result;
}

[[noreturn]] void fail_differing(const fs::path& file, const ScoreSettings& there,
                                 const ScoreSettings& now) {
  throw ConfigError(
      fmt::format("{}: was made with other settings: {} (choose another --out, or remove the file)",
                  file.string(), fmt::join(differences(there, now), "; ")));
}

void sync_or_throw(int descriptor, const fs::path& file) {
  if (::fdatasync(descriptor) != 0)
    throw Error(
        fmt::format("{}: cannot be flushed to disk: {}", file.string(), std::strerror(errno)));
}

}  // namespace

fs::path settings_file(const fs::path& file) { return file.string() + ".settings.json"; }

std::vector<std::string> differences(const ScoreSettings& there, const ScoreSettings& now) {
  std::vector<std::string> result;
  for (const auto& [name, value] : there) {
    const auto other = now.find(name);
    if (other == now.end())
      result.push_back(fmt::format("{} is {} there and not given now", name, value));
    else if (other->second != value)
      result.push_back(fmt::format("{} is {} there and {} now", name, value, other->second));
  }
  for (const auto& [name, value] : now)
    if (!there.contains(name))
      result.push_back(fmt::format("{} is {} now and was not given there", name, value));
  return result;
}

ScoreFile::ScoreFile(fs::path file, const ScoreSettings& settings,
                     const std::function<bool(std::size_t)>& has, std::size_t group)
    : file_(std::move(file)),
      part_(file_.string() + ".part"),
      lock_file_(file_.string() + ".lock") {
  const ScoreSettings now = minified(settings);
  const fs::path beside = settings_file(file_);
  if (const fs::path folder = file_.parent_path(); !folder.empty()) fs::create_directories(folder);
  const bool whole = fs::exists(file_);
  if (whole || fs::exists(part_)) {
    const fs::path& there = whole ? file_ : part_;
    if (!fs::exists(beside))
      throw ConfigError(fmt::format(
          "{}: exists, and {} does not: it is not a file of scores (choose another --out)",
          there.string(), beside.filename().string()));
    const ScoreSettings then = read_settings(beside);
    if (then != now) fail_differing(there, then, now);
  }
  if (whole) {
    take_up(file_, has, 1);
    if (again_.empty()) return;
    totals_ = {};
    next_row_ = 0;
    again_.clear();
  }
  std::string holder;
  lock_ = FileLock::try_lock(lock_file_, holder);
  if (!lock_) throw Error(fmt::format("{}: is being written by {}", file_.string(), holder));
  if (!whole && !fs::exists(part_)) write_file_atomically(beside, to_json(now));
  if (whole && !fs::exists(part_)) write_file_atomically(part_, read_file(file_));
  descriptor_ = ::open(part_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0)
    throw Error(fmt::format("{}: cannot be written: {}", part_.string(), std::strerror(errno)));
  take_up(part_, has, group);
  flushed_ = std::chrono::steady_clock::now();
}

void ScoreFile::take_up(const fs::path& file, const std::function<bool(std::size_t)>& has,
                        std::size_t group) {
  const bool part = descriptor_ >= 0;
  const std::uintmax_t size = fs::file_size(file);
  std::uintmax_t at = 0, keep = 0;
  std::size_t lines = 0, row = 0;
  std::vector<ScoreLine> pending;  // since the last whole group
  bool grouped = true;             // until a line is to be asked again, for that changes groups
  LineReader reader(file);
  std::string_view text;
  const auto settle = [&] {
    for (const ScoreLine& line : pending) {
      next_row_ = std::max(next_row_, line.row + 1);
      if (line.status == Status::unavailable) {
        again_.insert(line.row);
        continue;
      }
      again_.erase(line.row);
      totals_.add(line);
    }
    pending.clear();
    keep = at;
  };
  while (reader.next(text)) {
    at += text.size() + 1;
    if (at > size) break;  // no line break: torn
    while (!has(row)) ++row;
    try {
      ScoreLine line = score_line_from(text, reader.where());
      if (part && again_.contains(line.row))
        out_of_order_ = true;
      else if (line.row != row)
        throw DataError(
            fmt::format("{}: is of row {}, expected was {}", reader.where(), line.row, row));
      else
        ++row, ++lines;
      grouped = grouped && line.status != Status::unavailable;
      pending.push_back(std::move(line));
    } catch (const DataError&) {
      if (!part) throw;
      pending.clear();  // damaged by a power cut: this and all behind it goes
      break;
    }
    if (!grouped || lines % group == 0) settle();
  }
  if (!part) return settle();
  if (keep != size && ::ftruncate(descriptor_, static_cast<off_t>(keep)) != 0)
    throw Error(fmt::format("{}: cannot be cut: {}", file.string(), std::strerror(errno)));
  ::lseek(descriptor_, static_cast<off_t>(keep), SEEK_SET);
}

ScoreFile::~ScoreFile() {
  if (descriptor_ < 0) return;
  ::fdatasync(descriptor_);
  ::close(descriptor_);
}

std::function<bool(std::size_t)> ScoreFile::missing() const {
  return [next = next_row_, again = again_](std::size_t row) {
    return row >= next || again.contains(row);
  };
}

void ScoreFile::append(std::span<const ScoreLine> lines) {
  std::string text;
  for (const ScoreLine& line : lines) text += dt2it::to_json(line) + '\n';
  write_all(descriptor_, text, part_);
  for (const ScoreLine& line : lines) {
    totals_.add(line);
    out_of_order_ = out_of_order_ || line.row < next_row_;
    next_row_ = std::max(next_row_, line.row + 1);
    if (line.status == Status::unavailable)
      again_.insert(line.row);
    else
      again_.erase(line.row);
  }
  if (const auto now = std::chrono::steady_clock::now(); now - flushed_ >= kFlushEvery) {
    sync_or_throw(descriptor_, part_);
    flushed_ = now;
  }
}

// Gives each row that was asked again its last line, in the place of its first.
void ScoreFile::put_in_order() {
  std::map<std::size_t, std::string> last;
  std::string_view text;
  const auto each_line = [&](const std::function<void(std::size_t row, bool first)>& work) {
    LineReader reader(part_);
    for (std::size_t behind = 0; reader.next(text);) {
      const std::size_t row = score_line_from(text, reader.where()).row;
      work(row, row >= behind);
      behind = std::max(behind, row + 1);
    }
  };
  each_line([&](std::size_t row, bool first) {
    if (!first) last[row] = text;
  });
  std::string ordered;
  each_line([&](std::size_t row, bool first) {
    if (!first) return;
    const auto later = last.find(row);
    ordered += later == last.end() ? text : std::string_view(later->second);
    ordered += '\n';
  });
  write_file_atomically(part_, ordered);
}

void ScoreFile::finish() {
  if (complete()) return;
  sync_or_throw(descriptor_, part_);
  if (out_of_order_) put_in_order();
  ::close(descriptor_);
  descriptor_ = -1;
  if (::rename(part_.c_str(), file_.c_str()) != 0)
    throw Error(
        fmt::format("{}: cannot be put in place: {}", file_.string(), std::strerror(errno)));
  std::error_code ignored;
  fs::remove(lock_file_, ignored);
  lock_.reset();
}

ScoreTotals merge_scores(const fs::path& out, const std::vector<fs::path>& shards) {
  if (shards.empty()) throw ConfigError("no shards to merge");
  struct Input {
    std::unique_ptr<LineReader> reader;
    ScoreLine line;
    std::string text;
    bool left = true;
    void next() {
      std::string_view view;
      left = reader->next(view);
      if (!left) return;
      text = view;
      line = score_line_from(text, reader->where());
    }
  };
  std::vector<Input> inputs;
  ScoreSettings common;
  std::vector<std::string> seen;
  std::size_t count = 0;
  for (const fs::path& file : shards) {
    if (fs::exists(file.string() + ".part") || !fs::exists(file))
      throw ConfigError(fmt::format("{}: is not complete; run its shard again", file.string()));
    if (!fs::exists(settings_file(file)))
      throw ConfigError(fmt::format("{}: {} is not beside it", file.string(),
                                    settings_file(file).filename().string()));
    ScoreSettings settings = read_settings(settings_file(file));
    const std::string shard = settings[kShard];
    settings.erase(kShard);
    if (inputs.empty()) common = settings;
    if (settings != common) fail_differing(file, settings, common);
    const Shard one = Shard::parse(shard.size() > 2 ? shard.substr(1, shard.size() - 2) : shard);
    if (count == 0) count = one.count;
    if (one.count != count || std::find(seen.begin(), seen.end(), shard) != seen.end())
      throw ConfigError(fmt::format("{}: is shard {}; {} of {} others", file.string(), one.text(),
                                    one.count != count ? "not one" : "one that is there already",
                                    count));
    seen.push_back(shard);
    inputs.push_back({std::make_unique<LineReader>(file)});
    inputs.back().next();
  }
  if (inputs.size() != count)
    throw ConfigError(fmt::format("{} of {} shards are given", inputs.size(), count));
  const std::string whole = '"' + Shard{}.text() + '"';
  common[kShard] = whole;
  if (fs::exists(out)) throw ConfigError(fmt::format("{}: exists already", out.string()));
  const fs::path part = out.string() + ".part";
  ScoreTotals totals;
  {
    LineWriter writer(part);
    for (std::size_t row = 0;; ++row) {
      const auto least =
          std::min_element(inputs.begin(), inputs.end(), [](const Input& a, const Input& b) {
            return a.left != b.left ? a.left : a.line.row < b.line.row;
          });
      if (!least->left) break;
      if (least->line.row != row)
        throw DataError(fmt::format("{}: row {} is missing", least->reader->where(), row));
      writer.write(least->text);
      totals.add(least->line);
      least->next();
    }
    writer.close();
  }
  write_file_atomically(settings_file(out), to_json(common));
  if (::rename(part.c_str(), out.c_str()) != 0)
    throw Error(fmt::format("{}: cannot be put in place: {}", out.string(), std::strerror(errno)));
  return totals;
}

}  // namespace dt2it
