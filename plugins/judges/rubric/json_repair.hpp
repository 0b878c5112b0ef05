// SPDX-License-Identifier: Apache-2.0
#pragma once

// Finds the JSON values in a model's answer and reads them although they are not quite JSON. Strict
// JSON is tried first; only what it refuses is mended: code fences and prose around it, trailing,
// doubled and missing commas, single or curly quotes, unescaped line breaks and quotes in strings,
// bad escapes, comments, unquoted keys and words, Python's True/False/None, "8/10" without quotes.
//
// No key of an object may come twice, unless with the same value in strict JSON: which one is meant
// nobody knows, and text that broke out of its string shows that way. Such a value is reported as
// `repeated` and not returned. Nothing that was not written is added: a value that ends before it is
// closed is reported as `cut` and not returned.

#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace dt2it::rubric {

struct FoundJson {
  std::vector<boost::json::value> values;  // objects and arrays of objects, in order of appearance
  bool cut = false;                        // the text ends inside a value (the last one looked at)
  bool repeated = false;                   // a value has a key twice
};

// Never throws on bad text; work is bounded by a constant times the length. `text` must be valid
// UTF-8.
FoundJson find_json(std::string_view text);

// Replaces what is not UTF-8 by U+FFFD, byte by byte.
std::string valid_utf8(std::string_view text);

}  // namespace dt2it::rubric
