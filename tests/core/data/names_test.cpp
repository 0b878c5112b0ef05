// SPDX-License-Identifier: Apache-2.0
#include "core/data/names.hpp"

#include <catch2/catch.hpp>

#include "core/data/records.hpp"
#include "dt2it/error.hpp"

using namespace dt2it;

TEST_CASE("Each name stands for one value, and what is none of them for nothing") {
  for (std::size_t i = 0; i < kStatusNames.size(); ++i) {
    const auto status = static_cast<Status>(i);
    CHECK(name_of(kStatusNames, status) == to_string(status));
    CHECK(value_named<Status>(kStatusNames, to_string(status)) == status);
    CHECK(status_from(to_string(status), "here") == status);
  }
  CHECK(value_named<Verdict::Winner>(kWinnerNames, "second") == Verdict::Winner::second);
  for (const char* other : {"", "OK", "ok ", "cancelled"}) {
    CHECK_FALSE(value_named<Status>(kStatusNames, other));
    CHECK_THROWS_WITH(status_from(other, "f.jsonl:3"),
                      "f.jsonl:3: 'status' is '" + std::string(other) +
                          "' (allowed: ok, unparsed, refused, truncated, unavailable, "
                          "missing_media, invalid)");
  }
}
