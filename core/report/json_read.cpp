// SPDX-License-Identifier: Apache-2.0
#include "core/report/json_read.hpp"

#include <iterator>

#include "core/util/json_scan.hpp"
#include "dt2it/error.hpp"

namespace dt2it::report {

namespace {

// Texts of models hold what simdjson refuses though JSON allows it; a report may show it in other
// words.
simdjson::error_code parse(simdjson::dom::parser& parser, const std::string& text,
                           simdjson::dom::element& root) {
  const auto error = parser.parse(text).get(root);
  return error ? parser.parse(simplify_json(text)).get(root) : error;
}

}  // namespace

bool read_json(const std::filesystem::path& file, simdjson::dom::parser& parser,
               simdjson::dom::element& root) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return false;
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (const auto error = parse(parser, text, root))
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
    if (const auto error = parse(parser, line, element)) {
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
