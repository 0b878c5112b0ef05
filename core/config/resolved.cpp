// SPDX-License-Identifier: Apache-2.0
#include "core/config/resolved.hpp"

#include <fmt/core.h>
#include <fmt/format.h>

namespace dt2it {
namespace {

std::string quote(std::string_view text) {
  std::string result = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += static_cast<char>(c);
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (c < 0x20 || c == 0x7f) {
      result += fmt::format("\\u{:04X}", c);
    } else {
      result += static_cast<char>(c);
    }
  }
  return result + '"';
}

std::string key_text(std::string_view key) {
  const bool bare = !key.empty() && key.find_first_not_of(
                                        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
                                        "uvwxyz0123456789_-") == std::string_view::npos;
  return bare ? std::string(key) : quote(key);
}

std::string place_text(const Location& where) {
  return where.line > 0 ? fmt::format("{}:{}", where.file, where.line) : where.file;
}

bool has_variable(const TomlNode& node) {
  if (node.type == TomlNode::Type::string) return node.string.find("${") != std::string::npos;
  for (const TomlNode& item : node.list)
    if (has_variable(item)) return true;
  for (const TomlEntry& entry : node.table)
    if (has_variable(entry.value)) return true;
  return false;
}

// As written, for values whose variables must not be shown expanded.
Value raw_value(const TomlNode& node) {
  switch (node.type) {
    case TomlNode::Type::boolean: return {node.boolean};
    case TomlNode::Type::integer: return {node.integer};
    case TomlNode::Type::number: return {node.number};
    case TomlNode::Type::string: return {node.string};
    case TomlNode::Type::list: {
      List list;
      for (const TomlNode& item : node.list) list.push_back(raw_value(item));
      return {std::move(list)};
    }
    case TomlNode::Type::table: {
      Table table;
      for (const TomlEntry& entry : node.table) table.emplace(entry.key, raw_value(entry.value));
      return {std::move(table)};
    }
    case TomlNode::Type::other: break;
  }
  return {};
}

// Checked strings hold plain text: a ${ in them was written $${, and must be again.
Value escaped(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value.data)) {
    std::string result;
    for (std::size_t at = 0; at < text->size(); ++at) {
      if (text->compare(at, 2, "${") == 0) result += '$';
      result += (*text)[at];
    }
    return {std::move(result)};
  }
  if (const auto* list = std::get_if<List>(&value.data)) {
    List result;
    for (const Value& item : *list) result.push_back(escaped(item));
    return {std::move(result)};
  }
  if (const auto* table = std::get_if<Table>(&value.data)) {
    Table result;
    for (const auto& [key, item] : *table) result.emplace(key, escaped(item));
    return {std::move(result)};
  }
  return value;
}

void line(std::string& out, std::string_view key, const Value& value, std::string_view remark) {
  out += fmt::format("{} = {}  # {}\n", key_text(key), toml_text(value), remark);
}

void component(std::string& out, std::string_view header, const std::string& type,
               const Table& params, const std::map<std::string, Location>& given,
               const TomlNode* node, const TomlNode* over = nullptr) {
  out += fmt::format("\n[{}]\n", header);
  const auto find = [&](std::string_view key) {
    const TomlNode* found = over ? over->find(key) : nullptr;
    return found ? found : node ? node->find(key) : nullptr;
  };
  const TomlNode* type_node = find("type");
  line(out, "type", Value{type}, type_node ? place_text(type_node->at.location()) : "default");
  for (const auto& [key, value] : params) {
    const auto at = given.find(key);
    const TomlNode* raw = find(key);
    const bool keep = at != given.end() && raw && has_variable(*raw);
    line(out, key, keep ? raw_value(*raw) : escaped(value),
         at != given.end() ? place_text(at->second) : "default");
  }
}

}  // namespace

std::string toml_text(const Value& value) {
  struct Visitor {
    std::string operator()(std::monostate) const { return "\"\""; }
    std::string operator()(bool b) const { return b ? "true" : "false"; }
    std::string operator()(std::int64_t i) const { return fmt::format("{}", i); }
    std::string operator()(double d) const {
      std::string text = fmt::format("{}", d);
      if (text.find_first_of(".en") == std::string::npos) text += ".0";
      return text;
    }
    std::string operator()(const std::string& s) const { return quote(s); }
    std::string operator()(const List& list) const {
      std::string text = "[";
      for (std::size_t i = 0; i < list.size(); ++i) text += (i ? ", " : "") + toml_text(list[i]);
      return text + "]";
    }
    std::string operator()(const Table& table) const {
      std::string text = "{";
      for (const auto& [key, item] : table)
        text += (text.size() > 1 ? ", " : " ") + key_text(key) + " = " + toml_text(item);
      return text + (table.empty() ? "}" : " }");
    }
  };
  return std::visit(Visitor{}, value.data);
}

std::string resolved_text(const Experiment& experiment, const TomlNode& merged) {
  std::string out = fmt::format("# {}, profile {}\n\n[experiment]\n", experiment.name,
                                experiment.profile.empty() ? "none" : experiment.profile);
  const TomlNode* head = merged.find("experiment");
  const auto remark = [&](std::string_view key) {
    const TomlEntry* entry = head ? head->entry(key) : nullptr;
    return entry ? place_text(entry->at.location()) : std::string("default");
  };
  const auto text = [&](std::string_view key, const std::string& value) {
    if (value.empty()) return;
    const TomlNode* raw = head ? head->find(key) : nullptr;
    line(out, key, raw && has_variable(*raw) ? raw_value(*raw) : Value{value}, remark(key));
  };
  text("paper", experiment.paper);
  text("about", experiment.about);
  line(out, "seed", Value{static_cast<std::int64_t>(experiment.seed)}, remark("seed"));
  if (!experiment.expect.empty()) {
    Table table;
    for (const auto& [metric, promise] : experiment.expect) table.emplace(metric, Value{promise});
    line(out, "expect", Value{std::move(table)}, remark("expect"));
  }
  if (!experiment.rows.empty()) {
    List list;
    for (const auto& row : experiment.rows) list.push_back(Value{row.string()});
    line(out, "rows", Value{std::move(list)}, remark("rows"));
  }
  const auto node_of = [&](const std::string& kind, const std::string& name) -> const TomlNode* {
    const TomlNode* table = merged.find(kind);
    return table ? table->find(name) : nullptr;
  };
  for (const ComponentConfig& one : experiment.components)
    component(out, key_text(one.kind) + "." + key_text(one.name), one.type, one.params, one.given,
              node_of(one.kind, one.name));
  for (const StageConfig& stage : experiment.stages) {
    const TomlNode* node = node_of("stages", stage.name);
    component(out, "stages." + key_text(stage.name), stage.type, stage.params, stage.given, node);
    for (const ComponentConfig& one : stage.with) {
      const TomlNode* over = node ? node->find("with") : nullptr;
      over = over ? over->find(one.kind) : nullptr;
      over = over ? over->find(one.name) : nullptr;
      component(out,
                fmt::format("stages.{}.with.{}.{}", key_text(stage.name), key_text(one.kind),
                            key_text(one.name)),
                one.type, one.params, one.given, node_of(one.kind, one.name), over);
    }
  }
  return out;
}

}  // namespace dt2it
