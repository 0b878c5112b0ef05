// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "dt2it/plugin.hpp"
#include "plugins/benchmarks/records/pair_benchmark.hpp"
#include "plugins/benchmarks/records/record_fields.hpp"

namespace dt2it {
namespace {

const std::vector<std::string> kGroups{"general", "hallucination", "reasoning"};

// The group is coded in the id: its text before the first '_' or '-'.
std::string group_of_id(std::string_view id) {
  const std::string_view prefix = id.substr(0, id.find_first_of("_-"));
  if (prefix == "hallucination" || prefix == "RLAIF" || prefix == "RLHF") return "hallucination";
  if (prefix == "mathverse" || prefix == "mmmu") return "reasoning";
  return "general";
}

// VL-RewardBench (Li et al. 2024): 1,250 or 1,247 pairs; ids repeat. Headline: correct / all rows;
// macro accuracy is the mean of the three groups.
class VlRewardBench final : public records::PairBenchmark {
 public:
  using Params = records::PairBenchmarkParams;
  using PairBenchmark::PairBenchmark;

  std::vector<Metric> summarise(std::span<const Outcome> outcomes) override {
    const auto groups = records::count_groups(outcomes);
    std::vector<Metric> metrics{records::count_all(outcomes).metric("overall_accuracy"),
                                records::macro("macro_accuracy", groups, kGroups)};
    for (const std::string& group : kGroups)
      if (const auto found = groups.find(group); found != groups.end())
        metrics.push_back(found->second.metric("accuracy/" + group));
    records::append_health(metrics, outcomes);
    return metrics;
  }

  std::string edition(std::span<const Outcome> outcomes) override {
    auto groups = records::count_groups(outcomes);
    const std::array counts{groups["general"].total, groups["hallucination"].total,
                            groups["reasoning"].total};
    if (counts == std::array<std::int64_t, 3>{183, 749, 318}) return "VL-RewardBench, 1,250 rows";
    if (counts == std::array<std::int64_t, 3>{181, 749, 317}) return "VL-RewardBench, 1,247 rows";
    return records::unknown_edition(outcomes, kGroups, "VL-RewardBench",
                                    "1,250 rows: 183 / 749 / 318; 1,247 rows: 181 / 749 / 317");
  }

 protected:
  std::vector<std::string> usual_names() const override {
    return {"data.jsonl", "data.json", "test.jsonl", "combined_data_tagged.jsonl"};
  }

  // Both carriers: {prompt, chosen, rejected} as converted by others, and the original's {query,
  // response, human_ranking}, where rank 0 is the better one.
  PreferencePair read(const simdjson::dom::object& record, const std::string& where) override {
    PreferencePair pair;
    pair.id = records::required_text(record, "id", where);
    pair.source = "vl_rewardbench";
    pair.group = group_of_id(pair.id);
    std::string text;
    if (records::find(record, "query")) {
      text = records::required_text(record, "query", where);
      const auto responses = records::text_list(record, "response", 2, where);
      const std::size_t better = better_response(record, where);
      pair.chosen.text = responses[better];
      pair.rejected.text = responses[1 - better];
    } else if (records::find(record, "prompt")) {
      text = records::required_text(record, "prompt", where);
      pair.chosen.text = records::required_text(record, "chosen", where);
      pair.rejected.text = records::required_text(record, "rejected", where);
    } else {
      throw DataError(
          where +
          ": not a VL-RewardBench record (allowed: id, query, response, human_ranking, or id, "
          "prompt, chosen, rejected)");
    }
    auto media = records::media_field(record, "image", root(), this->media(), where);
    if (media.empty())
      media = records::media_field(record, "image_path", root(), this->media(), where);
    pair.prompt = records::make_prompt(pair.id, std::move(media), records::strip_image_tokens(text),
                                       pair.source);
    pair.prompt.reference = records::optional_text(record, "ground_truth", where);
    pair.prompt.domain = pair.group;
    pair.chosen.id = "chosen";
    pair.rejected.id = "rejected";
    pair.chosen.origin = pair.rejected.origin = "dataset";
    pair.extra = records::other_fields(
        record, {"id", "query", "response", "human_ranking", "prompt", "chosen", "rejected",
                 "image", "image_path", "ground_truth"});
    return pair;
  }

  std::string normal_group(const std::string& group, const std::string& id) const override {
    if (group.empty()) return group_of_id(id);
    return std::find(kGroups.begin(), kGroups.end(), group) == kGroups.end() ? "" : group;
  }
  std::string allowed_groups() const override { return "general, hallucination, reasoning"; }

 private:
  static std::size_t better_response(const simdjson::dom::object& record,
                                     const std::string& where) {
    const std::string problem =
        where +
        ": field 'human_ranking' is unusable (allowed: [0, 1] or [1, 0]; 0 is the better response)";
    simdjson::dom::array ranks;
    const auto value = records::find(record, "human_ranking");
    if (!value || value->get(ranks)) throw DataError(problem);
    std::vector<std::int64_t> numbers;
    for (const auto& rank : ranks) {
      std::int64_t number = 0;
      if (rank.get(number)) throw DataError(problem);
      numbers.push_back(number);
    }
    if (numbers == std::vector<std::int64_t>{0, 1}) return 0;
    if (numbers == std::vector<std::int64_t>{1, 0}) return 1;
    throw DataError(problem);
  }
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("benchmarks/vl_rewardbench", "1.0.0", registrar) {
  registrar.add<dt2it::Benchmark, dt2it::VlRewardBench>(
      "vl_rewardbench",
      "VL-RewardBench: 1,250 or 1,247 pairs in three groups; overall and macro accuracy.");
}
