// SPDX-License-Identifier: Apache-2.0
#include "core/run/fingerprint.hpp"

#include <catch2/catch.hpp>

#include "tests/core/temporary_folder.hpp"

namespace dt2it {
namespace {
namespace fs = std::filesystem;
}

TEST_CASE("A folder's fingerprint is its names and bytes") {
  testing::TemporaryFolder folder;
  fs::create_directories(folder.path() / "a" / "inner");
  fs::create_directories(folder.path() / "b" / "inner");
  folder.write("a/inner/x", "1");
  folder.write("b/inner/x", "1");
  CHECK(fingerprint(folder.path() / "a") == fingerprint(folder.path() / "b"));
  folder.write("b/y", "");
  CHECK(fingerprint(folder.path() / "a") != fingerprint(folder.path() / "b"));
  CHECK(fingerprint(folder.path() / "c") == "absent");
}

TEST_CASE("A pattern's fingerprint is that of the files it matches") {
  testing::TemporaryFolder folder;
  folder.write("a-1.jsonl", "one");
  folder.write("b-1.jsonl", "two");
  const std::string before = fingerprint(folder.path() / "a-*.jsonl");
  CHECK(before != "absent");
  CHECK(before != fingerprint(folder.path() / "b-*.jsonl"));
  CHECK(fingerprint(folder.path() / "c-*.jsonl") == "absent");
  CHECK(fingerprint(folder.path() / "a-[0-9].jsonl") == before);
  folder.write("a-2.jsonl", "three");
  const std::string more = fingerprint(folder.path() / "a-*.jsonl");
  CHECK(more != before);
  folder.write("a-2.jsonl", "mended");
  CHECK(fingerprint(folder.path() / "a-*.jsonl") != more);
}

TEST_CASE("A path that goes on inside an archive is told by the archive and the rest") {
  testing::TemporaryFolder folder;
  folder.write("data.zip", "bytes");
  const std::string train = fingerprint(folder.path() / "data.zip" / "train.jsonl");
  CHECK(train != "absent");
  CHECK(train != fingerprint(folder.path() / "data.zip" / "test.jsonl"));
  folder.write("data.zip", "other bytes");
  CHECK(train != fingerprint(folder.path() / "data.zip" / "train.jsonl"));
}

TEST_CASE("All parts of a split archive count, also where it lies packed beside its place") {
  testing::TemporaryFolder folder;
  folder.write("images.zip_aa", "1");
  folder.write("images.zip_ab", "2");
  const auto look = [&] {
    return std::pair(fingerprint(folder.path() / "images.zip_aa"),
                     fingerprint(folder.path() / "images" / "x"));
  };
  const auto before = look();
  folder.write("images.zip_ab", "3");
  const auto after = look();
  CHECK(before.first != after.first);
  CHECK(before.second != after.second);
  CHECK(before.second != fingerprint(folder.path() / "images" / "y"));
}

TEST_CASE("What a data set is told besides bytes counts for data sets only") {
  testing::TemporaryFolder folder;
  const fs::path one = folder.write("rlaif_v.jsonl", "{}"), two = folder.write("povid.jsonl", "{}");
  CHECK(fingerprint(one) == fingerprint(two));
  const std::string before = data_fingerprint(one);
  CHECK(before != data_fingerprint(two));  // the source is named after the file
  folder.write("dataset_info.json", "{}");
  CHECK(data_fingerprint(one) != before);

  // Moved with all that is around it, it stays what it is.
  for (const char* place : {"x", "y"}) {
    fs::create_directories(folder.path() / place);
    folder.write(std::string(place) + "/pairs.jsonl", "{}");
  }
  CHECK(data_fingerprint(folder.path() / "x" / "pairs.jsonl") ==
        data_fingerprint(folder.path() / "y" / "pairs.jsonl"));
  CHECK(data_fingerprint(folder.path() / "z" / "pairs.jsonl") == "absent");
}

TEST_CASE("Files that a meta file names count with it") {
  testing::TemporaryFolder folder;
  fs::create_directories(folder.path() / "annotations");
  folder.write("annotations/a.jsonl", "one");
  const fs::path meta = folder.write(
      "meta.json", R"({"a": {"root": "images", "annotation": "annotations/a.jsonl",}})");
  const std::string before = data_fingerprint(meta);
  folder.write("annotations/a.jsonl", "two");
  CHECK(data_fingerprint(meta) != before);
}

TEST_CASE("Records and texts that only look like a meta file are no such thing") {
  testing::TemporaryFolder folder;
  const std::string text(1 << 20, 'x');
  for (const std::string& content :
       {"[{\"annotation\": \"" + text + "\"}]", "{\"annotation\": \"" + text + "\"}",
        std::string("{\"annotation\": \"/\"}"), std::string("{\"annotation\": \"")})
    CHECK(data_fingerprint(folder.write("pairs.json", content)).size() == 64);
}

}  // namespace dt2it
