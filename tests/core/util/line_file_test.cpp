// SPDX-License-Identifier: Apache-2.0
#include "core/util/line_file.hpp"

#include <catch2/catch.hpp>

#include "dt2it/error.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;

TEST_CASE("Lines in any order; blank ones do not count") {
  testing::TemporaryFolder folder;
  const std::string large(3'000'000, 'x');
  const LineFile lines(
      folder.write("a.jsonl", "\xEF\xBB\xBFone\n\n  \t\r\ntwo\n" + large + "\n\nlast"));
  REQUIRE(lines.size() == 4);
  CHECK(lines.line(3) == "last");
  CHECK(lines.line(0) == "one");
  CHECK(lines.line(2) == large);
  CHECK(lines.line(1) == "two");
  CHECK_THAT(lines.where(1), Catch::EndsWith("a.jsonl: record 2"));
  CHECK(LineFile(folder.write("empty", "")).size() == 0);
  CHECK(LineFile(folder.write("blank", "\n \n\n")).size() == 0);
  CHECK_THROWS_AS(LineFile(folder.path() / "gone"), DataError);
}
