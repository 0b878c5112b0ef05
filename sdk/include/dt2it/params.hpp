// SPDX-License-Identifier: Apache-2.0
#pragma once

// Parameters of a component: a plain struct P with defaults, and
//
//   static void describe(dt2it::Schema<P>& schema) {
//     schema.field("sigma", &P::sigma, "Standard deviation of the noise, in grey levels.").min(0).max(255);
//     schema.component<dt2it::Judge>("judge", &P::judge, "Judge to ask.");
//   }
//
// The same description checks a configuration file, fills P, and prints the help and the reference page.
// An unknown key is an error; so is a parameter without help text.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "dt2it/error.hpp"

namespace dt2it {

struct Value;
using List = std::vector<Value>;
using Table = std::map<std::string, Value, std::less<>>;

// A configuration value. monostate: not given.
struct Value {
  std::variant<std::monostate, bool, std::int64_t, double, std::string, List, Table> data;
  bool operator==(const Value&) const = default;
  explicit operator bool() const { return data.index() != 0; }
};

enum class ParamType : std::uint8_t { boolean, integer, number, string, table };

// Everything the host knows about one parameter, as data (it also travels in the description file that
// stands beside each plugin library, so that a configuration is checked without loading the library).
struct ParamSpec {
  std::string name;
  ParamType type =
      ParamType::string;  // of the value, of a list's elements, or of a table's values' keys
  bool list = false;
  ParamType table_of = ParamType::number;  // type of the values of a `table`
  bool required = false;
  bool argument = false;  // the one that ARG means in the short form TYPE:ARG
  bool path = false;      // a file or folder; "stage:NAME" means the output folder of that stage
  std::string component_kind;  // not empty: names a component of this kind, e.g. "judges"
  Value fallback;  // default; monostate when required, or when "not given" is meaningful
  std::optional<double> min, max;
  std::vector<std::string> choices;
  std::string help;
};

namespace detail {

template <class M>
struct ParamTraits;  // only the types below can be parameters
template <>
struct ParamTraits<bool> {
  static constexpr ParamType type = ParamType::boolean;
};
template <>
struct ParamTraits<int> {
  static constexpr ParamType type = ParamType::integer;
};
template <>
struct ParamTraits<std::int64_t> {
  static constexpr ParamType type = ParamType::integer;
};
template <>
struct ParamTraits<double> {
  static constexpr ParamType type = ParamType::number;
};
template <>
struct ParamTraits<std::string> {
  static constexpr ParamType type = ParamType::string;
};
template <>
struct ParamTraits<std::filesystem::path> {
  static constexpr ParamType type = ParamType::string;
};

template <class M>
struct IsVector : std::false_type {};
template <class M>
struct IsVector<std::vector<M>> : std::true_type {};
template <class M>
struct IsOptional : std::false_type {};
template <class M>
struct IsOptional<std::optional<M>> : std::true_type {};
template <class M>
struct IsMap : std::false_type {};
template <class M>
struct IsMap<std::map<std::string, M>> : std::true_type {};

template <class M>
Value to_value(const M& member) {
  if constexpr (IsVector<M>::value) {
    List list;
    for (const auto& item : member) list.push_back(to_value<typename M::value_type>(item));
    return {std::move(list)};
  } else if constexpr (IsOptional<M>::value) {
    return member ? to_value(*member) : Value{};
  } else if constexpr (IsMap<M>::value) {
    Table table;
    for (const auto& [key, item] : member) table.emplace(key, to_value(item));
    return {std::move(table)};
  } else if constexpr (std::is_same_v<M, std::filesystem::path>) {
    return {member.string()};
  } else if constexpr (std::is_same_v<M, int>) {
    return {static_cast<std::int64_t>(member)};
  } else {
    return {member};
  }
}

template <class M>
M from_value(const Value& value, const std::string& name) {
  if constexpr (IsVector<M>::value) {
    const auto* list = std::get_if<List>(&value.data);
    if (!list) throw ConfigError("parameter '" + name + "': a list is expected");
    M result;
    for (const Value& item : *list)
      result.push_back(from_value<typename M::value_type>(item, name));
    return result;
  } else if constexpr (IsOptional<M>::value) {
    return from_value<typename M::value_type>(value, name);
  } else if constexpr (IsMap<M>::value) {
    const auto* table = std::get_if<Table>(&value.data);
    if (!table) throw ConfigError("parameter '" + name + "': a table is expected");
    M result;
    for (const auto& [key, item] : *table)
      result.emplace(key, from_value<typename M::mapped_type>(item, name));
    return result;
  } else if constexpr (std::is_same_v<M, double>) {
    if (const auto* number = std::get_if<double>(&value.data)) return *number;
    if (const auto* number = std::get_if<std::int64_t>(&value.data))
      return static_cast<double>(*number);
    throw ConfigError("parameter '" + name + "': a number is expected");
  } else if constexpr (std::is_same_v<M, int> || std::is_same_v<M, std::int64_t>) {
    if (const auto* number = std::get_if<std::int64_t>(&value.data)) {
      if (std::in_range<M>(*number)) return static_cast<M>(*number);
      throw ConfigError("parameter '" + name + "': " + std::to_string(*number) +
                        " is out of range");
    }
    throw ConfigError("parameter '" + name + "': an integer is expected");
  } else if constexpr (std::is_same_v<M, std::filesystem::path>) {
    return std::filesystem::path(from_value<std::string>(value, name));
  } else {
    if (const auto* exact = std::get_if<M>(&value.data)) return *exact;
    throw ConfigError("parameter '" + name + "': wrong type");
  }
}

template <class M>
struct Element {
  using type = M;
};
template <class M>
struct Element<std::vector<M>> {
  using type = M;
};
template <class M>
struct Element<std::optional<M>> : Element<M> {};

}  // namespace detail

// Refines the parameter just added; every call returns itself.
class Field {
 public:
  explicit Field(ParamSpec& spec) : spec_(&spec) {}
  Field& min(double bound) {
    return spec_->min = bound, *this;
  }  // inclusive; each element of a list
  Field& max(double bound) { return spec_->max = bound, *this; }
  Field& choices(std::vector<std::string> allowed) {
    return spec_->choices = std::move(allowed), *this;
  }
  Field& required() { return spec_->required = true, spec_->fallback = {}, *this; }
  Field& argument() { return spec_->argument = true, *this; }

 private:
  ParamSpec* spec_;
};

template <class P>
class Schema {
 public:
  // Member types: bool, int, int64_t, double, string, path; vector or optional of one of these;
  // map<string, T>. A path member is resolved by the host (relative to the file that gives it;
  // "stage:NAME" to the output of that stage).
  template <class M>
  Field field(std::string name, M P::* member, std::string help) {
    using E = typename detail::Element<M>::type;
    ParamSpec spec;
    spec.name = name;
    spec.help = std::move(help);
    spec.fallback = detail::to_value(P{}.*member);
    if constexpr (detail::IsMap<E>::value) {
      spec.type = ParamType::table;
      spec.table_of = detail::ParamTraits<typename E::mapped_type>::type;
    } else {
      spec.type = detail::ParamTraits<E>::type;
      spec.list = detail::IsVector<M>::value;
      spec.path = std::is_same_v<E, std::filesystem::path>;
    }
    specs_.push_back(std::move(spec));
    setters_.push_back([member, name](P& params, const Value& value) {
      params.*member = detail::from_value<M>(value, name);
    });
    return Field(specs_.back());
  }

  // The name of a component of kind Interface::kKind (string), or several (vector<string>). An empty
  // default means "none".
  template <class Interface, class M>
  Field component(std::string name, M P::* member, std::string help) {
    field(std::move(name), member, std::move(help));
    specs_.back().component_kind = Interface::kKind;
    return Field(specs_.back());
  }

  const std::vector<ParamSpec>& specs() const { return specs_; }

  // Values as checked by the host; also throws ConfigError by itself on an unknown or missing key.
  P make(const Table& values) const {
    P params;
    for (const auto& [key, value] : values) {
      std::size_t i = 0;
      while (i < specs_.size() && specs_[i].name != key) ++i;
      if (i == specs_.size()) throw ConfigError("unknown parameter '" + key + "'");
      if (value) setters_[i](params, value);
    }
    for (const ParamSpec& spec : specs_)
      if (spec.required && !values.contains(spec.name))
        throw ConfigError("parameter '" + spec.name + "' is required");
    return params;
  }

 private:
  std::vector<ParamSpec> specs_;
  std::vector<std::function<void(P&, const Value&)>> setters_;
};

}  // namespace dt2it
