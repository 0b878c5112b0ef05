// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dt2it {

// Looks into JSON text itself, for what a parsed document no longer knows: the bytes that a value was written
// with. The text must be valid JSON (as simdjson has found it to be); of other text the result is
// unspecified, but nothing outside of it is read.

struct RawMember {
  std::string_view key;  // with its quotes
  std::string_view value;
};
std::vector<RawMember> raw_members(std::string_view object);
std::vector<std::string_view> raw_items(std::string_view array);

// The text of a JSON string (with its quotes). A surrogate escape without its partner, which UTF-8 has no
// form for, gives the three bytes that its number would have (WTF-8).
std::string unescape_json_string(std::string_view quoted);

// The same JSON with what simdjson refuses although JSON's grammar allows it put in other words: integers
// beyond 64 bits as floating-point numbers, numbers beyond a double as null, lone surrogate escapes as
// U+FFFD. Order and number of all values stay the same.
std::string simplify_json(std::string_view text);

}  // namespace dt2it
