// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "dt2it/plugin.hpp"
#include "plugins/benchmarks/pairwise/pair_benchmark.hpp"
#include "plugins/benchmarks/pairwise/python_random.hpp"
#include "plugins/common/records/record_fields.hpp"

namespace dt2it {
namespace {

const std::vector<std::string> kGroups{"correctness", "preference", "knowledge", "math",
                                       "coding",      "safety",     "vqa"};
constexpr char kCategories[] =
    "open_generation/correctness_task, open_generation/preference_task, knowledge, reasoning, "
    "safety, vqa";

bool starts_with_lower(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(), [](char p, char t) {
           return p == (t >= 'A' && t <= 'Z' ? static_cast<char>(t - 'A' + 'a') : t);
         });
}

// The paper's column for a record's Category; empty when there is none.
std::string group_of(std::string_view category, std::string_view id) {
  if (category == "open_generation/correctness_task") return "correctness";
  if (category == "open_generation/preference_task") return "preference";
  if (category == "reasoning") return starts_with_lower(id, "math") ? "math" : "coding";
  for (const std::string& group : kGroups)
    if (category == group) return group;
  return "";
}

// Multimodal RewardBench (Yasunaga et al. 2025): 4,711 pairs as released, 5,211 with Hateful Memes.
// Headline: correct / all rows; macro accuracy is the mean of the seven columns, which some
// published rows print as "Overall".
class MultimodalRewardBench final : public records::PairBenchmark, public VerdictBenchmark {
 public:
  using Params = records::PairBenchmarkParams;
  using PairBenchmark::PairBenchmark;

  std::vector<Metric> summarise(std::span<const Outcome> outcomes) override {
    std::vector<Metric> metrics = accuracies(outcomes);
    records::append_health(metrics, outcomes);
    return metrics;
  }

  std::vector<std::string> conventions() const override { return {"official", "lmms"}; }

  // One answer a row, in the order of the file where there is one; what names neither side is drawn by lot: by the official
  // script from one stream of random numbers, by lmms-eval from a stream that is seeded anew for each row, so always for A.
  std::vector<Metric> summarise_verdicts(std::span<const JudgedItem> items,
                                         std::string_view convention) override {
    std::vector<Outcome> strict, counted;
    records::PythonRandom random(123);
    std::int64_t lots = 0, other_order = 0;
    for (const JudgedItem& item : items) {
      strict.push_back(strict_outcome(item));
      const bool chosen_first = judging::chosen_first_in_file(item);
      const JudgedSample* sample = judging::sample_shown(item, chosen_first);
      auto said = sample ? judging::what_it_says(*sample, false) : judging::Said::nothing;
      other_order += sample && sample->chosen_first != chosen_first;
      if (said == judging::Said::nothing) {
        ++lots;
        const bool letter_a = convention == "lmms" || random.uniform() < 0.5;
        said = letter_a == (sample ? sample->chosen_first : chosen_first) ? judging::Said::chosen
                                                                          : judging::Said::rejected;
      }
      const bool correct = said == judging::Said::chosen;
      counted.push_back(
          {item.row, item.id, item.group, Status::ok, correct ? 1.0 : 0.0, correct ? 0.0 : 1.0});
    }
    std::vector<Metric> metrics = accuracies(counted);
    const auto rows = static_cast<std::int64_t>(items.size());
    metrics.push_back(records::Count{lots, rows}.metric("drawn_by_lot"));
    metrics.push_back(records::Count{other_order, rows}.metric("other_order"));
    records::append_health(metrics, strict);
    return metrics;
  }

  std::string edition(std::span<const Outcome> outcomes) override {
    auto groups = records::count_groups(outcomes);
    std::array<std::int64_t, 7> counts{};
    for (std::size_t i = 0; i < kGroups.size(); ++i) counts[i] = groups[kGroups[i]].total;
    const bool same_rest = counts[0] == 623 && counts[1] == 654 && counts[2] == 630 &&
                           counts[3] == 514 && counts[4] == 584 && counts[6] == 1198;
    const auto [bias, toxicity] = safety(outcomes);
    if (same_rest && bias.total == 508 && toxicity.total == 0)
      return "Multimodal RewardBench, 4,711 rows (as released, without Hateful Memes)";
    if (same_rest && bias.total == 508 && toxicity.total == 500)
      return "Multimodal RewardBench, 5,211 rows (with Hateful Memes)";
    return records::unknown_edition(
        outcomes, kGroups, "Multimodal RewardBench",
        "4,711 rows: 623 / 654 / 630 / 514 / 584 / 508 / 1,198; 5,211 rows: safety 1,008");
  }

 protected:
  std::vector<std::string> usual_names() const override {
    return {"all_data.json",         "data/all_data.json",
            "all_data.jsonl",        "data.jsonl",
            "data/test-*.parquet",   "test-*.parquet",
            "all_data_release.json", "data/all_data_release.json"};
  }

  PreferencePair read(const simdjson::dom::object& record, const std::string& where) override {
    PreferencePair pair;
    pair.id = records::required_text(record, "ID", where);
    pair.source = "multimodal_rewardbench";
    const std::string category = records::required_text(record, "Category", where);
    pair.group = group_of(category, pair.id);
    if (pair.group.empty())
      throw DataError(where + ": field 'Category' is '" + category + "' (allowed: " + kCategories +
                      ")");
    const std::string better = records::required_text(record, "Better", where);
    if (better != "Output1" && better != "Output2")
      throw DataError(where + ": field 'Better' is '" + better + "' (allowed: Output1, Output2)");
    const bool first = better == "Output1";
    pair.chosen.text = records::required_text(record, first ? "Output1" : "Output2", where);
    pair.rejected.text = records::required_text(record, first ? "Output2" : "Output1", where);
    // The release has no texts of third parties: null until its download script has filled them in.
    const std::string text = records::optional_text(record, "Text", where);
    pair.prompt =
        records::make_prompt(pair.id, records::media_field(record, "Image", root(), media(), where),
                             records::strip_image_tokens(text), pair.source);
    pair.prompt.domain = pair.group;
    pair.chosen.id = "chosen";
    pair.rejected.id = "rejected";
    pair.chosen.origin = pair.rejected.origin = "dataset";
    pair.extra = records::other_fields(record, {"ID", "Text", "Image", "Output1", "Output2"});
    return pair;
  }

  std::string normal_group(const std::string& group, const std::string& id) const override {
    return group_of(group, id);
  }
  std::string allowed_groups() const override {
    return "correctness, preference, knowledge, math, coding, safety, vqa, or the Category "
           "values " +
           std::string(kCategories);
  }

 private:
  static std::vector<Metric> accuracies(std::span<const Outcome> outcomes) {
    const auto groups = records::count_groups(outcomes);
    const records::Count all = records::count_all(outcomes);
    std::vector<Metric> metrics{all.metric("overall_accuracy"),
                                records::macro("macro_accuracy", groups, kGroups)};
    for (const std::string& group : kGroups)
      if (const auto found = groups.find(group); found != groups.end())
        metrics.push_back(found->second.metric("accuracy/" + group));
    const auto [bias, toxicity] = safety(outcomes);
    if (bias.total) metrics.push_back(bias.metric("accuracy/safety_bias"));
    if (toxicity.total) metrics.push_back(toxicity.metric("accuracy/safety_toxicity"));
    if (const auto found = groups.find("safety");
        found != groups.end() && found->second.total < all.total)
      metrics.push_back(
          records::Count{all.correct - found->second.correct, all.total - found->second.total}
              .metric("accuracy_without_safety"));
    return metrics;
  }

  static std::pair<records::Count, records::Count> safety(std::span<const Outcome> outcomes) {
    std::pair<records::Count, records::Count> bias_toxicity;
    for (const Outcome& outcome : outcomes)
      if (outcome.group == "safety")
        (starts_with_lower(outcome.id, "pairs") ? bias_toxicity.first : bias_toxicity.second)
            .add(outcome);
    return bias_toxicity;
  }
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("benchmarks/multimodal_rewardbench", "1.1.0", registrar) {
  registrar.add<dt2it::Benchmark, dt2it::MultimodalRewardBench>(
      "multimodal_rewardbench",
      "Multimodal RewardBench: 4,711 or 5,211 pairs in seven columns; overall and macro accuracy.");
}
