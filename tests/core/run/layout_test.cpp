// SPDX-License-Identifier: Apache-2.0
#include "core/run/layout.hpp"

#include <catch2/catch.hpp>

#include "tests/core/temporary_folder.hpp"

namespace dt2it {
namespace fs = std::filesystem;

TEST_CASE("The runs folder is found from what lies in it") {
  const testing::TemporaryFolder folder;
  const fs::path runs = folder.path() / "runs", run = runs / "table7" / "row", stage = run / "a";
  fs::create_directories(stage);
  CHECK(layout::nearest_with(stage, layout::kMedia).empty());
  folder.write("runs/table7/.media", "a file is no folder");
  fs::create_directories(runs / layout::kMedia);
  CHECK(layout::nearest_with(stage, layout::kMedia) == runs);
  CHECK(layout::nearest_with(runs, layout::kMedia) == runs);
  CHECK(layout::nearest_with(folder.path(), layout::kMedia).empty());
  fs::create_directories(run / layout::kMedia);
  CHECK(layout::nearest_with(stage, layout::kMedia) == run);
}

TEST_CASE("A run is a folder with the description of one") {
  const testing::TemporaryFolder folder;
  CHECK_FALSE(layout::is_run(folder.path()));
  CHECK_FALSE(layout::is_run(folder.path() / "absent"));
  folder.write(layout::kRun, "{}");
  CHECK(layout::is_run(folder.path()));
}

TEST_CASE("What a stage cost and what models answered have their places below the runs folder") {
  CHECK(layout::cost_file("runs", "pair-12") == fs::path("runs/.store/pair-12.cost.json"));
  CHECK(layout::call_store("runs") == fs::path("runs/.calls/calls.sqlite"));
}

}  // namespace dt2it
