// SPDX-License-Identifier: Apache-2.0
#include <string_view>

#include "dt2it/plugin.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {
namespace {

// Longer is better: the trivial baseline that shows how much of a benchmark mere length explains.
class LengthRewardModel final : public RewardModel {
 public:
  struct Params {
    std::string unit = "characters";
    static void describe(Schema<Params>& schema) {
      schema
          .field("unit", &Params::unit,
                 "What is counted: Unicode code points, or runs of non-white space.")
          .choices({"characters", "words"});
    }
  };
  LengthRewardModel(const Params& params, Context&) : words_(params.unit == "words") {}

  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    std::vector<std::vector<Reward>> result;
    for (const RewardRequest& request : requests) {
      auto& row = result.emplace_back();
      for (const Response& response : request.responses)
        row.push_back({Status::ok, static_cast<double>(words_ ? words(response.text)
                                                              : characters(response.text))});
    }
    return result;
  }

 private:
  static std::size_t characters(std::string_view text) {
    std::size_t count = 0;
    for (unsigned char c : text) count += (c & 0xC0) != 0x80;  // all but UTF-8 continuation bytes
    return count;
  }
  static std::size_t words(std::string_view text) {
    std::size_t count = 0;
    bool inside = false;
    for (char c : text) {
      const bool space = c == ' ' || (c >= '\t' && c <= '\r');
      count += !space && !inside;
      inside = !space;
    }
    return count;
  }

  const bool words_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reward_models/length", "1.0.0", registrar) {
  registrar.add<dt2it::RewardModel, dt2it::LengthRewardModel>(
      "length", "Longer is better: the trivial baseline.");
}
