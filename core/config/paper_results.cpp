// SPDX-License-Identifier: Apache-2.0
#include "core/config/paper_results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/config/toml_tree.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

[[noreturn]] void reject(const TomlNode& node, const std::string& what) {
  const Location where = node.at.location();
  throw ConfigError(fmt::format("{}:{}:{}: {}", where.file, where.line, where.column, what));
}

std::string text_of(const TomlNode& table, const char* key, bool required = false) {
  const TomlNode* node = table.find(key);
  if (!node && required) reject(table, fmt::format("'{}' is missing (a string is expected)", key));
  if (!node) return {};
  if (node->type != TomlNode::Type::string)
    reject(*node, fmt::format("'{}' is {} (a string is expected)", key, name_of(node->type)));
  return node->string;
}

std::vector<std::string> texts_of(const TomlNode& table, const char* key) {
  std::vector<std::string> texts;
  const TomlNode* node = table.find(key);
  if (!node) return texts;
  if (node->type != TomlNode::Type::list)
    reject(*node,
           fmt::format("'{}' is {} (a list of strings is expected)", key, name_of(node->type)));
  for (const TomlNode& item : node->list) {
    if (item.type != TomlNode::Type::string)
      reject(item, fmt::format("'{}' holds {} (strings are expected)", key, name_of(item.type)));
    texts.push_back(item.string);
  }
  return texts;
}

void require_columns(const TomlNode& node, const std::vector<std::string>& names,
                     const std::vector<std::string>& columns) {
  for (const std::string& name : names)
    if (std::ranges::find(columns, name) == columns.end())
      reject(node, fmt::format("'{}' is no column (allowed: {})", name, fmt::join(columns, ", ")));
}

PaperRow row_of(const TomlNode& node, const PaperTable& table) {
  if (!node.is_table()) reject(node, "a row must be a table");
  PaperRow row{text_of(node, "name", true),
               text_of(node, "group"),
               text_of(node, "run"),
               text_of(node, "data"),
               {},
               texts_of(node, "corrected")};
  require_columns(node, row.corrected, table.columns);
  const TomlNode* values = node.find("values");
  if (!values || values->type != TomlNode::Type::list ||
      values->list.size() != table.columns.size())
    reject(node, fmt::format("'values' must be a list of {} numbers, one for each column",
                             table.columns.size()));
  for (const TomlNode& value : values->list) {
    if (value.type != TomlNode::Type::number && value.type != TomlNode::Type::integer)
      reject(value, "a number is expected (nan: cannot be read)");
    row.values.push_back(value.type == TomlNode::Type::number ? value.number
                                                              : static_cast<double>(value.integer));
  }
  return row;
}

}  // namespace

std::vector<PaperTable> read_paper_results(const std::filesystem::path& file) {
  Diagnostics diagnostics;
  TomlCache cache;
  const auto tree = cache.read(file, {file.string(), 0, 0}, diagnostics);
  if (!tree) throw ConfigError(diagnostics.text());
  std::vector<PaperTable> tables;
  for (const TomlEntry& entry : tree->table) {
    if (!entry.value.is_table())
      reject(entry.value,
             fmt::format("'{}' is {} (a table is expected)", entry.key, name_of(entry.value.type)));
    PaperTable table;
    table.id = entry.key;
    table.title = text_of(entry.value, "title", true);
    table.columns = texts_of(entry.value, "columns");
    table.figures = texts_of(entry.value, "figures");
    table.orderings = texts_of(entry.value, "orderings");
    if (table.columns.empty() || table.figures.size() != table.columns.size())
      reject(entry.value, fmt::format("{} columns and {} figures (as many of each are expected)",
                                      table.columns.size(), table.figures.size()));
    if (table.orderings.empty()) table.orderings = table.columns;
    require_columns(entry.value, table.orderings, table.columns);
    if (const TomlNode* rows = entry.value.find("rows"); rows && rows->type == TomlNode::Type::list)
      for (const TomlNode& row : rows->list) table.rows.push_back(row_of(row, table));
    if (table.rows.empty()) reject(entry.value, "a table without [[rows]]");
    tables.push_back(std::move(table));
  }
  return tables;
}

}  // namespace dt2it
