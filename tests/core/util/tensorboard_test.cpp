// SPDX-License-Identifier: Apache-2.0
#include "core/util/tensorboard.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;
using dt2it::testing::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace

// What the `tensorboard` package's own writer gave for these messages.
TEST_CASE("Events are byte for byte those of TensorBoard's writer") {
  CHECK(hex(tensorboard_record(tensorboard_version_event(1.5))) ==
        "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c");
  CHECK(hex(tensorboard_record(tensorboard_start_event(1.5, 300))) ==
        "100000000000000095fbfe1809000000000000f83f10ac023a020801713b788a");
  const std::vector<TensorboardScalar> scalars{{"train/loss", .1},
                                               {"b", std::numeric_limits<double>::infinity()}};
  CHECK(hex(tensorboard_record(tensorboard_scalars_event(1.5, 300, scalars))) ==
        "2b00000000000000861bc34b09000000000000f83f10ac022a1d0a110a0a747261696e2f6c6f737315cdcccc3d"
        "0a080a0162150000807f361f"
        "eb1e");
  const std::string long_tag(200, 'x');
  const std::vector<TensorboardScalar> negative{{long_tag, -2}};
  CHECK(hex(tensorboard_record(tensorboard_scalars_event(1.5, -1, negative))).substr(0, 100) ==
        "ea00000000000000ace9258c09000000000000f83f10ffffffffffffffffff012ad3010ad0010ac80178787878"
        "7878787878");
}

// With DT2IT_KEEP_EVENTS=FOLDER the files stay there, for TensorBoard's own reader.
TEST_CASE("A resumed training writes a second event file that takes steps of the first back") {
  const TemporaryFolder temporary;
  const char* keep = std::getenv("DT2IT_KEEP_EVENTS");
  const fs::path folder = (keep ? fs::path(keep) : temporary.path()) / "run";
  const auto write = [&](TensorboardWriter& writer, std::int64_t from, std::int64_t to,
                         double add) {
    for (std::int64_t step = from; step <= to; ++step) {
      const std::vector<TensorboardScalar> scalars{{"train/loss", static_cast<double>(step) + add},
                                                   {"train/margin", -1.0 / 3}};
      writer.write(step, scalars);
    }
  };
  TensorboardWriter first(folder);
  write(first, 1, 10, 0);
  const std::string before = read_file(first.file());
  CHECK(before.starts_with(
      std::string_view("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22", 12)));  // on disk at once
  first.write(11, {});
  CHECK(read_file(first.file()) == before);
  TensorboardWriter second(folder, 8);
  write(second, 8, 12, .5);
  CHECK(first.file() < second.file());
  CHECK(std::distance(fs::directory_iterator(folder), {}) == 2);
}

TEST_CASE("An event file that cannot be made is named") {
  const TemporaryFolder temporary;
  temporary.write("taken", "");
  CHECK_THROWS_WITH(TensorboardWriter(temporary.path() / "taken"),
                    Catch::Contains("taken: cannot be made"));
}
