// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "tests/docs/tool.hpp"

using namespace dt2it::docs_test;

TEST_CASE("docs/reference.md is what the plugins say of themselves") {
  const std::string generated = tool("plugins --markdown");
  REQUIRE(generated.size() > 1000);
  INFO("refresh it with: build/dev/bin/dt2it plugins --markdown > docs/reference.md");
  const bool same = generated == read(kSource / "docs/reference.md");
  CHECK(same);
}
