// SPDX-License-Identifier: Apache-2.0
#include "core/config/component_check.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/config/suggest.hpp"

namespace dt2it {
namespace {

constexpr std::string_view kStagePrefix = "stage:";

const char* expected(ParamType type) {
  switch (type) {
    case ParamType::boolean: return "a boolean";
    case ParamType::integer: return "an integer";
    case ParamType::number: return "a number";
    case ParamType::string: return "a string";
    case ParamType::table: return "a table";
  }
  return "";
}

const char* expected_list(ParamType type) {
  switch (type) {
    case ParamType::boolean: return "a list of booleans";
    case ParamType::integer: return "a list of integers";
    case ParamType::number: return "a list of numbers";
    default: return "a list of strings";
  }
}

std::string bounds_text(const ParamSpec& spec) {
  if (spec.min && spec.max) return fmt::format("{} to {}", *spec.min, *spec.max);
  if (spec.min) return fmt::format("at least {}", *spec.min);
  return fmt::format("at most {}", *spec.max);
}

class ParameterCheck {
 public:
  ParameterCheck(CheckedComponent& component, Diagnostics& diagnostics)
      : component_(component), diagnostics_(diagnostics) {}

  // Nothing when wrong; the reason is then in the diagnostics.
  std::optional<Value> value(const ParamSpec& spec, const TomlNode& node) {
    if (spec.list) {
      if (node.type != TomlNode::Type::list)
        return wrong_type(spec, expected_list(spec.type), node);
      List list;
      bool good = true;
      for (const TomlNode& item : node.list) {
        auto checked = scalar(spec, spec.type, item);
        if (checked) list.push_back(std::move(*checked));
        good = good && checked;
      }
      if (!good) return std::nullopt;
      return Value{std::move(list)};
    }
    if (spec.type == ParamType::table) {
      if (!node.is_table()) return wrong_type(spec, "a table", node);
      Table table;
      bool good = true;
      for (const TomlEntry& entry : node.table) {
        auto checked = scalar(spec, spec.table_of, entry.value);
        if (checked) table.emplace(entry.key, std::move(*checked));
        good = good && checked;
      }
      if (!good) return std::nullopt;
      return Value{std::move(table)};
    }
    return scalar(spec, spec.type, node);
  }

  // Defaults name components and stages too.
  void defaults(const ParamSpec& spec) {
    const auto refer = [&](const Value& value) {
      if (const auto* text = std::get_if<std::string>(&value.data))
        note_reference(spec, *text, component_.where, " (its default)");
    };
    refer(spec.fallback);
    if (const auto* list = std::get_if<List>(&spec.fallback.data))
      for (const Value& item : *list) refer(item);
  }

 private:
  std::nullopt_t wrong_type(const ParamSpec& spec, std::string_view wanted, const TomlNode& node) {
    diagnostics_.add(node.at.location(), fmt::format("'{}' is {} ({} is expected)", spec.name,
                                                     name_of(node.type), wanted));
    return std::nullopt;
  }

  std::optional<Value> scalar(const ParamSpec& spec, ParamType type, const TomlNode& node) {
    switch (type) {
      case ParamType::boolean:
        if (node.type != TomlNode::Type::boolean) return wrong_type(spec, expected(type), node);
        return Value{node.boolean};
      case ParamType::integer:
        if (node.type != TomlNode::Type::integer) return wrong_type(spec, expected(type), node);
        if (!in_range(spec, static_cast<double>(node.integer), node)) return std::nullopt;
        return Value{node.integer};
      case ParamType::number: {
        double number = node.number;
        if (node.type == TomlNode::Type::integer)
          number = static_cast<double>(node.integer);
        else if (node.type != TomlNode::Type::number)
          return wrong_type(spec, expected(type), node);
        if (!in_range(spec, number, node)) return std::nullopt;
        return Value{number};
      }
      case ParamType::string: {
        if (node.type != TomlNode::Type::string) return wrong_type(spec, expected(type), node);
        auto text = expand_variables(node, diagnostics_);
        if (!text) return std::nullopt;
        if (!spec.choices.empty() &&
            std::find(spec.choices.begin(), spec.choices.end(), *text) == spec.choices.end()) {
          diagnostics_.add(node.at.location(),
                           fmt::format("'{}' cannot be '{}'{}", spec.name, *text,
                                       allowed_text(*text, spec.choices)));
          return std::nullopt;
        }
        note_reference(spec, *text, node.at.location(), "");
        if (spec.path && !text->empty() && !text->starts_with(kStagePrefix)) {
          const std::filesystem::path path(*text);
          text = (path.is_absolute() ? path : node.at.source->folder / path)
                     .lexically_normal()
                     .string();
        }
        return Value{std::move(*text)};
      }
      case ParamType::table: break;
    }
    return wrong_type(spec, expected(type), node);
  }

  bool in_range(const ParamSpec& spec, double number, const TomlNode& node) {
    if (!std::isfinite(number)) {
      diagnostics_.add(node.at.location(),
                       fmt::format("'{}' is {} (a finite number is expected)", spec.name, number));
      return false;
    }
    if ((spec.min && number < *spec.min) || (spec.max && number > *spec.max)) {
      diagnostics_.add(node.at.location(), fmt::format("'{}' is {}, out of range (allowed: {})",
                                                       spec.name, number, bounds_text(spec)));
      return false;
    }
    return true;
  }

  void note_reference(const ParamSpec& spec, const std::string& text, const Location& at,
                      const char* remark) {
    if (text.empty()) return;
    if (!spec.component_kind.empty()) {
      component_.references.push_back({spec.component_kind, text, spec.name + remark, at});
    } else if (spec.path && text.starts_with(kStagePrefix)) {
      component_.references.push_back(
          {"stages", text.substr(kStagePrefix.size()), spec.name + remark, at});
    }
  }

  CheckedComponent& component_;
  Diagnostics& diagnostics_;
};

bool is_variable_name(std::string_view name) {
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') &&
         name.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
             std::string_view::npos;
}

}  // namespace

std::string header_of(std::string_view kind, std::string_view name) {
  return fmt::format("[{}.{}]", kind, name);
}

std::optional<std::string> expand_variables(const TomlNode& node, Diagnostics& diagnostics) {
  const std::string& text = node.string;
  std::string result;
  bool good = true;
  for (std::size_t at = 0; at < text.size();) {
    if (text.compare(at, 3, "$${") == 0) {
      result += "${";
      at += 3;
      continue;
    }
    if (text.compare(at, 2, "${") != 0) {
      result += text[at++];
      continue;
    }
    const std::size_t end = text.find('}', at);
    const std::string inside = end == std::string::npos ? "" : text.substr(at + 2, end - at - 2);
    const std::size_t colon = inside.find(":-");
    const std::string name = inside.substr(0, colon);
    if (!is_variable_name(name)) {
      diagnostics.add(
          node.at.location(),
          "${...} is not a variable (allowed: ${NAME} or ${NAME:-default} with letters, "
          "digits and _; write $${ for a plain ${)");
      return std::nullopt;
    }
    if (const char* value = std::getenv(name.c_str())) {
      result += value;
    } else if (colon != std::string::npos) {
      result += inside.substr(colon + 2);
    } else {
      diagnostics.add(node.at.location(),
                      fmt::format("the environment variable {} is not set", name));
      good = false;
    }
    at = end + 1;
  }
  if (!good) return std::nullopt;
  return result;
}

CheckedComponent check_component(std::string_view kind, const TomlEntry& entry,
                                 std::string_view default_type, const Catalog& catalog,
                                 Diagnostics& diagnostics) {
  CheckedComponent result;
  result.kind = kind;
  result.name = entry.key;
  result.where = entry.at.location();
  const std::string header = header_of(kind, entry.key);
  if (!entry.value.is_table()) {
    diagnostics.add(entry.value.at.location(),
                    fmt::format("'{}.{}' is {} (a table is expected)", kind, entry.key,
                                name_of(entry.value.type)));
    return result;
  }
  if (entry.key.empty() ||
      entry.key.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
                                  "uvwxyz0123456789_-") != std::string::npos)
    diagnostics.add(entry.at.location(),
                    fmt::format("'{}' is no name for a {} (allowed: letters, "
                                "digits, _ and -)",
                                entry.key, kind == "stages" ? "stage" : "component"));

  std::vector<std::string> types;
  for (const ComponentDescription* description : catalog.of_kind(kind))
    types.push_back(description->name);

  const TomlNode* type = entry.value.find("type");
  Location type_at = entry.at.location();
  result.type = default_type;
  if (type) {
    type_at = type->at.location();
    if (type->type != TomlNode::Type::string) {
      diagnostics.add(type_at,
                      fmt::format("'type' is {} (a string is expected)", name_of(type->type)));
      return result;
    }
    const auto text = expand_variables(*type, diagnostics);
    if (!text) return result;
    result.type = *text;
  } else if (default_type.empty()) {
    diagnostics.add(type_at, fmt::format("{} has no 'type'{}", header, allowed_text(types)));
    return result;
  }
  const ComponentDescription* description = catalog.find(kind, result.type);
  if (!description) {
    const bool stage = kind == "stages";
    diagnostics.add(type_at,
                    fmt::format("there is no {} type '{}'{}{}", stage ? "stage" : kind, result.type,
                                allowed_text(result.type, types), stage ? "" : kPluginsElsewhere));
    return result;
  }

  ParameterCheck check(result, diagnostics);
  std::vector<std::string> names = {"type"};
  for (const ParamSpec& spec : description->params) names.push_back(spec.name);
  if (kind == "stages") names.push_back("with");
  for (const TomlEntry& item : entry.value.table) {
    if (item.key == "type" || (kind == "stages" && item.key == "with")) continue;
    const auto spec = std::find_if(description->params.begin(), description->params.end(),
                                   [&](const ParamSpec& one) { return one.name == item.key; });
    if (spec == description->params.end()) {
      diagnostics.add(item.at.location(),
                      fmt::format("unknown key '{}' in {} of type {}{}", item.key, header,
                                  result.type, allowed_text(item.key, names)));
      continue;
    }
    result.given[item.key] = item.at.location();
    if (auto value = check.value(*spec, item.value))
      result.params.emplace(item.key, std::move(*value));
  }
  for (const ParamSpec& spec : description->params) {
    if (result.given.contains(spec.name)) continue;
    if (spec.required) {
      diagnostics.add(
          entry.at.location(),
          fmt::format("{} needs '{}' ({}): {}", header, spec.name,
                      spec.list ? expected_list(spec.type) : expected(spec.type), spec.help));
    } else if (spec.fallback) {
      result.params.emplace(spec.name, spec.fallback);
      check.defaults(spec);
    }
  }
  return result;
}

}  // namespace dt2it
