// SPDX-License-Identifier: Apache-2.0
#include "core/report/curation.hpp"

namespace dt2it::report {

namespace {

std::optional<double> share(std::int64_t part, std::int64_t of) {
  return of ? std::optional(static_cast<double>(part) / static_cast<double>(of)) : std::nullopt;
}

}  // namespace

void TruthCounts::add(Truth truth, std::int64_t count) {
  switch (truth) {
    case Truth::right: right += count; break;
    case Truth::wrong: wrong += count; break;
    case Truth::tie: tie += count; break;
    case Truth::unknown: unknown += count; break;
  }
}
std::optional<double> TruthCounts::noise() const { return share(wrong, right + wrong); }
TruthCounts& TruthCounts::operator+=(const TruthCounts& other) {
  right += other.right, wrong += other.wrong, tie += other.tie, unknown += other.unknown;
  return *this;
}

std::optional<double> CurationCounts::flip_precision() const {
  return share(flips.wrong, flips.known());
}
std::optional<double> CurationCounts::flip_recall() const {
  return share(flips.wrong, found.wrong);
}
std::optional<double> CurationCounts::filter_precision() const {
  return share(discards.wrong + discards.tie, discards.known());
}
std::optional<double> CurationCounts::filter_recall() const {
  return share(discards.wrong + discards.tie, found.wrong + found.tie);
}
CurationCounts& CurationCounts::operator+=(const CurationCounts& other) {
  seen += other.seen, kept += other.kept, flipped += other.flipped,
      passed_flipped += other.passed_flipped;
  open += other.open, discarded += other.discarded;
  for (const auto& [reason, count] : other.reasons) reasons[reason] += count;
  found += other.found, flips += other.flips, discards += other.discards, left += other.left;
  return *this;
}

Curation::Source Curation::total() const {
  Source sum;
  sum.steps.resize(curators.size());
  for (const auto& [name, source] : sources) {
    sum.whole += source.whole;
    for (std::size_t i = 0; i < source.steps.size(); ++i) sum.steps[i] += source.steps[i];
  }
  return sum;
}

}  // namespace dt2it::report
