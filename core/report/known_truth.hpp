// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "core/data/pair_identity.hpp"
#include "core/report/curation.hpp"
#include "core/report/json_read.hpp"
#include "core/report/run_summary.hpp"
#include "core/run/layout.hpp"

namespace dt2it::report {

// Of the label after a flip.
inline Truth turned(Truth truth) {
  return truth == Truth::right ? Truth::wrong : truth == Truth::wrong ? Truth::right : truth;
}

// What is true of the pairs that entered, from the files that audits wrote.
class KnownTruth {
 public:
  explicit KnownTruth(const RunSummary& run) {
    for (const StageSummary& stage : run.stages)
      for_each_line(stage.folder / layout::kTruth,
                    [&](std::size_t, const simdjson::dom::element& line) {
                      labels_[hexadecimal(line, "pair")] = {hexadecimal(line, "chosen"),
                                                            truth_from(text_of(line, "label"))};
                    });
  }
  bool empty() const { return labels_.empty(); }
  // Of the pair as it is labelled now.
  Truth of(const PreferencePair& pair) const {
    const PairIdentity identity = identity_of(pair);
    const auto found = labels_.find(identity.pair);
    if (found == labels_.end()) return Truth::unknown;
    const auto& [chosen, label] = found->second;
    return chosen == identity.chosen ? label : turned(label);
  }

 private:
  static std::uint64_t hexadecimal(const simdjson::dom::element& line, std::string_view key) {
    return std::strtoull(text_of(line, key).c_str(), nullptr, 16);
  }
  static Truth truth_from(const std::string& label) {
    return label == "right"   ? Truth::right
           : label == "wrong" ? Truth::wrong
           : label == "tie"   ? Truth::tie
                              : Truth::unknown;
  }
  std::unordered_map<std::uint64_t, std::pair<std::uint64_t, Truth>> labels_;
};

}  // namespace dt2it::report
