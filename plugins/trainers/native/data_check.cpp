// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/native/data_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "dt2it/response_key.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::native {
namespace {

std::string share(std::size_t part, std::size_t whole) {
  return fmt::format(
      "{} of {} ({:.1f} %)", part, whole,
      100.0 * static_cast<double>(part) / static_cast<double>(std::max<std::size_t>(1, whole)));
}

}  // namespace

double DataCheck::longer_wins() const {
  const std::size_t unequal = longer_chosen + longer_rejected;
  return unequal ? static_cast<double>(longer_chosen) / static_cast<double>(unequal) : 0.5;
}

std::vector<std::string> DataCheck::findings() const {
  std::vector<std::string> lines;
  const auto much = [](std::size_t part, std::size_t whole, double limit) {
    return static_cast<double>(part) > limit * static_cast<double>(whole);
  };
  if (identical)
    lines.push_back(share(identical, pairs) +
                    " pairs have the same text on both sides: nothing can be learnt from them");
  if (much(ties, pairs, 0.01))
    lines.push_back(share(ties, pairs) + " pairs have a preference strength of 0");
  if (much(duplicates, pairs, 0.01))
    lines.push_back(share(duplicates, pairs) + " pairs repeat an earlier one");
  if (contradictory)
    lines.push_back(share(contradictory, pairs) + " pairs say the opposite of an earlier one");
  if (pairs >= 50 && (longer_wins() > 0.65 || longer_wins() < 0.35))
    lines.push_back(
        fmt::format("length alone predicts the label: the longer response is chosen in {:.1f} % of "
                    "the pairs of "
                    "unequal length",
                    100 * longer_wins()));
  if (unusable)
    lines.push_back(share(unusable, looked_at) +
                    " pairs looked at cannot be used (an image missing or broken, or too long)");
  if (much(truncated, looked_at, 0.02))
    lines.push_back(share(truncated, looked_at) + " pairs looked at lose text to cutoff_len");
  return lines;
}

std::string DataCheck::json() const {
  return fmt::format(
      "{{\"pairs\": {}, \"identical\": {}, \"ties\": {}, \"duplicates\": {}, \"contradictory\": "
      "{}, \"longer_wins\": {:.6f}, "
      "\"looked_at\": {}, \"unusable\": {}, \"truncated\": {}}}",
      pairs, identical, ties, duplicates, contradictory, longer_wins(), looked_at, unusable,
      truncated);
}

DataCheck check_data(std::span<const PreferencePair> records, std::size_t sample,
                     const std::function<Fit(std::size_t)>& fit) {
  DataCheck check;
  check.pairs = records.size();
  std::unordered_map<std::uint64_t, int>
      seen;  // hash of a pair as it is and turned round: bits 1 and 2
  seen.reserve(records.size());
  for (const PreferencePair& pair : records) {
    const bool two_prompts = pair.rejected_prompt.has_value();
    if (!two_prompts && pair.chosen.text == pair.rejected.text) ++check.identical;
    if (pair.strength && *pair.strength == 0) ++check.ties;
    if (pair.chosen.text.size() > pair.rejected.text.size()) ++check.longer_chosen;
    if (pair.chosen.text.size() < pair.rejected.text.size()) ++check.longer_rejected;
    const std::uint64_t prompt = stable_hash(prompt_text_for_key(pair.prompt)),
                        other = two_prompts
                                    ? stable_hash(prompt_text_for_key(*pair.rejected_prompt))
                                    : prompt;
    const std::uint64_t chosen = stable_hash(pair.chosen.text, prompt),
                        rejected = stable_hash(pair.rejected.text, other);
    if (chosen == rejected) continue;
    int& ways =
        seen[std::min(chosen, rejected) * 0x9e3779b97f4a7c15ULL ^ std::max(chosen, rejected)];
    const int own = chosen < rejected ? 1 : 2;
    if (ways & own)
      ++check.duplicates;
    else if (ways)
      ++check.contradictory;
    ways |= own;
  }
  const std::size_t count = std::min(sample, records.size());
  for (std::size_t i = 0; i < count; ++i) {
    const Fit how = fit(i * records.size() / count);
    ++check.looked_at;
    check.unusable += how == Fit::unusable;
    check.truncated += how == Fit::cut;
  }
  return check;
}

}  // namespace dt2it::native
