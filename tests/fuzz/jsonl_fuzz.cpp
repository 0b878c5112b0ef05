// SPDX-License-Identifier: Apache-2.0
// Lines of records: refused with a DataError, or what is written for them reads back as the same and is written the same.
#include <simdjson.h>

#include <cstdlib>

#include "core/data/records.hpp"
#include "core/util/json_scan.hpp"
#include "dt2it/error.hpp"

namespace {

using namespace dt2it;

template <class Record, class Read>
void round_trip(std::string_view line, Read read) {
  Record record;
  try {
    JsonParser parser;
    record = read(parser.parse(line, "fuzz:1"), "fuzz:1");
  } catch (const DataError&) {
    return;
  }
  const std::string text = to_json(record);
  JsonParser parser;
  const Record again =
      read(parser.parse(text, "again:1"), "again:1");  // ours must be readable: not caught
  if (to_json(again) != text) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    round_trip<PreferencePair>(line, pair_from);
    round_trip<Prompt>(line, prompt_from);
    round_trip<ImagePreference>(line, image_preference_from);
    // Text that is no JSON may give anything, but nothing beyond it may be read.
    raw_members(line);
    raw_items(line);
    simplify_json(line);
    at = end + 1;
  }
  return 0;
}
