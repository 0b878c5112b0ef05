// SPDX-License-Identifier: Apache-2.0
// The pages are complete, and what they link to is there.
#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "tests/docs/tool.hpp"

using namespace dt2it::docs_test;
namespace fs = std::filesystem;

namespace {

std::vector<fs::path> pages() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(kSource))
    if (entry.path().extension() == ".md") found.push_back(entry.path());
  for (const char* folder : {"configs", "core", "docs", "experiments", "plugins", "sdk", "tests"})
    for (const auto& entry : fs::recursive_directory_iterator(kSource / folder))
      if (entry.path().extension() == ".md") found.push_back(entry.path());
  return found;
}

// Targets of [text](target) outside fenced blocks; those with a scheme or to a place in the same page left out.
std::vector<std::string> links(const std::string& text) {
  std::vector<std::string> found;
  bool fenced = false;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.starts_with("```")) fenced = !fenced;
    if (fenced) continue;
    for (std::size_t at = line.find("]("); at != line.npos; at = line.find("](", at + 1)) {
      const std::size_t close = line.find(')', at);
      if (close == line.npos) break;
      const std::string target = line.substr(at + 2, close - at - 2);
      if (!target.empty() && target[0] != '#' && target.find(':') == target.npos)
        found.push_back(target.substr(0, target.find('#')));
    }
  }
  return found;
}

}  // namespace

TEST_CASE("links between pages lead somewhere") {
  std::size_t checked = 0;
  for (const fs::path& page : pages())
    for (const std::string& target : links(read(page))) {
      INFO(page.string() << " links to " << target);
      CHECK(fs::exists(page.parent_path() / target));
      ++checked;
    }
  CHECK(checked > 30);
}

TEST_CASE("every plugin has a page") {
  std::size_t plugins = 0;
  for (const auto& kind : fs::directory_iterator(kSource / "plugins")) {
    if (!kind.is_directory()) continue;
    for (const auto& plugin : fs::directory_iterator(kind)) {
      if (!fs::exists(plugin.path() / "CMakeLists.txt")) continue;
      INFO(plugin.path().string());
      CHECK(fs::exists(plugin.path() / "README.md"));
      ++plugins;
    }
  }
  CHECK(plugins > 20);
}

TEST_CASE("every experiment is in the table of experiments/README.md") {
  const std::string page = read(kSource / "experiments/README.md");
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "experiments")) {
    if (entry.path().extension() != ".toml") continue;
    const std::string name = fs::relative(entry.path(), kSource / "experiments").string();
    INFO(name);
    CHECK(page.find("(" + name + ")") != page.npos);
    ++files;
  }
  CHECK(files > 10);
}

TEST_CASE("every folder of core is in core/README.md") {
  const std::string page = read(kSource / "core/README.md");
  for (const auto& entry : fs::directory_iterator(kSource / "core")) {
    if (!entry.is_directory()) continue;
    INFO(entry.path().string());
    CHECK(page.find("| " + entry.path().filename().string() + " |") != page.npos);
  }
}
