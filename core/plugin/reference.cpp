// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/reference.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "core/config/resolved.hpp"

namespace dt2it {
namespace {

constexpr std::size_t kWidth = 100;

const char* word(ParamType type) {
  switch (type) {
    case ParamType::boolean: return "boolean";
    case ParamType::integer: return "integer";
    case ParamType::number: return "number";
    case ParamType::string: return "string";
    case ParamType::table: return "table";
  }
  return "";
}

std::string type_text(const ParamSpec& spec) {
  std::string type = word(spec.type);
  if (spec.path) type = "path";
  if (!spec.component_kind.empty()) type = "name of [" + spec.component_kind + ".*]";
  if (spec.type == ParamType::table) return "table of " + std::string(word(spec.table_of)) + "s";
  if (!spec.list) return type;
  return "list of " +
         (spec.component_kind.empty() ? type + "s" : "names of [" + spec.component_kind + ".*]");
}

std::string limits_text(const ParamSpec& spec) {
  std::string text;
  if (spec.min && spec.max)
    text = fmt::format("{} to {}", *spec.min, *spec.max);
  else if (spec.min)
    text = fmt::format("at least {}", *spec.min);
  else if (spec.max)
    text = fmt::format("at most {}", *spec.max);
  for (std::size_t i = 0; i < spec.choices.size(); ++i)
    text += fmt::format("{}{}", i ? ", " : text.empty() ? "one of " : "; one of ", spec.choices[i]);
  return text;
}

std::string default_text(const ParamSpec& spec) {
  if (spec.required) return "required";
  return spec.fallback ? toml_text(spec.fallback) : "not set";
}

std::string wrapped(std::string_view text, std::size_t indent) {
  std::string result;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view token = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (token.empty()) continue;
    if (column && indent + column + 1 + token.size() > kWidth) {
      result += '\n';
      column = 0;
    }
    result += column ? " " : std::string(indent, ' ');
    result += token;
    column += token.size() + (column ? 1 : 0);
  }
  return result + "\n";
}

// Within a table cell of Markdown.
std::string cell(std::string_view text) {
  std::string result;
  for (char c : text) {
    if (c == '|') result += '\\';
    result += c == '\n' ? ' ' : c;
  }
  return result;
}

std::string table_of(const ComponentDescription& component) {
  return component.kind == "stages" ? "[stages.NAME]" : "[" + component.kind + ".NAME]";
}

}  // namespace

std::string component_help(const ComponentDescription& component) {
  std::string out = fmt::format("{}/{}", component.kind, component.name);
  if (!component.plugin.empty())
    out += fmt::format("  (plugin {} {})", component.plugin, component.version);
  out += "\n" + wrapped(component.help, 2) + "\n";
  out += fmt::format("{}\ntype = \"{}\"\n", table_of(component), component.name);
  if (component.params.empty()) out += "It takes no parameters.\n";
  for (const ParamSpec& spec : component.params) {
    out += fmt::format("\n  {}  {}", spec.name, type_text(spec));
    if (const std::string limits = limits_text(spec); !limits.empty()) out += ", " + limits;
    out += spec.required ? "; required\n" : fmt::format("; default: {}\n", default_text(spec));
    out += wrapped(spec.help, 6);
    if (spec.argument)
      out += wrapped(fmt::format("Short form on the command line: {}:VALUE", component.name), 6);
  }
  return out;
}

std::string component_list(const Catalog& catalog) {
  std::string out;
  for (const std::string& kind : catalog.kinds()) {
    const auto components = catalog.of_kind(kind);
    if (components.empty()) continue;
    std::size_t width = 0;
    for (const ComponentDescription* one : components) width = std::max(width, one->name.size());
    out += (out.empty() ? "" : "\n") + kind + "\n";
    for (const ComponentDescription* one : components)
      out += fmt::format("  {:<{}}  {}\n", one->name, width, one->help);
  }
  return out;
}

std::string reference_markdown(const Catalog& catalog) {
  std::string out =
      "# Reference\n\nGenerated from the descriptions of all plugins; edit the help texts in the "
      "sources, "
      "not this page.\n";
  for (const std::string& kind : catalog.kinds()) {
    const auto components = catalog.of_kind(kind);
    if (components.empty()) continue;
    out += fmt::format("\n## {}\n", kind);
    for (const ComponentDescription* one : components) {
      out += fmt::format("\n### {}/{}\n\n{}\n", one->kind, one->name, one->help);
      if (one->params.empty()) {
        out += "\nNo parameters.\n";
        continue;
      }
      out += "\n| parameter | type | allowed | default | what |\n| --- | --- | --- | --- | --- |\n";
      for (const ParamSpec& spec : one->params) {
        const std::string fallback = default_text(spec);
        out += fmt::format("| `{}` | {} | {} | {} | {} |\n", spec.name, cell(type_text(spec)),
                           cell(limits_text(spec)),
                           spec.required || !spec.fallback ? fallback : "`" + cell(fallback) + "`",
                           cell(spec.help));
      }
    }
  }
  return out;
}

}  // namespace dt2it
