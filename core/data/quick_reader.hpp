// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/data/pair_marks.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// Records straight from JSON text, without a document in between: several times as fast as records.hpp's functions, and right only
// where the text is what our own software writes. Everything returns false for whatever is unusual (an error, a key twice, half of
// a surrogate pair, a number out of range); the strict functions then read the text, or say what is wrong with it. What is read is
// the same. What a record held before is gone, but its memory is made use of; where nothing was read it holds anything. Not thread-safe.
class QuickReader {
 public:
  using Value = simdjson::ondemand::value;

  // Bytes that must be readable behind each text.
  static constexpr std::size_t kPadding = simdjson::SIMDJSON_PADDING;

  bool read(std::string_view text, Prompt& prompt) {
    return record(text, [&](Value value) { return read(value, prompt); });
  }
  bool read(std::string_view text, PreferencePair& pair, PairMarks* marks = nullptr);
  bool read(std::string_view text, ImagePreference& preference);

  // A record of another shape: `from(root)` is true when it was read.
  template <class From>
  bool record(std::string_view text, From&& from) {
    simdjson::ondemand::document document;
    Value root;
    if (parser_.iterate(text.data(), text.size(), text.size() + kPadding).get(document) ||
        document.get_value().get(root))
      return false;
    return from(root) && document.current_location().error() == simdjson::OUT_OF_BOUNDS;
  }

  // Calls known(index in names, value) for the keys of an object that are in `names` and not null, and other(key, value) for the
  // rest; false as soon as one of them is, or a name comes twice.
  template <std::size_t N, class Known, class Other>
  static bool members(Value object, const std::array<std::string_view, N>& names, Known&& known,
                      Other&& other) {
    return members(object, names, known, other, [](std::size_t, std::string_view) {});
  }
  // Before each of them, the null ones too, seen(index in names or N, key as it stands in the text).
  template <std::size_t N, class Known, class Other, class Seen>
  static bool members(Value object, const std::array<std::string_view, N>& names, Known&& known,
                      Other&& other, Seen&& seen_one) {
    static_assert(N < 32);
    simdjson::ondemand::object fields;
    if (object.get_object().get(fields)) return false;
    std::uint32_t seen = 0;
    std::size_t likely = 0;
    for (auto next : fields) {
      simdjson::ondemand::field field;
      std::string_view key;
      if (std::move(next).get(field) || !key_of(field, key)) return false;
      Value value = field.value();
      const std::size_t index =
          likely < N && names[likely] == key
              ? likely
              : static_cast<std::size_t>(std::find(names.begin(), names.end(), key) -
                                         names.begin());
      likely = index + 1;  // most come in their order
      seen_one(index, key);
      if (index == N) {
        if (!other(key, value)) return false;
        continue;
      }
      if (seen & 1u << index) return false;
      seen |= 1u << index;
      bool null = false;
      if (value.raw_json_token().starts_with('n') && (value.is_null().get(null) || null)) {
        if (!null) return false;
        continue;
      }
      if (!known(index, value)) return false;
    }
    return true;
  }
  template <class Each>
  static bool items(Value list, Each&& each) {
    simdjson::ondemand::array array;
    if (list.get_array().get(array)) return false;
    for (auto next : array) {
      Value value;
      if (std::move(next).get(value) || !each(value)) return false;
    }
    return true;
  }
  // Members of an object whatever their names.
  template <class Each>
  static bool each_member(Value object, Each&& each) {
    static constexpr std::array<std::string_view, 0> kNone{};
    return members(object, kNone, [](std::size_t, Value&) { return false; }, each);
  }

  static bool text(Value value, std::string& text);
  static bool number(Value value, double& number);
  bool read(Value value, Prompt& prompt);
  bool read(Value value, Response& response);
  bool read(Value value, Score& score);

 private:
  static bool key_of(simdjson::ondemand::field& field, std::string_view& key);
  static bool media(Value value, Media& media);
  static bool message(Value value, Message& message);
  // Adds "key":value to the JSON object that is being gathered; `extra` is closed by close().
  bool add(std::string& extra, std::string_view key, Value value);
  static void close(std::string& extra) {
    if (!extra.empty()) extra += '}';
  }

  simdjson::ondemand::parser parser_;
  simdjson::dom::parser check_;  // of what is kept as it is
};

}  // namespace dt2it
