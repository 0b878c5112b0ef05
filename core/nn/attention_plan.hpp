// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace dt2it::nn {

// Consecutive queries and the keys that they see. Indices are rows of q and of k and v.
struct AttentionRun {
  std::int64_t query = 0, count = 0;
  std::int64_t full = 0,
               full_count =
                   0;  // keys that every query sees: the prompt of a branch, the window of a patch
  std::int64_t
      own = 0,
      own_count = 0;  // keys of which query i sees the first own_count - count + 1 + i: causal, the
                      // last query sees all of them
};

// Who sees whom in one packed batch. Every query is in exactly one run.
struct AttentionPlan {
  std::vector<AttentionRun> runs;
  // Runs [groups[i], groups[i + 1]) share keys with each other and with no other group; begins with 0, ends with the number
  // of runs.
  std::vector<std::size_t> groups{0};

  void add(const AttentionRun& run) { runs.push_back(run); }
  void end_group() {
    if (groups.back() != runs.size()) groups.push_back(runs.size());
  }
  std::int64_t queries() const { return runs.empty() ? 0 : runs.back().query + runs.back().count; }
};

}  // namespace dt2it::nn
