// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <simdjson.h>

#include <string>
#include <vector>

#include "dt2it/rng.hpp"

namespace dt2it::t2i {

// An image of a text with what people thought of it. `image` is the record's value as JSON text; it
// is looked at only when a preference is made of it.
struct Rated {
  std::string image;
  double score = 0;  // higher is better, whatever the record's own polarity
};

// What a record says.
struct Comparison {
  std::string text;
  std::vector<Rated> images;  // one: to be grouped with others of the same text; two or more:
                              // compared with each other
};

enum class Form { automatic, hpdv2, evalmuse, omni };

// HPDv2: "human_preference" (1 is better) beside "file_path", or "rank" (lower is better) beside
// "image_path". EvalMuse: one image with "total_score" (a list, one a person; the mean counts).
// Omni-Reward: caption in both answers, two images, the preferred one first. Throws DataError
// starting with `where`.
Comparison parse_comparison(const simdjson::dom::object& record, Form form,
                            const std::string& where);

struct Couple {
  std::size_t better = 0, worse = 0;
};
struct Couples {
  std::vector<Couple> kept;
  std::size_t ties = 0, close = 0,
              over = 0;  // equal scores; a gap not above the threshold; more than wanted
};

// Couples of images whose scores differ by more than `min_gap`; no more than `most` (0: all), drawn
// at random, in their order.
Couples couples_of(const std::vector<Rated>& images, double min_gap, std::size_t most, Rng rng);

}  // namespace dt2it::t2i
