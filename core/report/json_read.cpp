// SPDX-License-Identifier: Apache-2.0
#include "core/report/json_read.hpp"

#include "core/util/json_scan.hpp"
#include "dt2it/error.hpp"

namespace dt2it::report {

bool read_json(const std::filesystem::path& file, simdjson::dom::parser& parser, simdjson::dom::element& root) {
  if (!std::filesystem::is_regular_file(file)) return false;
  if (const auto error = parser.load(file.string()).get(root))
    throw DataError(file.string() + ": not valid JSON: " + simdjson::error_message(error));
  return true;
}

bool for_each_line(const std::filesystem::path& file,
                   const std::function<void(std::size_t, const simdjson::dom::element&)>& use) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return false;
  simdjson::dom::parser parser;
  std::string line;
  for (std::size_t number = 0; std::getline(in, line, '\n'); ++number) {
    if (line.empty()) continue;
    const bool whole = !in.eof();
    simdjson::dom::element element;
    auto error = parser.parse(line).get(element);
    // Texts of models hold what simdjson refuses though JSON allows it; a page may show it in other words.
    if (error && whole) error = parser.parse(simplify_json(line)).get(element);
    if (error) {
      if (!whole) break;
      throw DataError(file.string() + ":" + std::to_string(number + 1) +
                      ": not valid JSON: " + simdjson::error_message(error));
    }
    use(number, element);
  }
  return true;
}

std::int64_t count_lines(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::int64_t count = 0;
  for (std::string line; std::getline(in, line, '\n');) count += !line.empty();
  return count;
}

}  // namespace dt2it::report
