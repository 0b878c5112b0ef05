// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>

#include "dt2it/plugin.hpp"
#include "dt2it/reward_model.hpp"
#include "plugins/benchmarks/records/record_fields.hpp"
#include "plugins/benchmarks/records/record_reader.hpp"

namespace dt2it {
namespace {

// Rewards that another program computed, looked up by row: [{"chosen": x, "rejected": y}, ...] or
// one such object a line, as LLaMA-Factory writes its generated_predictions.jsonl. Null and NaN are
// failures.
class ReplayRewardModel final : public RewardModel {
 public:
  struct Params {
    std::filesystem::path file;
    static void describe(Schema<Params>& schema) {
      schema
          .field("file", &Params::file,
                 "JSON array or JSONL of {\"chosen\": x, \"rejected\": y}, in the row order of the "
                 "pairs.")
          .required()
          .argument();
    }
  };

  ReplayRewardModel(const Params& params, Context&) : file_(params.file.string()) {
    records::RecordReader reader(
        records::find_data_file(params.file, {"generated_predictions.jsonl"}),
        /*python_numbers=*/true);
    simdjson::dom::object record;
    while (reader.next(record))
      rows_.push_back(
          {number(record, "chosen", reader.where()), number(record, "rejected", reader.where())});
  }

  void finish(std::size_t rows) override {
    if (rows != rows_.size()) fail_count(std::to_string(rows) + " pairs");
  }

  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    std::vector<std::vector<Reward>> result;
    for (const RewardRequest& request : requests) {
      if (request.row >= rows_.size())
        fail_count("at least " + std::to_string(request.row + 1) + " pairs");
      auto& row = result.emplace_back();
      for (std::size_t i = 0; i < request.responses.size(); ++i) {
        const std::size_t which = request.original_index.empty() ? i : request.original_index[i];
        if (which > 1)
          throw DataError(file_ + ": holds two rewards a row, chosen and rejected; record " +
                          std::to_string(request.row) + " asks about response " +
                          std::to_string(which + 1));
        row.push_back(rows_[request.row][which]);
      }
    }
    return result;
  }

 private:
  static Reward number(const simdjson::dom::object& record, const char* name,
                       const std::string& where) {
    simdjson::dom::element value;
    double reward = 0;
    if (record.at_key(name).get(value))
      throw DataError(where + ": field '" + name +
                      "' is missing (a number, or null for a failure, is expected)");
    if (value.is_null()) return {};
    if (value.get(reward))
      throw DataError(where + ": field '" + name +
                      "' is not a number (null is allowed for a failure)");
    return std::isfinite(reward) ? Reward{Status::ok, reward} : Reward{};
  }

  [[noreturn]] void fail_count(const std::string& asked) const {
    throw DataError(file_ + ": has " + std::to_string(rows_.size()) +
                    " rows, but the benchmark has " + asked +
                    " (one row for each pair, in the same order, is needed)");
  }

  const std::string file_;
  std::vector<std::array<Reward, 2>> rows_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reward_models/replay", "1.0.0", registrar) {
  registrar.add<dt2it::RewardModel, dt2it::ReplayRewardModel>(
      "replay", "Rewards from a file, by row: for models that were run elsewhere.");
}
