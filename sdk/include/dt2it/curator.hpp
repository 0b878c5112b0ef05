// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dt2it/export.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// What a curator says of one pair.
struct Decision {
  enum class Action : std::uint8_t { keep, flip, discard, undecided };
  Action action = Action::undecided;
  // keep and discard always settle a pair. A flip that does not settle (vote_flip) swaps the labels and
  // hands the pair to the next curator of the chain, as `undecided` does without swapping.
  bool settled = true;
  std::string reason;                // one written line, e.g. "strength -0.41 is in the lower half"
  std::optional<double> strength;    // mean margin over the voting models
  std::vector<double> strengths;     // each model's margin
  std::optional<double> votes_chosen, votes_rejected;
  std::string detail;                // JSON object text with anything else worth keeping; may be empty
};

// Reviews preference pairs and never changes them; the host applies the decisions (paper section 3.3).
// Called from one thread, once with all pairs of one source.
class DT2IT_API Curator {
 public:
  static constexpr const char* kKind = "curators";
  virtual ~Curator() = default;
  virtual std::vector<Decision> review(std::span<const PreferencePair> pairs) = 0;
};

}  // namespace dt2it
