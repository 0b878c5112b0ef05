// SPDX-License-Identifier: Apache-2.0
#include "core/report/html.hpp"

#include <simdjson.h>

#include <catch2/catch.hpp>
#include <iterator>

#include "core/util/files.hpp"
#include "tests/core/report/invented_run.hpp"

using namespace dt2it;
using namespace dt2it::report;
using dt2it::report_test::make_run;
using dt2it::report_test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

std::string read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("text from data cannot leave its script element") {
  const std::string hostile =
      "</script><script>alert(1)</script><!-- & \xE2\x80\xA8 \xE2\x80\xA9 /*CHARTS*/";
  const std::string escaped = escape_for_script("{\"a\":\"" + hostile + "\"}");
  CHECK(escaped.find_first_of("<>&") == std::string::npos);
  CHECK(escaped.find("\xE2\x80") == std::string::npos);
  simdjson::dom::parser parser;
  std::string_view back;
  REQUIRE_FALSE(parser.parse(escaped)["a"].get(back));
  CHECK(back == hostile);
}

TEST_CASE("a page with hostile texts stays one page") {
  TemporaryFolder root;
  testing::FakeMediaStore media;
  const char* json_hostile =
      R"(</script><img src=x onerror=alert(1)> \"quoted\" \u2028 /*CHARTS*/ /*STYLE*/ {\"DATA\":0})";
  const std::vector runs{
      load_run(make_run(root.path(), {.hostile = json_hostile, .media = &media}))};
  const fs::path file = root.path() / "report.html";
  write_report_html(runs, file, {.assets = assets_folder(), .media = &media, .gallery = 3});
  const std::string page = read(file);
  const std::string plain = read(assets_folder() / "report.html");
  CHECK(count(page, "<script") == count(plain, "<script"));
  CHECK(count(page, "</script>") == count(plain, "</script>"));
  CHECK(count(page, "<img") == 0);
  CHECK_THAT(page, Catch::Contains("data:image/png;base64,"));
  // Nothing is fetched: no address but those that the chart library names in its comments.
  CHECK(count(page, " src=\"http") == 0);
  CHECK(count(page, "<link") == 0);
  CHECK(count(page, "sourceMappingURL") == 0);
}

TEST_CASE("the same runs give the same page") {
  TemporaryFolder root;
  testing::FakeMediaStore media;
  const std::vector runs{load_run(make_run(root.path(), {.media = &media}))};
  const PageOptions options{.assets = assets_folder(), .media = &media};
  write_report_html(runs, root.path() / "a.html", options);
  write_report_html(runs, root.path() / "b.html", options);
  CHECK(read(root.path() / "a.html") == read(root.path() / "b.html"));
}

TEST_CASE("page data: curves are shortened by means, shared stages are kept, figures are there") {
  TemporaryFolder root;
  const std::vector runs{load_run(make_run(root.path(), {}))};
  simdjson::dom::parser parser;
  simdjson::dom::element page;
  const std::string text = page_data(runs, {});
  REQUIRE_FALSE(parser.parse(text).get(page));
  const auto curve = page["runs"].at(0)["training"].at(0);
  CHECK(curve["loss"].get_array().value().size() == 200);
  CHECK(curve["step"].at(199).get_int64().value() == 500);
  CHECK(page["overview"]["rows"].at(0).at(6).get_string().value() == "80.5");
  CHECK(page["runs"].at(0)["judge"]["scorers"].get_array().value().size() == 2);
  CHECK(page["command"].get_string().value() ==
        "dt2it run experiments/table7/method1_pointwise.toml --profile mini --set "
        "experiment.seed=11");
}

TEST_CASE("page data: the command names files, settings and plugin folders as they were given") {
  TemporaryFolder root;
  const fs::path file = make_run(root.path(), {}) / "run.json";
  std::string text = read_file(file);
  text.insert(1, R"("file":"/tmp/own rows/row.toml","settings":["stages.distil.limit=3"],)"
                 R"("plugin_path":["build/plugins"],)");
  report_test::write(file, text);
  const std::vector runs{load_run(file.parent_path()),
                         load_run(make_run(root.path(), {.name = "older", .seed = 0}))};
  simdjson::dom::parser parser;
  simdjson::dom::element page;
  const std::string data = page_data(runs, {});
  REQUIRE_FALSE(parser.parse(data).get(page));
  CHECK(page["command"].get_string().value() ==
        "dt2it run '/tmp/own rows/row.toml' --profile mini --set stages.distil.limit=3 --set "
        "experiment.seed=11 --plugin-path build/plugins\n"
        "dt2it run experiments/older.toml --profile mini");
}

TEST_CASE("without the chart library the page is still written") {
  TemporaryFolder root;
  for (const char* name : {"report.html", "report.css", "report.js"})
    fs::copy_file(assets_folder() / name, root.path() / name);
  const std::vector runs{load_run(make_run(root.path(), {}))};
  write_report_html(runs, root.path() / "out.html", {.assets = root.path()});
  CHECK_THAT(read(root.path() / "out.html"),
             Catch::Contains("The chart library was not there") && Catch::Contains("80.5"));
}
