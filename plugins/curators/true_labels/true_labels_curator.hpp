// SPDX-License-Identifier: Apache-2.0
#pragma once

// The all-knowing curator of the mini world: keeps what is labelled rightly, turns what is not,
// discards exact ties. Pairs without truth are left undecided. Pure; thread-safe.

#include "dt2it/context.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/params.hpp"

namespace dt2it::mini_world {

class TrueLabelsCurator final : public Curator {
 public:
  struct Params {
    bool by_alignment = false;
    static void describe(Schema<Params>& schema);
  };
  TrueLabelsCurator(const Params& params, Context& context);
  std::vector<Decision> review(std::span<const PreferencePair> pairs) override;

 private:
  Decision decide(const PreferencePair& pair) const;
  const Params params_;
};

}  // namespace dt2it::mini_world
