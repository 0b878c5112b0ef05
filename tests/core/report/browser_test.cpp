// SPDX-License-Identifier: Apache-2.0
// The page in a real browser: headless Chromium, no network. Skips with a line where there is none.
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>

#include "core/report/html.hpp"
#include "tests/core/report/invented_curation.hpp"

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
constexpr char kProbe[] = R"js(<script>
addEventListener("load", () => {
  const painted = [...document.querySelectorAll("canvas")].filter((canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.some((value) => value !== 0);
  });
  const root = document.documentElement;
  root.dataset.painted = painted.length;
  root.dataset.overflow = root.scrollWidth > root.clientWidth ? "yes" : "no";
  root.dataset.pictures = [...document.images].filter((image) => image.naturalWidth > 0).length;
  // Flows: every shape inside its drawing, labels of a column apart, bands that fill the sides of their nodes.
  const box = (node) => node.getBoundingClientRect();
  let outside = 0, overlaps = 0, uneven = 0;
  for (const svg of document.querySelectorAll("svg.flow")) {
    const frame = svg.viewBox.baseVal;
    for (const node of svg.querySelectorAll("rect, text, path")) {
      const area = node.getBBox();
      if (area.x < -1 || area.y < -1 || area.x + area.width > frame.width + 1 || area.y + area.height > frame.height + 1) outside += 1;
    }
    const labels = [...svg.querySelectorAll("text:not(.column)")];
    for (const a of labels) for (const b of labels)
      if (a !== b && a.getAttribute("x") === b.getAttribute("x") && box(a).top < box(b).top && box(a).bottom > box(b).top + 3) overlaps += 1;
    const ends = [...svg.querySelectorAll("path")].map((path) => {
      const at = path.getAttribute("d").match(/-?[\d.]+(e-?\d+)?/g).map(Number);
      return { x0: at[0], y0: at[1], x1: at[6], y1: at[7], thick: at[9] - at[7] };
    });
    for (const rect of svg.querySelectorAll("rect")) {
      const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => Number(rect.getAttribute(name)));
      // The bands of a side fill it, one after the other.
      const fills = (at, px, py) => {
        const bands = ends.filter((one) => Math.abs(one[px] - at) < 0.01 && one[py] > y - 0.01 && one[py] < y + height + 0.01)
          .sort((a, b) => a[py] - b[py]);
        let next = y;
        for (const band of bands) {
          if (Math.abs(band[py] - next) > 0.1) return false;
          next = band[py] + band.thick;
        }
        return bands.length ? Math.abs(next - y - height) < 0.1 : null;
      };
      const sides = [fills(x, "x1", "y1"), fills(x + width, "x0", "y0")];
      if (sides.includes(false) || sides.every((side) => side === null)) uneven += 1;
    }
  }
  Object.assign(root.dataset, { outside, overlaps, uneven });
  root.dataset.alerts = document.querySelectorAll("img[onerror]").length;
});
</script></body>)js";

void check_page(std::string page_text, const fs::path& folder, int charts, int pictures,
                int flows = 0) {
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
  CHECK(seen.attribute("flows") == std::to_string(flows));
  for (const char* fault : {"outside", "overlaps", "uneven"}) {
    INFO(fault);
    CHECK(seen.attribute(fault) == "0");
  }
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

TEST_CASE("a browser draws the flow of pairs, strengths and label changes") {
  if (skip()) return;
  if (!fs::exists(assets_folder() / "chart.umd.js")) {
    std::cout << "skipped: the chart library is not installed (./dev setup fetches it)\n";
    return;
  }
  TemporaryFolder root;
  testing::FakeMediaStore media;
  const std::string hostile = R"(</script><img src=x onerror=alert(1)> )";
  const std::vector runs{
      load_run(report_test::make_curated_run(root.path(), {.hostile = hostile, .media = &media}))};
  const fs::path file = root.path() / "report.html";
  write_report_html(runs, file, {.assets = assets_folder(), .media = &media, .gallery = 6});
  if (const char* keep = std::getenv("DT2IT_KEEP_CURATION_REPORT"))
    fs::copy_file(file, keep, fs::copy_options::overwrite_existing);
  // Label noise, and the strengths of two sources; six label changes and six pairs with a picture each; one round.
  check_page(read(file), root.path(), 3, 12, 1);
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
