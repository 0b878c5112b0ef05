// SPDX-License-Identifier: Apache-2.0
#pragma once

// TOML as a tree in which every key and value remembers where it was written, so that a tree merged
// from several files can still say where each part came from.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/experiment.hpp"

namespace dt2it {

// A file, or a --set (then `display` is "--set a.b.c").
struct TomlSource {
  std::string display;           // as messages name it
  std::filesystem::path folder;  // absolute; what relative paths in it are relative to
};

struct Place {
  std::shared_ptr<const TomlSource> source;
  int line = 0;  // 0: no line (--set)
  int column = 0;
  Location location() const { return {source ? source->display : "", line, column}; }
};

struct TomlEntry;

struct TomlNode {
  enum class Type : std::uint8_t { boolean, integer, number, string, list, table, other };
  Type type = Type::table;
  bool boolean = false;
  std::int64_t integer = 0;
  double number = 0;
  std::string string;  // as written: ${NAME} not expanded
  std::vector<TomlNode> list;
  std::vector<TomlEntry> table;  // in the order written
  Place at;

  bool is_table() const { return type == Type::table; }
  const TomlNode* find(std::string_view key) const;
  TomlNode* find(std::string_view key);
  const TomlEntry* entry(std::string_view key) const;
};

struct TomlEntry {
  std::string key;
  Place at;  // of the key
  TomlNode value;
};

// "a string", "a list" ...: for messages.
const char* name_of(TomlNode::Type type);

// Null after a syntax error, which goes to `diagnostics` with its position.
std::shared_ptr<const TomlNode> parse_toml(std::string_view text,
                                           std::shared_ptr<const TomlSource> source,
                                           Diagnostics& diagnostics);

// A value in TOML syntax (for --set); nothing when `text` is not one.
std::optional<TomlNode> parse_toml_value(std::string_view text, const Place& at);

// Lays `over` on `base`: tables merge, everything else replaces. A component or stage table that states
// another `type` than the one below it starts afresh, for the parameters of the old type mean nothing to
// the new one.
void merge_toml(TomlNode& base, const TomlNode& over);
// The same for one component table; `default_type` is its type when it states none (stages).
void merge_component(TomlNode& base, const TomlNode& over, std::string_view default_type);

// Files already parsed, by path and content stamp (size and time), so that a profile which a hundred
// experiments share is read once. Thread-safe.
class TomlCache {
 public:
  // Null when the file is absent, unreadable or broken; then `diagnostics` says so, at `asked_from` when
  // the file cannot be read at all.
  std::shared_ptr<const TomlNode> read(const std::filesystem::path& file,
                                       const Location& asked_from, Diagnostics& diagnostics);

 private:
  struct Entry {
    std::uintmax_t size = 0;
    std::filesystem::file_time_type time;
    std::shared_ptr<const TomlNode> tree;
    std::vector<Diagnostics::Entry> errors;
  };
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

}  // namespace dt2it
