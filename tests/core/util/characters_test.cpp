// SPDX-License-Identifier: Apache-2.0
#include "core/util/characters.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace dt2it;

TEST_CASE("characters of UTF-8 are code points, wherever a word of eight bytes ends") {
  CHECK(characters("") == 0);
  CHECK(characters("plain") == 5);
  for (const std::string one : {"a", "\xC3\xA9", "\xE7\x8C\xAB", "\xF0\x9F\x90\x88"}) {
    std::string text;
    for (std::size_t count = 1; count <= 40; ++count) {
      text += one;
      CHECK(characters(text) == count);
      CHECK(characters("x" + text) == count + 1);
    }
  }
}
