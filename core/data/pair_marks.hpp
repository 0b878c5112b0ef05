// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/util/json.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// Where the parts of a pair that curation changes stand in its line: bytes from its beginning.
struct PairMarks {
  std::uint32_t chosen = 0, chosen_end = 0, rejected = 0, rejected_end = 0, strength = 0,
                strength_end = 0;
  bool known() const { return chosen != 0; }
};

// Appends what to_json makes of a pair.
void append_json(JsonWriter& json, const PreferencePair& pair, PairMarks* marks = nullptr);

// Of a pair that was read from `line`; known where that is what to_json makes of it and it has one
// prompt. Adds to `scratch`.
PairMarks marks_of(std::string_view line, const PreferencePair& pair, JsonWriter& scratch);

// Appends what to_json would make of the pair with its labels swapped, and with other strengths
// where there is one, without reading it. Otherwise the strengths are the line's own, also where
// labels are swapped.
void append_changed(std::string& out, std::string_view line, const PairMarks& marks, bool flipped,
                    std::optional<double> strength, std::span<const double> strengths);

}  // namespace dt2it
