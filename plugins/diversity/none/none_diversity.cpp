// SPDX-License-Identifier: Apache-2.0
#include <span>
#include <vector>

#include "dt2it/diversity_strategy.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

// Leaves the candidates as they are: the row of the ablation without step 4.
class NoDiversity final : public DiversityStrategy {
 public:
  struct Params {};
  static void describe(Schema<Params>&) {}
  NoDiversity(const Params&, Context&) {}
  std::vector<Response> extend(const Prompt&, std::span<const Response>,
                               std::span<const Score>) override {
    return {};
  }
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("diversity/none", "1.0.0", registrar) {
  registrar.add<dt2it::DiversityStrategy, dt2it::NoDiversity>("none", "Adds no candidates.");
}
