// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/report/tables.hpp"

namespace dt2it::report {

// One row of a TextTable, cell by cell: the text and the number behind it.
class TableRow {
 public:
  TableRow& text(std::string text) { return add(std::move(text), kNone); }
  TableRow& count(std::int64_t number) {
    return add(std::to_string(number), static_cast<double>(number));
  }
  // An empty cell where there is nothing.
  TableRow& share(std::optional<double> fraction) {
    return fraction ? add(percent(*fraction), *fraction) : text("");
  }
  TableRow& number(double value, int digits) {
    return add(fmt::format("{:.{}f}", value, digits), value);
  }
  void into(TextTable& table) {
    table.rows.push_back(std::move(texts_));
    table.values.push_back(std::move(values_));
  }

 private:
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  TableRow& add(std::string text, double value) {
    texts_.push_back(std::move(text));
    values_.push_back(value);
    return *this;
  }
  std::vector<std::string> texts_;
  std::vector<double> values_;
};

}  // namespace dt2it::report
