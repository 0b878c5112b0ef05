// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dt2it {

// Where the parts of a pair that curation changes stand in its line: bytes from its beginning. Known where the line has one prompt,
// its members follow each other without blanks, and the strengths stand behind both sides.
struct PairMarks {
  std::uint32_t chosen = 0, chosen_end = 0, rejected = 0, rejected_end = 0;
  // Both strengths with the comma before them, or where they would be.
  std::uint32_t strength = 0, strength_end = 0;
  bool known() const { return chosen != 0; }
};

// Finds them while a line is read.
class PairMarker {
 public:
  explicit PairMarker(std::string_view line) : line_(line) {}
  // Each member of the pair in turn: its position in kPairKeys (their number: another one), and its name as it stands in the line.
  void member(std::size_t index, std::string_view name);
  PairMarks end();

 private:
  std::string_view line_;
  PairMarks marks_;
  std::uint32_t* open_ = nullptr;  // the end of the last member, which the next one tells
  // Where the first member begins that is not in kPairKeys, with its comma.
  std::uint32_t others_ = 0;
  bool first_ = true, ours_ = true;
};

// Appends the line with labels swapped, and with other strengths where there is one, and all else as it is: for a line that to_json
// made, what it would make of the changed pair. Without `strength` they are the line's own, also where labels are swapped.
void append_changed(std::string& out, std::string_view line, const PairMarks& marks, bool flipped,
                    std::optional<double> strength, std::span<const double> strengths);

}  // namespace dt2it
