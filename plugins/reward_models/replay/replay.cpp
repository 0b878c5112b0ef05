// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <map>

#include "dt2it/plugin.hpp"
#include "dt2it/question.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/verdict_model.hpp"
#include "plugins/reward_models/replay/stored_rows.hpp"

namespace dt2it {
namespace {

using replay::StoredRow;

// Rewards or verdicts that another program computed, looked up by row; verdicts that have the texts of their pairs by those.
class ReplayRewardModel final : public RewardModel, public VerdictModel {
 public:
  struct Params {
    std::filesystem::path file;
    std::vector<std::filesystem::path> files;
    std::vector<std::int64_t> starts;
    std::string benchmark;
    static void describe(Schema<Params>& schema) {
      schema
          .field("file", &Params::file,
                 "JSON array or JSONL with a record for each pair, in their order: {\"chosen\": x, "
                 "\"rejected\": y}, "
                 "{\"rewards\": [x, y]}, or replies of judges as VL-RewardBench's and Multimodal "
                 "RewardBench's scripts and evaluate "
                 "stages (verdicts.jsonl) write them.")
          .argument();
      schema.field("files", &Params::files,
                   "Instead: one for each benchmark of the stage, in their order.");
      schema
          .field("starts", &Params::starts,
                 "Where `file` holds the rows of several benchmarks one after the other: the "
                 "number of the first one of each benchmark "
                 "of the stage, in the stage's order, counted from 1.")
          .min(1);
      schema.field("benchmark", &Params::benchmark,
                   "Of a verdicts.jsonl of several benchmarks: take this one's lines only. Empty: "
                   "all, in their order.");
    }
  };

  ReplayRewardModel(const Params& params, Context&) {
    if (params.file.empty() == params.files.empty())
      throw ConfigError(std::string("replay: exactly one of 'file' and 'files' is needed; ") +
                        (params.file.empty() ? "none is given" : "both are given"));
    for (const std::filesystem::path& file : params.files)
      add_part(file.string(), of(params, replay::read_stored(file)));
    if (params.file.empty()) return;
    auto rows = of(params, replay::read_stored(params.file));
    if (params.starts.empty()) {
      split_by_benchmark(params.file.string(), std::move(rows));
      return;
    }
    for (const std::int64_t start : params.starts) {
      std::int64_t end = static_cast<std::int64_t>(rows.size()) + 1;
      for (const std::int64_t other : params.starts)
        if (other > start) end = std::min(end, other);
      if (start >= end)
        throw DataError(params.file.string() + ": has " + std::to_string(rows.size()) +
                        " rows, none of them is number " + std::to_string(start));
      add_part(params.file.string() + " from row " + std::to_string(start),
               {rows.begin() + (start - 1), rows.begin() + (end - 1)});
    }
  }

  void finish(std::size_t rows) override {
    Section& part = parts_[at_];
    if (rows != part.rows.size()) fail_count(std::to_string(rows) + " pairs");
    part.used.clear();
    at_ = (at_ + 1) % parts_.size();
  }

  bool gives_verdicts() const override { return verdicts_; }

  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    std::vector<std::vector<Reward>> result;
    for (const RewardRequest& request : requests) {
      const StoredRow& stored = verdicts_ ? look_up(request, false) : row(request.row);
      std::array<Reward, 2> rewards = stored.rewards;
      if (stored.samples) {
        JudgedItem item;
        item.samples = *stored.samples;
        const Outcome outcome = strict_outcome(item);
        rewards = {Reward{outcome.status, outcome.chosen_reward, {}},
                   Reward{outcome.status, outcome.rejected_reward, {}}};
      }
      auto& given = result.emplace_back();
      for (std::size_t i = 0; i < request.responses.size(); ++i)
        given.push_back(rewards[original(request, i)]);
    }
    return result;
  }

  std::vector<std::vector<ShownVerdict>> verdicts(
      std::span<const RewardRequest> requests) override {
    std::vector<std::vector<ShownVerdict>> result;
    for (const RewardRequest& request : requests) {
      auto& given = result.emplace_back();
      const std::size_t chosen = original(request, 0) == 0 ? 0 : 1;
      for (const JudgedSample& sample : *look_up(request, true).samples)
        given.push_back(
            {sample.chosen_first ? std::array{chosen, 1 - chosen} : std::array{1 - chosen, chosen},
             sample.form, sample.verdict});
    }
    return result;
  }

 private:
  struct Section {
    std::string name;
    std::vector<StoredRow> rows;
    std::map<std::string, std::vector<std::size_t>> keys;  // rows of each key, in their order
    std::map<std::string, std::size_t> used;
  };

  static std::vector<StoredRow> of(const Params& params, std::vector<StoredRow> rows) {
    if (!params.benchmark.empty())
      std::erase_if(rows, [&](const StoredRow& row) { return row.benchmark != params.benchmark; });
    return rows;
  }

  void split_by_benchmark(const std::string& name, std::vector<StoredRow> rows) {
    std::vector<std::string> names;
    std::map<std::string, std::vector<StoredRow>> by_name;
    for (StoredRow& row : rows) {
      auto& list = by_name[row.benchmark];
      if (list.empty()) names.push_back(row.benchmark);
      list.push_back(std::move(row));
    }
    for (const std::string& one : names)
      add_part(one.empty() ? name : name + " of " + one, std::move(by_name[one]));
    if (names.empty()) add_part(name, {});
  }

  void add_part(std::string name, std::vector<StoredRow> rows) {
    Section part{std::move(name), std::move(rows), {}, {}};
    for (std::size_t i = 0; i < part.rows.size(); ++i)
      if (!part.rows[i].key.empty()) part.keys[part.rows[i].key].push_back(i);
    verdicts_ = verdicts_ || (!part.rows.empty() && part.rows.front().samples);
    parts_.push_back(std::move(part));
  }

  // Of equal rows the n-th time one is asked about the n-th; `take`: this is such a time.
  const StoredRow& look_up(const RewardRequest& request, bool take) {
    Section& part = parts_[at_];
    if (part.keys.empty()) {
      const StoredRow& found = row(request.row);
      if (!found.id.empty() && found.id != request.prompt->id)
        throw DataError(found.where + ": is about '" + found.id + "', but pair " +
                        std::to_string(request.row) + " of the benchmark is '" +
                        request.prompt->id + "'");
      return found;
    }
    if (request.responses.size() != 2) throw DataError(part.name + ": has verdicts on pairs only");
    const std::string key = replay::key_of(request.prompt->id, question_of(*request.prompt),
                                           request.responses[0].text, request.responses[1].text);
    const auto found = part.keys.find(key);
    if (found == part.keys.end())
      throw DataError(part.name + ": has no verdict on pair " + std::to_string(request.row) +
                      ", '" + request.prompt->id + "'");
    std::size_t& used = part.used[key];
    const std::size_t at = std::min(used, found->second.size() - 1);
    if (take) ++used;
    return part.rows[found->second[at]];
  }

  const StoredRow& row(std::size_t number) const {
    if (number >= parts_[at_].rows.size())
      fail_count("at least " + std::to_string(number + 1) + " pairs");
    return parts_[at_].rows[number];
  }

  std::size_t original(const RewardRequest& request, std::size_t i) const {
    const std::size_t which = request.original_index.empty() ? i : request.original_index[i];
    if (which > 1)
      throw DataError(parts_[at_].name + ": holds two rewards a row, chosen and rejected; record " +
                      std::to_string(request.row) + " asks about response " +
                      std::to_string(which + 1));
    return which;
  }

  [[noreturn]] void fail_count(const std::string& asked) const {
    throw DataError(parts_[at_].name + ": has " + std::to_string(parts_[at_].rows.size()) +
                    " rows, but the benchmark has " + asked +
                    " (one row for each pair, in the same order, is needed)");
  }

  std::vector<Section> parts_;  // one for each benchmark
  std::size_t at_ = 0;
  bool verdicts_ = false;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reward_models/replay", "1.1.0", registrar) {
  registrar.add<dt2it::RewardModel, dt2it::ReplayRewardModel>(
      "replay", "Rewards or verdicts from a file: for models and judges that were run elsewhere.");
}
