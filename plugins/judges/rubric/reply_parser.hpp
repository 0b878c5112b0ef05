// SPDX-License-Identifier: Apache-2.0
#pragma once

// Reads a judge's reply (paper section 3.1: own reference answer, weights, analyses and scores per
// criterion). Tolerant about form, strict about content: a score is what the judge wrote or it is
// not there. The rules, which tests/plugins/judges/reply_parser_test.cpp pins down:
//
// - Values outside 0 ... 10 are not clamped: that response is unparsed. A fraction such as 7.5 is
// rounded
//   to the nearest whole number (halves up), which `detail` says.
// - "8", "8/10" and "8 out of 10" are read as 8; "80/100", words, true and null are not.
// - Weights (of the reply, or of the response itself) may be fractions, percentages or any
// non-negative
//   numbers; they are divided by their sum. A criterion without a weight has weight 0 if the others
//   already sum to 1 (or 100 %); otherwise the response is unparsed, as it is with a negative
//   weight or sum 0.
// - A criterion without a score makes the response unparsed.
// - Criterion names may be spelled otherwise ("Language Quality", "1. accuracy", "Ethical
// consideration");
//   two spellings with different values make it unparsed. Unknown names are ignored.
// - Responses may be a list or an object keyed by id. An id outside 1 ... n is ignored; a repeated
// id
//   whose entries differ makes that response unparsed. Without any id, n entries count by position.
// - A cut reply gives no scores at all, not even those of entries that were complete: keeping only
// the
//   first ones would favour responses by their place. Truncated if the model stopped at its token
//   limit, otherwise unparsed.
// - A key that an object has twice, with different values, makes the whole reply unparsed.
// - Two different readable reports in one reply: unparsed. Prose and reasoning around one report is
// fine.
// - No report and the words of a refusal: refused.
// - overall = sum of weight * score, rounded to 1e-6 so that equal opinions are equal numbers. The
//   judge's own figure is kept in stated_overall when it is within 0 ... 10.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/types.hpp"
#include "rubric_prompt.hpp"

namespace dt2it::rubric {

struct ParsedReply {
  std::vector<Score> scores;  // as many as were expected; `reply` is not filled in
  // Pairwise only: what "better" said; empty when absent or unreadable.
  std::optional<Verdict::Winner> better;
};

// `expected`: how many responses were shown. `finish_reason` as the model gave it ("length": cut).
// Never throws on bad text.
ParsedReply parse_reply(std::string_view text, std::string_view finish_reason, std::size_t expected,
                        std::span<const CriterionSpec> criteria);

}  // namespace dt2it::rubric
