// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <sstream>

#include "tests/docs/tool.hpp"

using namespace dt2it::docs_test;

TEST_CASE("docs/reference.md is what the plugins say of themselves") {
  const std::string generated = tool("plugins --markdown");
  REQUIRE(generated.size() > 1000);
  INFO("refresh it with: build/dev/bin/dt2it plugins --markdown > docs/reference.md");
  const bool same = generated == read(kSource / "docs/reference.md");
  CHECK(same);
}

// Blocks that begin with "NAME (mini)" are what `dt2it plan experiments/NAME.toml` prints where nothing has been run.
TEST_CASE("plans that pages show are what the program prints") {
  for (const char* name : {"README.md", "docs/experiments.md"}) {
    const std::string page = read(kSource / name), begin = "```\ntable7/method1_pointwise (mini)\n";
    INFO(name);
    const std::size_t at = page.find(begin);
    REQUIRE(at != page.npos);
    const std::string plan = tool("plan experiments/table7/method1_pointwise.toml --runs " +
                                  dt2it::build_path("/no_runs"));
    std::istringstream block(page.substr(at + 4, page.find("\n```", at) - at - 4));
    std::size_t lines = 0;
    for (std::string line; std::getline(block, line); ++lines)
      if (line != "  ...") {
        INFO(line);
        CHECK(plan.find(line + "\n") != plan.npos);
      }
    CHECK(lines > 3);
  }
}
