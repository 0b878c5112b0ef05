// SPDX-License-Identifier: Apache-2.0
// A curator against the liking for long answers: a pair whose chosen answer is much longer than the
// rejected one may have been labelled for its length, so it is discarded. All others are left to the
// next curator of the chain.
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "dt2it/curator.hpp"
#include "dt2it/plugin.hpp"

namespace {

class LengthGapCurator final : public dt2it::Curator {
 public:
  struct Params {
    double max_ratio = 2.0;
    std::int64_t min_characters = 40;
  };

  // Every parameter is declared once: this checks the user's file, fills Params, and is the help text.
  static void describe(dt2it::Schema<Params>& schema) {
    schema
        .field("max_ratio", &Params::max_ratio,
               "Discard a pair whose chosen answer is more than this many times as long as the "
               "rejected "
               "one.")
        .min(1);
    schema
        .field("min_characters", &Params::min_characters,
               "Leave pairs alone whose chosen answer is shorter than this, in bytes.")
        .min(0);
  }

  LengthGapCurator(const Params& params, dt2it::Context&) : params_(params) {}

  std::vector<dt2it::Decision> review(std::span<const dt2it::PreferencePair> pairs) override {
    std::vector<dt2it::Decision> decisions;
    decisions.reserve(pairs.size());
    for (const dt2it::PreferencePair& pair : pairs) decisions.push_back(review(pair));
    return decisions;
  }

 private:
  dt2it::Decision review(const dt2it::PreferencePair& pair) const {
    const double chosen = static_cast<double>(pair.chosen.text.size());
    const double rejected = static_cast<double>(pair.rejected.text.size());
    const bool discard = chosen >= static_cast<double>(params_.min_characters) &&
                         chosen > params_.max_ratio * rejected;
    char reason[128];
    std::snprintf(reason, sizeof reason, "chosen %.0f bytes, rejected %.0f: %s %g times as long",
                  chosen, rejected, discard ? "more than" : "not a long answer of more than",
                  params_.max_ratio);
    dt2it::Decision decision;
    decision.action =
        discard ? dt2it::Decision::Action::discard : dt2it::Decision::Action::undecided;
    decision.settled = discard;
    decision.reason = reason;
    return decision;
  }

  const Params params_;
};

}  // namespace

// Raise the version when the same parameters decide otherwise: results are kept by it.
DT2IT_PLUGIN("curators/length_gap", "1.0.0", registrar) {
  registrar.add<dt2it::Curator, LengthGapCurator>(
      "length_gap", "Discards pairs whose chosen answer is much longer than the rejected one.");
}
