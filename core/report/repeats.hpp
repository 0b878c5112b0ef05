// SPDX-License-Identifier: Apache-2.0
#pragma once

// What judges that were asked the same repeatedly put into `detail`, as judges/rubric does
// (docs/file_formats.md): a JSON object with the single draws. Whatever else a detail holds is text
// for readers, and no figure is taken from it.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace dt2it::report {

// {"draws":[7,7.5,8]}: overall scores of the draws that could be read. Empty where there are none.
std::vector<double> draws_in(std::string_view detail);

// {"votes":{"first":2,"second":0,"tie":1}}: of the draws that could be read.
struct RepeatedVotes {
  std::int64_t first = 0, second = 0, tie = 0;
  std::int64_t all() const { return first + second + tie; }
  std::int64_t most() const;
};
std::optional<RepeatedVotes> votes_in(std::string_view detail);

}  // namespace dt2it::report
