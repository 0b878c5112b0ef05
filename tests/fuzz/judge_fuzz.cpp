// SPDX-License-Identifier: Apache-2.0
// Replies of judges: never more scores than responses, never a score out of bounds or without a status.
#include <cmath>
#include <cstdlib>

#include "plugins/judges/rubric/json_repair.hpp"
#include "plugins/judges/rubric/reply_parser.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dt2it;
  using namespace dt2it::rubric;
  const std::string text = valid_utf8({reinterpret_cast<const char*>(data), size});
  static const std::vector<CriterionSpec> criteria{{"accuracy", {}}, {"safety", {}}};
  find_json(text);
  for (const std::size_t expected : {1, 2, 5})
    for (const char* reason : {"stop", "length"}) {
      const ParsedReply reply = parse_reply(text, reason, expected, criteria);
      if (reply.scores.size() != expected) std::abort();
      for (const Score& score : reply.scores)
        if (score.ok() != std::isfinite(score.overall) ||
            (score.ok() && (score.overall < 0 || score.overall > 10)))
          std::abort();
    }
  return 0;
}
