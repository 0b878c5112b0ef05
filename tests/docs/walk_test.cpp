// SPDX-License-Identifier: Apache-2.0
// docs/life_of_a_preference_pair.md quotes lines of files. A block that begins with ```json PATH holds one line
// of that file of the run of docs/examples/one_pair.toml, broken for reading and shortened with "…".
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "tests/docs/tool.hpp"

using namespace dt2it::docs_test;
namespace fs = std::filesystem;

namespace {

struct Quote {
  std::string file;
  std::vector<std::string> pieces;  // in this order in one line
};

std::string trimmed(const std::string& line) {
  const std::size_t begin = line.find_first_not_of(' ');
  return begin == line.npos ? "" : line.substr(begin, line.find_last_not_of(' ') + 1 - begin);
}

std::vector<Quote> quotes(const std::string& page) {
  static constexpr std::string_view kOpening = "```json ";
  static constexpr std::string_view kGap = "…";
  std::vector<Quote> found;
  for (std::size_t at = page.find(kOpening); at != page.npos; at = page.find(kOpening, at)) {
    const std::size_t begin = page.find('\n', at) + 1;
    const std::size_t end = page.find("```", begin);
    Quote quote{page.substr(at + kOpening.size(), begin - 1 - at - kOpening.size()), {}};
    std::string text;
    for (std::size_t line = begin; line < end;) {
      const std::size_t next = page.find('\n', line);
      text += trimmed(page.substr(line, next - line));
      line = next + 1;
    }
    for (std::size_t piece = 0; piece <= text.size();) {
      const std::size_t gap = std::min(text.find(kGap, piece), text.size());
      if (gap > piece) quote.pieces.push_back(text.substr(piece, gap - piece));
      piece = gap + kGap.size();
    }
    found.push_back(std::move(quote));
    at = end + 3;
  }
  return found;
}

bool holds(const std::string& line, const std::vector<std::string>& pieces) {
  std::size_t at = 0;
  for (const std::string& piece : pieces) {
    at = line.find(piece, at);
    if (at == line.npos) return false;
    at += piece.size();
  }
  return true;
}

bool any_line_holds(const std::string& text, const std::vector<std::string>& pieces) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (holds(text.substr(begin, end - begin), pieces)) return true;
    begin = end + 1;
  }
  return false;
}

struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / ("dt2it-docs-" + std::to_string(getpid()));
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

}  // namespace

TEST_CASE("the life of a preference pair is told with lines that are there") {
  const TemporaryFolder runs;
  tool("run docs/examples/one_pair.toml --quiet --runs '" + runs.path.string() + "'");
  const std::vector<Quote> quoted = quotes(read(kSource / "docs/life_of_a_preference_pair.md"));
  CHECK(quoted.size() >= 8);
  INFO(
      "to see the lines: build/dev/bin/dt2it run docs/examples/one_pair.toml; then quote what is "
      "in "
      "runs/one_pair/stages now");
  for (const Quote& quote : quoted) {
    INFO(quote.file);
    REQUIRE_FALSE(quote.pieces.empty());
    std::string pieces;
    for (const std::string& piece : quote.pieces) pieces += piece + "\n";
    INFO(pieces);
    CHECK(any_line_holds(read(runs.path / "one_pair" / quote.file), quote.pieces));
  }
}
