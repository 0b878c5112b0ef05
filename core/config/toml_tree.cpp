// SPDX-License-Identifier: Apache-2.0
#include "core/config/toml_tree.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <tuple>
#include <utility>

namespace dt2it {
namespace {

Place place_of(const toml::source_region& region, const std::shared_ptr<const TomlSource>& source) {
  return {source, static_cast<int>(region.begin.line), static_cast<int>(region.begin.column)};
}

TomlNode convert(const toml::node& node, const Place& fallback) {
  TomlNode result;
  result.at = node.source().begin ? place_of(node.source(), fallback.source) : fallback;
  if (const auto* table = node.as_table()) {
    result.type = TomlNode::Type::table;
    for (const auto& [key, value] : *table) {
      const Place at = key.source().begin ? place_of(key.source(), fallback.source) : result.at;
      result.table.push_back({std::string(key.str()), at, convert(value, at)});
    }
    // toml++ keeps keys sorted by name; the order of writing is what people mean.
    std::stable_sort(result.table.begin(), result.table.end(), [](const auto& a, const auto& b) {
      return std::tie(a.at.line, a.at.column) < std::tie(b.at.line, b.at.column);
    });
  } else if (const auto* list = node.as_array()) {
    result.type = TomlNode::Type::list;
    for (const auto& item : *list) result.list.push_back(convert(item, result.at));
  } else if (const auto* text = node.as_string()) {
    result.type = TomlNode::Type::string;
    result.string = text->get();
  } else if (const auto* integer = node.as_integer()) {
    result.type = TomlNode::Type::integer;
    result.integer = integer->get();
  } else if (const auto* number = node.as_floating_point()) {
    result.type = TomlNode::Type::number;
    result.number = number->get();
  } else if (const auto* boolean = node.as_boolean()) {
    result.type = TomlNode::Type::boolean;
    result.boolean = boolean->get();
  } else {
    result.type = TomlNode::Type::other;
  }
  return result;
}

std::string type_of(const TomlNode& node, std::string_view default_type) {
  const TomlNode* type = node.find("type");
  if (type && type->type == TomlNode::Type::string) return type->string;
  return std::string(default_type);
}

// How deep in the file `over` stands: KIND.NAME and stages.NAME.with.KIND.NAME are components.
bool is_component(const std::vector<std::string_view>& path) {
  if (path.size() == 2) return path[0] != "experiment";
  return path.size() == 5 && path[0] == "stages" && path[2] == "with";
}

void merge(TomlNode& base, const TomlNode& over, std::vector<std::string_view>& path) {
  if (!base.is_table() || !over.is_table()) {
    base = over;
    return;
  }
  if (is_component(path)) {
    const std::string_view default_type = path[0] == "stages" && path.size() == 2 ? path[1] : "";
    const std::string old_type = type_of(base, default_type), new_type = type_of(over, "");
    if (!new_type.empty() && !old_type.empty() && new_type != old_type) {
      base = over;
      return;
    }
  }
  base.at = over.at;
  for (const TomlEntry& entry : over.table) {
    const auto found = std::find_if(base.table.begin(), base.table.end(),
                                    [&](const TomlEntry& old) { return old.key == entry.key; });
    if (found == base.table.end()) {
      base.table.push_back(entry);
      continue;
    }
    // A --set within a table is no place where that table was written.
    if (entry.at.line > 0 || !entry.value.is_table()) found->at = entry.at;
    path.push_back(entry.key);
    merge(found->value, entry.value, path);
    path.pop_back();
  }
}

std::string one_line(std::string_view text) {
  std::string result;
  for (char c : text) {
    if (c != '\n' && c != '\r')
      result += c;
    else if (!result.empty() && result.back() != ' ')
      result += ' ';
  }
  return result;
}

}  // namespace

const TomlEntry* TomlNode::entry(std::string_view key) const {
  for (const TomlEntry& entry : table)
    if (entry.key == key) return &entry;
  return nullptr;
}

const TomlNode* TomlNode::find(std::string_view key) const {
  const TomlEntry* found = entry(key);
  return found ? &found->value : nullptr;
}

TomlNode* TomlNode::find(std::string_view key) {
  return const_cast<TomlNode*>(std::as_const(*this).find(key));
}

const char* name_of(TomlNode::Type type) {
  switch (type) {
    case TomlNode::Type::boolean: return "a boolean";
    case TomlNode::Type::integer: return "an integer";
    case TomlNode::Type::number: return "a number";
    case TomlNode::Type::string: return "a string";
    case TomlNode::Type::list: return "a list";
    case TomlNode::Type::table: return "a table";
    case TomlNode::Type::other: return "a date or time";
  }
  return "";
}

std::shared_ptr<const TomlNode> parse_toml(std::string_view text,
                                           std::shared_ptr<const TomlSource> source,
                                           Diagnostics& diagnostics) {
  try {
    const toml::table table = toml::parse(text, std::string_view{});
    return std::make_shared<const TomlNode>(convert(table, {source, 1, 1}));
  } catch (const toml::parse_error& error) {
    Place at = place_of(error.source(), source);
    at.line = std::max(at.line, 1);
    at.column = std::max(at.column, 1);
    diagnostics.add(at.location(), "TOML syntax: " + one_line(error.description()));
    return nullptr;
  }
}

std::optional<TomlNode> parse_toml_value(std::string_view text, const Place& at) {
  try {
    const toml::table table = toml::parse("v = " + std::string(text), std::string_view{});
    if (table.size() != 1 || !table.contains("v"))
      return std::nullopt;  // a line break smuggled in more
    TomlNode node = convert(*table.get("v"), at);
    const auto place = [&at](auto& self, TomlNode& part) -> void {
      part.at = at;
      for (TomlNode& item : part.list) self(self, item);
      for (TomlEntry& entry : part.table) {
        entry.at = at;
        self(self, entry.value);
      }
    };
    place(place, node);
    return node;
  } catch (const toml::parse_error&) {
    return std::nullopt;
  }
}

void merge_toml(TomlNode& base, const TomlNode& over) {
  std::vector<std::string_view> path;
  merge(base, over, path);
}

void merge_component(TomlNode& base, const TomlNode& over, std::string_view default_type) {
  std::vector<std::string_view> path = {"stages", default_type};  // as a stage: a default type
  merge(base, over, path);
}

std::shared_ptr<const TomlNode> TomlCache::read(const std::filesystem::path& file,
                                                const Location& asked_from,
                                                Diagnostics& diagnostics) {
  namespace fs = std::filesystem;
  std::error_code failed;
  if (!fs::is_regular_file(file, failed)) {
    diagnostics.add(asked_from, "there is no file " + file.string());
    return nullptr;
  }
  const std::uintmax_t size = fs::file_size(file, failed);
  const fs::file_time_type time = fs::last_write_time(file, failed);
  std::lock_guard lock(mutex_);
  Entry& entry = entries_[file.string()];
  const bool known = entry.tree || !entry.errors.empty();
  if (!known || entry.size != size || entry.time != time) {
    entry = {size, time, nullptr, {}};
    std::ifstream stream(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream),
                           std::istreambuf_iterator<char>()};
    if (!stream) {
      diagnostics.add(asked_from, "cannot read " + file.string());
      return nullptr;
    }
    auto source = std::make_shared<TomlSource>();
    source->display = file.string();
    source->folder = fs::absolute(file).lexically_normal().parent_path();
    Diagnostics own;
    entry.tree = parse_toml(text, std::move(source), own);
    entry.errors = std::move(own.errors);
  }
  for (const auto& error : entry.errors) diagnostics.errors.push_back(error);
  return entry.tree;
}

}  // namespace dt2it
