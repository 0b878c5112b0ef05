// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dt2it {

// Appends JSON to a string, keys in the order given. Numbers are written in the shortest form that reads
// back the same; NaN and infinities, which JSON has not, as null. Text is written as it is but for what
// JSON must escape; a lone surrogate (three bytes, as readers give it) becomes its escape again, and bytes
// that are no UTF-8, which no reader would take, U+FFFD. Calls can be chained.
class JsonWriter {
 public:
  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(bool flag);
  JsonWriter& value(double number);
  JsonWriter& value(std::int64_t number);
  JsonWriter& value(int number) { return value(static_cast<std::int64_t>(number)); }
  JsonWriter& value(std::size_t number) { return value(static_cast<std::int64_t>(number)); }
  JsonWriter& null();
  JsonWriter& raw(std::string_view json);  // trusted JSON text

  const std::string& text() const { return text_; }
  // Begins anew; memory is kept.
  void clear() {
    text_.clear();
    first_.clear();
    after_key_ = false;
  }

 private:
  void separate();
  std::string text_;
  std::vector<bool> first_;  // per open object or array: nothing written yet
  bool after_key_ = false;
};

void append_json_string(std::string& out, std::string_view text);
void append_json_number(std::string& out, double number);

}  // namespace dt2it
