// SPDX-License-Identifier: Apache-2.0
#include "core/report/html.hpp"

#include <fstream>
#include <iterator>
#include <utility>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it::report {

namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in)
    throw DataError(file.string() +
                    ": cannot be read; it belongs to the installation of this program");
  return {std::istreambuf_iterator<char>(in), {}};
}

// Replaces the mark once; it must be there.
void fill(std::string& page, std::string_view mark, std::string_view text) {
  const std::size_t at = page.find(mark);
  if (at == page.npos)
    throw DataError("report.html: '" + std::string(mark) + "' is missing in this template");
  page.replace(at, mark.size(), text);
}

std::string chart_library(const fs::path& assets) {
  const fs::path file = assets / "chart.umd.js";
  if (!fs::is_regular_file(file)) return {};
  std::string text = read_text(file);
  // Its source map is not there; a browser's tools would ask the network for it.
  if (const std::size_t map = text.rfind("//# sourceMappingURL="); map != text.npos)
    text.erase(map, text.find('\n', map) - map);
  return text;
}

}  // namespace

fs::path assets_folder() {
  return fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "share/dt2it/report";
}

std::string escape_for_script(std::string_view json) {
  std::string out;
  out.reserve(json.size() + json.size() / 16);
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == '<')
      out += "\\u003c";
    else if (c == '>')
      out += "\\u003e";
    else if (c == '&')
      out += "\\u0026";
    else if (json.substr(i, 3) == "\xE2\x80\xA8")
      out += "\\u2028", i += 2;
    else if (json.substr(i, 3) == "\xE2\x80\xA9")
      out += "\\u2029", i += 2;
    else
      out += c;
  }
  return out;
}

void write_report_html(std::span<const RunSummary> runs, const fs::path& file,
                       const PageOptions& options) {
  std::string page = read_text(options.assets / "report.html");
  // In the order of their places, from the last to the first, so that no filled-in text is
  // searched.
  fill(page, "/*SCRIPT*/", read_text(options.assets / "report.js"));
  fill(page, "/*CHARTS*/", chart_library(options.assets));
  fill(page, "{\"DATA\":0}", escape_for_script(page_data(runs, options)));
  fill(page, "/*STYLE*/", read_text(options.assets / "report.css"));
  write_file_atomically(file, page);
}

}  // namespace dt2it::report
