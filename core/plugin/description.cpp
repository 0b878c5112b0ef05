// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/description.hpp"

#include <fmt/core.h>
#include <simdjson.h>

#include <algorithm>
#include <utility>

#include "dt2it/error.hpp"
#include "dt2it/handshake.hpp"

namespace dt2it {
namespace {

namespace dom = simdjson::dom;

std::string string_of(const dom::object& object, std::string_view key) {
  return std::string(std::string_view(object[key]));
}

bool flag_of(const dom::object& object, std::string_view key) {
  bool flag = false;
  if (object[key].get(flag) != simdjson::SUCCESS) return false;
  return flag;
}

ParamType type_of(const dom::object& object, std::string_view key) {
  const std::string_view name = object[key];
  if (name == "boolean") return ParamType::boolean;
  if (name == "integer") return ParamType::integer;
  if (name == "number") return ParamType::number;
  if (name == "string") return ParamType::string;
  if (name == "table") return ParamType::table;
  throw PluginError(fmt::format("'{}' is no parameter type", name));
}

Value value_of(const dom::element& element) {
  switch (element.type()) {
    case dom::element_type::BOOL: return {bool(element)};
    case dom::element_type::INT64: return {std::int64_t(element)};
    case dom::element_type::DOUBLE: return {double(element)};
    case dom::element_type::STRING: return {std::string(std::string_view(element))};
    case dom::element_type::ARRAY: {
      List list;
      for (const dom::element item : dom::array(element)) list.push_back(value_of(item));
      return {std::move(list)};
    }
    case dom::element_type::OBJECT: {
      Table table;
      for (const auto& [key, item] : dom::object(element)) table.emplace(key, value_of(item));
      return {std::move(table)};
    }
    default: return {};
  }
}

std::optional<double> bound_of(const dom::object& object, std::string_view key) {
  double bound = 0;
  if (object[key].get(bound) != simdjson::SUCCESS) return std::nullopt;
  return bound;
}

ParamSpec spec_of(const dom::object& object) {
  ParamSpec spec;
  spec.name = string_of(object, "name");
  spec.type = type_of(object, "type");
  if (spec.type == ParamType::table) spec.table_of = type_of(object, "table_of");
  spec.list = flag_of(object, "list");
  spec.required = flag_of(object, "required");
  spec.argument = flag_of(object, "argument");
  spec.path = flag_of(object, "path");
  if (object["component_kind"].error() == simdjson::SUCCESS)
    spec.component_kind = string_of(object, "component_kind");
  spec.fallback = value_of(object["default"]);
  spec.min = bound_of(object, "min");
  spec.max = bound_of(object, "max");
  dom::array choices;
  if (object["choices"].get(choices) == simdjson::SUCCESS)
    for (const dom::element choice : choices) spec.choices.emplace_back(std::string_view(choice));
  spec.help = string_of(object, "help");
  return spec;
}

bool same(const ParamSpec& a, const ParamSpec& b) {
  return a.name == b.name && a.type == b.type && a.list == b.list && a.required == b.required &&
         a.argument == b.argument && a.path == b.path && a.component_kind == b.component_kind &&
         (a.type != ParamType::table || a.table_of == b.table_of) && a.min == b.min &&
         a.max == b.max && a.choices == b.choices;
}

}  // namespace

PluginDescription read_description(const std::filesystem::path& file) {
  try {
    dom::parser parser;
    const dom::object object = parser.load(file.string());
    PluginDescription result;
    result.name = string_of(object, "name");
    result.version = string_of(object, "version");
    result.abi = static_cast<std::uint32_t>(std::uint64_t(object["abi"]));
    result.toolchain = string_of(object, "toolchain");
    result.torch = string_of(object, "torch");
    for (const dom::object component : dom::array(object["components"])) {
      ComponentDescription& one = result.components.emplace_back();
      one.kind = string_of(component, "kind");
      one.name = string_of(component, "name");
      one.help = string_of(component, "help");
      one.plugin = result.name;
      one.version = result.version;
      for (const dom::object param : dom::array(component["params"]))
        one.params.push_back(spec_of(param));
    }
    return result;
  } catch (const std::exception& error) {
    throw PluginError(
        fmt::format("{}: not a plugin description ({}); build the plugin again, or remove "
                    "the file",
                    file.string(), error.what()));
  }
}

PluginDescription describe(const PluginManifest& manifest,
                           const std::vector<ComponentType>& types) {
  PluginDescription result;
  result.name = manifest_text(manifest.name);
  result.version = manifest_text(manifest.version);
  result.abi = manifest.abi;
  result.toolchain = manifest_text(manifest.toolchain);
  result.torch = manifest_text(manifest.torch);
  for (const ComponentType& type : types)
    result.components.push_back(
        {type.kind, type.name, type.help, type.params, result.name, result.version});
  return result;
}

std::optional<std::string> difference(const PluginDescription& file,
                                      const PluginDescription& library) {
  const auto differs = [](std::string_view what, const auto& a, const auto& b) {
    return fmt::format("{} '{}' against '{}'", what, a, b);
  };
  if (file.name != library.name) return differs("name", file.name, library.name);
  if (file.abi != library.abi) return differs("SDK ABI", file.abi, library.abi);
  if (file.version != library.version) return differs("version", file.version, library.version);
  if (file.toolchain != library.toolchain)
    return differs("toolchain", file.toolchain, library.toolchain);
  if (file.torch != library.torch) return differs("LibTorch", file.torch, library.torch);
  if (file.components.size() != library.components.size())
    return fmt::format("{} components against {}", file.components.size(),
                       library.components.size());
  for (const ComponentDescription& one : file.components) {
    const auto other =
        std::ranges::find_if(library.components, [&](const ComponentDescription& candidate) {
          return candidate.kind == one.kind && candidate.name == one.name;
        });
    if (other == library.components.end())
      return fmt::format("component {}/{} is not in the library", one.kind, one.name);
    for (std::size_t i = 0; i < std::max(one.params.size(), other->params.size()); ++i)
      if (i >= one.params.size() || i >= other->params.size() ||
          !same(one.params[i], other->params[i]))
        return fmt::format("parameter '{}' of {}/{}",
                           i < one.params.size() ? one.params[i].name : other->params[i].name,
                           one.kind, one.name);
  }
  return std::nullopt;
}

}  // namespace dt2it
