// SPDX-License-Identifier: Apache-2.0
#include "core/data/pair_marks.hpp"

#include "core/data/names.hpp"
#include "core/util/json.hpp"

namespace dt2it {
namespace {

enum Key : std::size_t { kRejectedPrompt = 2, kChosen, kRejected, kStrength = 7, kStrengths };
static_assert(kPairKeys[kRejectedPrompt] == "rejected_prompt" && kPairKeys[kChosen] == "chosen" &&
              kPairKeys[kRejected] == "rejected" && kPairKeys[kStrength] == "strength" &&
              kPairKeys[kStrengths] == "strengths");

}  // namespace

void PairMarker::member(std::size_t index, std::string_view name) {
  const auto begin = static_cast<std::uint32_t>(name.data() - line_.data() - 2);  // its comma
  const auto value = static_cast<std::uint32_t>(begin + name.size() + 4);
  ours_ = ours_ && line_[begin] == (first_ ? '{' : ',') && line_[value - 1] == ':';
  first_ = false;
  if (open_) *open_ = begin;
  open_ = nullptr;
  switch (index) {
    case kRejectedPrompt: ours_ = false; break;
    case kChosen:
      marks_.chosen = value;
      open_ = &marks_.chosen_end;
      break;
    case kRejected:
      ours_ = ours_ && marks_.known();
      marks_.rejected = value;
      open_ = &marks_.rejected_end;
      break;
    case kStrength:
    case kStrengths:
      ours_ = ours_ && marks_.rejected != 0 &&
              (marks_.strength == 0 || (index == kStrengths && marks_.strength_end == begin));
      if (marks_.strength == 0) marks_.strength = begin;
      open_ = &marks_.strength_end;
      break;
    case kPairKeys.size():
      ours_ = ours_ && marks_.rejected != 0;
      if (others_ == 0) others_ = begin;
      break;
    default: break;
  }
}

PairMarks PairMarker::end() {
  if (!ours_ || !line_.starts_with('{') || !line_.ends_with('}')) return {};
  const auto end = static_cast<std::uint32_t>(line_.size() - 1);
  if (open_) *open_ = end;
  if (marks_.strength == 0) marks_.strength = marks_.strength_end = others_ ? others_ : end;
  return marks_;
}

void append_changed(std::string& out, std::string_view line, const PairMarks& marks, bool flipped,
                    std::optional<double> strength, std::span<const double> strengths) {
  const auto part = [&](std::uint32_t begin, std::size_t end) {
    return line.substr(begin, end - begin);
  };
  const std::string_view chosen = part(marks.chosen, marks.chosen_end),
                         rejected = part(marks.rejected, marks.rejected_end);
  out += part(0, marks.chosen);
  out += flipped ? rejected : chosen;
  out += part(marks.chosen_end, marks.rejected);
  out += flipped ? chosen : rejected;
  out += part(marks.rejected_end, marks.strength);
  if (strength) {
    out += ",\"strength\":";
    append_json_number(out, *strength);
    for (std::size_t i = 0; i < strengths.size(); ++i) {
      out += i ? "," : ",\"strengths\":[";
      append_json_number(out, strengths[i]);
    }
    if (!strengths.empty()) out += ']';
  } else {
    out += part(marks.strength, marks.strength_end);
  }
  out += part(marks.strength_end, line.size());
}

}  // namespace dt2it
