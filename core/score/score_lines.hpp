// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/types.hpp"

namespace dt2it {

// The rewards of one record, one line of a file:
//   {"id":"17","row":0,"status":"ok","chosen":1.25,"rejected":-0.5,"margin":1.75}   a pair
//   {"id":"18","row":1,"status":"ok","rewards":[0.1,0.4,0.2],"best":1}              several candidates
//   {"id":"19","row":2,"status":"ok","reward":0.3}                                  a single answer
// Rewards are in the shortest form that reads back the same double. One that could not be had is null; `status` and
// `detail` then say why, of the first such answer, or of the first one that is `unavailable`. Lines of pairs are what reward_models/replay reads.
struct ScoreLine {
  enum class Form : std::uint8_t { pair, candidates, single };
  std::size_t row = 0;
  std::string id;
  Form form = Form::pair;
  std::vector<Reward> rewards;  // of a pair: chosen, rejected
  Status status = Status::ok;
  std::string detail;
};

std::string to_json(const ScoreLine& line);
// Throws DataError starting with `where`. Of rewards that are null only the line's status is known.
ScoreLine score_line_from(std::string_view json, const std::string& where);

// What a file of scores amounts to.
struct ScoreTotals {
  std::size_t records = 0, pairs = 0, candidate_sets = 0, singles = 0;
  std::map<Status, std::size_t> statuses;  // of records
  // Of pairs with both rewards:
  std::size_t scored_pairs = 0, correct = 0, ties = 0;  // correct: chosen > rejected; a tie is not
  double margin_sum = 0;

  void add(const ScoreLine& line);
  std::size_t failed() const;
  double accuracy() const {
    return scored_pairs ? static_cast<double>(correct) / static_cast<double>(scored_pairs) : 0;
  }
  double mean_margin() const {
    return scored_pairs ? margin_sum / static_cast<double>(scored_pairs) : 0;
  }
};

}  // namespace dt2it
