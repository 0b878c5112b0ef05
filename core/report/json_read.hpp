// SPDX-License-Identifier: Apache-2.0
#pragma once

// Tolerant reading: what is absent or of another type gives the fallback.

#include <simdjson.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>

namespace dt2it::report {

inline std::string text_of(const simdjson::dom::element& object, std::string_view key) {
  std::string_view text;
  return object[key].get(text) ? std::string() : std::string(text);
}

inline std::int64_t integer_of(const simdjson::dom::element& object, std::string_view key,
                               std::int64_t fallback = 0) {
  std::int64_t number = 0;
  return object[key].get(number) ? fallback : number;
}

inline double number_of(const simdjson::dom::element& object, std::string_view key,
                        double fallback = 0) {
  double number = 0;
  return object[key].get(number) ? fallback : number;
}

inline bool flag_of(const simdjson::dom::element& object, std::string_view key, bool fallback) {
  bool flag = false;
  return object[key].get(flag) ? fallback : flag;
}

// Calls `use` with each item of a list.
template <class Use>
void each(const simdjson::dom::element& object, std::string_view key, Use use) {
  simdjson::dom::array list;
  if (object[key].get(list)) return;
  for (const simdjson::dom::element item : list) use(item);
}

// Calls `use` with each name and value of an object.
template <class Use>
void each_member(const simdjson::dom::element& object, std::string_view key, Use use) {
  simdjson::dom::object members;
  if (object[key].get(members)) return;
  for (const auto& [name, value] : members) use(name, value);
}

// Parses one JSON file; false when it is not there. Throws DataError on bad JSON.
bool read_json(const std::filesystem::path& file, simdjson::dom::parser& parser,
               simdjson::dom::element& root);

// Calls `use` with every line's object and its number from 0; false when the file is not there. A
// last line without its end (a run at work) is left out when it does not parse. Throws DataError
// otherwise.
bool for_each_line(const std::filesystem::path& file,
                   const std::function<void(std::size_t, const simdjson::dom::element&)>& use);

// Lines that are not empty; 0 when the file is not there.
std::int64_t count_lines(const std::filesystem::path& file);

}  // namespace dt2it::report
