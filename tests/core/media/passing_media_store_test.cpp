// SPDX-License-Identifier: Apache-2.0
#include "core/media/passing_media_store.hpp"

#include <catch2/catch.hpp>

#include "core/media/media_store.hpp"
#include "core/util/files.hpp"
#include "dt2it/error.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;
using dt2it::testing::TemporaryFolder;

TEST_CASE("Media that pass by are kept until they are given back as often as they were put") {
  TemporaryFolder folder, others_folder;
  FileMediaStore below(folder.path(), [] { return nullptr; }),
      others(others_folder.path(), [] { return nullptr; });
  PassingMediaStore store(below, folder.path(), &others);
  const auto picture = folder.write("a.bin", "a picture");
  const Media first = store.put_file(picture, "a"), second = store.put_file(picture, "b");
  CHECK(first.id == second.id);
  CHECK(store.size() == 1);
  store.release(first);
  CHECK(store.bytes(second).size() == 9);
  store.release(second);
  CHECK(store.size() == 0);
  CHECK_FALSE(std::filesystem::exists(below.path_of(first.id)));
  CHECK_THROWS_AS(store.bytes(first), DataError);
  store.release(first);  // once too often: nothing happens
  CHECK(store.put_file(picture, "c").id == first.id);
  CHECK(store.bytes(first).size() == 9);

  Media frames;  // a video given as frames
  frames.frames = {first.id};
  store.release(frames);
  CHECK(store.size() == 0);

  const std::string text = "elsewhere";
  const Media elsewhere =
      others.put({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, "");
  CHECK(store.bytes(elsewhere).size() == 9);
  store.release(elsewhere);
  CHECK(others.bytes(elsewhere).size() == 9);
  CHECK_FALSE(store.put_file("no/such/file", "x").present());
}
