// SPDX-License-Identifier: Apache-2.0
#include "core/util/value_text.hpp"

#include <fmt/format.h>

#include "core/util/json.hpp"

namespace dt2it {
namespace {

void write(JsonWriter& json, const Value& value) {
  struct Visitor {
    JsonWriter& json;
    void operator()(std::monostate) const { json.null(); }
    void operator()(bool flag) const { json.value(flag); }
    void operator()(std::int64_t number) const { json.value(number); }
    void operator()(double number) const { json.value(number); }
    void operator()(const std::string& text) const { json.value(text); }
    void operator()(const List& list) const {
      json.begin_array();
      for (const Value& item : list) write(json, item);
      json.end_array();
    }
    void operator()(const Table& table) const {
      json.begin_object();
      for (const auto& [key, item] : table) {
        json.key(key);
        write(json, item);
      }
      json.end_object();
    }
  };
  std::visit(Visitor{json}, value.data);
}

// Each value with its type and, for text, its length: nothing in a text can look like structure.
void append(std::string& out, const Value& value) {
  struct Visitor {
    std::string& out;
    void operator()(std::monostate) const { out += 'n'; }
    void operator()(bool flag) const { out += flag ? "b1" : "b0"; }
    void operator()(std::int64_t number) const { out += fmt::format("i{};", number); }
    void operator()(double number) const { out += fmt::format("d{};", number); }
    void operator()(const std::string& text) const {
      out += fmt::format("s{}:", text.size()) + text;
    }
    void operator()(const List& list) const {
      out += fmt::format("l{}:", list.size());
      for (const Value& item : list) append(out, item);
    }
    void operator()(const Table& table) const {
      out += fmt::format("t{}:", table.size());
      for (const auto& [key, item] : table) {
        (*this)(key);
        append(out, item);
      }
    }
  };
  std::visit(Visitor{out}, value.data);
}

}  // namespace

std::string to_json(const Value& value) {
  JsonWriter json;
  write(json, value);
  return json.text();
}

std::string canonical(const Value& value) {
  std::string out;
  append(out, value);
  return out;
}

}  // namespace dt2it
