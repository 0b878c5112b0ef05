// SPDX-License-Identifier: Apache-2.0
// The page in a real browser: headless Chromium, no network. Skips with a line where there is none.
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>

#include "core/report/html.hpp"
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

std::string browser() {
  if (const char* given = std::getenv("DT2IT_CHROMIUM")) return given;
  for (const char* name : {"chromium-headless-shell", "chromium"})
    if (std::system(("command -v " + std::string(name) + " >/dev/null 2>&1").c_str()) == 0)
      return name;
  return {};
}

struct Visit {
  std::string dom, log;
  std::string attribute(const std::string& name) const {
    const std::size_t at = dom.find(" data-" + name + "=\"");
    if (at == dom.npos) return {};
    const std::size_t start = at + name.size() + 8;
    return dom.substr(start, dom.find('"', start) - start);
  }
};

Visit visit(const fs::path& page, const fs::path& folder) {
  const fs::path dom = folder / "dom.html", log = folder / "log.txt";
  const std::string command =
      browser() +
      " --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars"
      " --window-size=1280,1600 --enable-logging=stderr --virtual-time-budget=5000"
      " --user-data-dir=" +
      (folder / "profile").string() + " --dump-dom file://" + page.string() + " >" + dom.string() +
      " 2>" + log.string();
  REQUIRE(std::system(command.c_str()) == 0);
  return {read(dom), read(log)};
}

// Measures the page from outside: what was painted, and whether it is wider than the window.
constexpr char kProbe[] = R"(<script>
addEventListener("load", () => {
  const painted = [...document.querySelectorAll("canvas")].filter((canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.some((value) => value !== 0);
  });
  const root = document.documentElement;
  root.dataset.painted = painted.length;
  root.dataset.overflow = root.scrollWidth > root.clientWidth ? "yes" : "no";
  root.dataset.pictures = [...document.images].filter((image) => image.naturalWidth > 0).length;
  root.dataset.alerts = document.querySelectorAll("img[onerror]").length;
});
</script></body>)";

void check_page(std::string page_text, const fs::path& folder, int charts, int pictures) {
  page_text.replace(page_text.rfind("</body>"), 7, kProbe);
  const fs::path page = folder / "probed.html";
  report_test::write(page, page_text);
  const Visit seen = visit(page, folder);
  INFO(seen.log);
  CHECK(seen.log.find("CONSOLE") == std::string::npos);
  CHECK(seen.attribute("ready") == "yes");
  CHECK(seen.attribute("charts") == std::to_string(charts));
  CHECK(seen.attribute("painted") == std::to_string(charts));
  CHECK(seen.attribute("pictures") == std::to_string(pictures));
  CHECK(seen.attribute("overflow") == "no");
  CHECK(seen.attribute("alerts") == "0");
}

bool skip() {
  if (!browser().empty()) return false;
  std::cout << "skipped: no chromium-headless-shell or chromium on this machine\n";
  return true;
}

}  // namespace

TEST_CASE("a browser draws the page without a word on its console") {
  if (skip()) return;
  if (!fs::exists(assets_folder() / "chart.umd.js")) {
    std::cout << "skipped: the chart library is not installed (./dev setup fetches it)\n";
    return;
  }
  TemporaryFolder root;
  testing::FakeMediaStore media;
  const std::string hostile = R"(</script><img src=x onerror=alert(1)> \"q\" \u2028 )";
  std::vector runs{
      load_run(
          make_run(root.path(),
                   {.name = "table7/listwise", .pointwise = false, .less = 120, .media = &media})),
      load_run(make_run(root.path(),
                        {.name = "table7/pointwise",
                         .expect = R"({"overall_accuracy":"> listwise","label_noise":"< 0.01"})",
                         .media = &media})),
      load_run(make_run(root.path(),
                        {.name = "hostile", .less = 60, .hostile = hostile, .media = &media}))};
  const fs::path file = root.path() / "report.html";
  write_report_html(runs, file, {.assets = assets_folder(), .media = &media, .gallery = 6});
  if (const char* keep = std::getenv("DT2IT_KEEP_REPORT"))
    fs::copy_file(file, keep, fs::copy_options::overwrite_existing);
  // Accuracy, categories of one suite, label noise; of the run shown: two of the judge, two of the training. Six pairs
  // with a picture and a noised one each.
  check_page(read(file), root.path(), 7, 12);
}

TEST_CASE("without the chart library a browser shows the tables") {
  if (skip()) return;
  TemporaryFolder root;
  for (const char* name : {"report.html", "report.css", "report.js"})
    fs::copy_file(assets_folder() / name, root.path() / name);
  const std::vector runs{load_run(make_run(root.path(), {}))};
  const fs::path file = root.path() / "report_plain.html";
  write_report_html(runs, file, {.assets = root.path(), .gallery = 6});
  check_page(read(file), root.path(), 0, 0);
}
