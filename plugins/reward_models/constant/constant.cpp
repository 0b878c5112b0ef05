// SPDX-License-Identifier: Apache-2.0
#include "dt2it/plugin.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {
namespace {

// The same reward for everything: every pair is a tie, so every accuracy must be 0.
class ConstantRewardModel final : public RewardModel {
 public:
  struct Params {
    double value = 0;
    static void describe(Schema<Params>& schema) {
      schema.field("value", &Params::value, "The reward that every response gets.");
    }
  };
  ConstantRewardModel(const Params& params, Context&) : value_(params.value) {}

  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    std::vector<std::vector<Reward>> result;
    for (const RewardRequest& request : requests)
      result.emplace_back(request.responses.size(), Reward{Status::ok, value_});
    return result;
  }

 private:
  const double value_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reward_models/constant", "1.0.0", registrar) {
  registrar.add<dt2it::RewardModel, dt2it::ConstantRewardModel>(
      "constant", "The same reward for everything: must score 0 % and 100 % ties.");
}
