// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
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
  // keep and discard always settle a pair. A flip that does not settle (vote_flip) swaps the labels
  // and hands the pair to the next curator of the chain, as `undecided` does without swapping.
  bool settled = true;
  std::string reason;              // one written line, e.g. "strength -0.41 is in the lower half"
  std::optional<double> strength;  // mean margin over the voting models
  std::vector<double> strengths;   // each model's margin
  std::optional<double> votes_chosen, votes_rejected;
  std::string detail;  // JSON object text with anything else worth keeping; may be empty
};

// Reviews preference pairs and never changes them; the host applies the decisions (paper
// section 3.3). Called from one thread. What a model or judge fails to say leaves a pair undecided; the reason says so.
class DT2IT_API Curator {
 public:
  static constexpr const char* kKind = "curators";
  virtual ~Curator() = default;

  // One decision for each pair, same order. The pairs are of one source, and only a part of it:
  // what is said of a pair must not depend on the others. A curator that has to know the whole
  // source is a SurveyingCurator.
  virtual std::vector<Decision> review(std::span<const PreferencePair> pairs) = 0;
};

// A curator that sees all pairs of a source before it decides on any, as one does that goes by
// ranks. It is shown them twice, part by part, so it need keep only what it decides by, not the
// pairs.
class DT2IT_API SurveyingCurator : public Curator {
 public:
  // Of one source.
  class DT2IT_API Survey {
   public:
    virtual ~Survey() = default;
    // All pairs, part after part.
    virtual void add(std::span<const PreferencePair> pairs) = 0;
    // After the last part: whether all are to be added once more.
    virtual bool again() { return false; }
    // Then decisions, in parts: those for the pairs that were added as number `first` and
    // following. A part may be asked for again, and a resumed run asks for the last parts only.
    virtual std::vector<Decision> decide(std::span<const PreferencePair> pairs,
                                         std::size_t first) = 0;
  };

  virtual std::unique_ptr<Survey> survey(const std::string& source) = 0;

  // Of a whole source.
  std::vector<Decision> review(std::span<const PreferencePair> pairs) override {
    if (pairs.empty()) return {};
    const std::unique_ptr<Survey> all = survey(pairs.front().source);
    do all->add(pairs);
    while (all->again());
    return all->decide(pairs, 0);
  }
};

}  // namespace dt2it
