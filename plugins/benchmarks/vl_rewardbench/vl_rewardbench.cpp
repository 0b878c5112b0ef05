// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <unordered_map>

#include "dt2it/plugin.hpp"
#include "plugins/benchmarks/pairwise/pair_benchmark.hpp"
#include "plugins/benchmarks/pairwise/python_literal.hpp"
#include "plugins/benchmarks/pairwise/python_random.hpp"
#include "plugins/common/records/record_fields.hpp"

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

// lmms-eval's: whatever the case of the prefix.
std::string group_of_lower_id(std::string_view id) {
  std::string prefix(id.substr(0, id.find_first_of("_-")));
  std::transform(prefix.begin(), prefix.end(), prefix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (prefix == "hallucination" || prefix == "rlaif" || prefix == "rlhf") return "hallucination";
  if (prefix == "mathverse" || prefix == "mmmu") return "reasoning";
  return "general";
}

// Groups as those scripts list them that add up their means in the order of first appearance.
struct Appearance {
  std::vector<std::string> order;
  std::map<std::string, records::Count> counts;
  void add(const std::string& group, bool correct) {
    if (!counts.contains(group)) order.push_back(group);
    records::Count& count = counts[group];
    count.correct += correct;
    ++count.total;
  }
};

// VL-RewardBench (Li et al. 2024): 1,250 or 1,247 pairs; ids repeat. Headline: correct / all rows;
// macro accuracy is the mean of the three groups.
class VlRewardBench final : public records::PairBenchmark, public VerdictBenchmark {
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

  std::vector<std::string> conventions() const override { return {"official", "lmms", "vlmeval"}; }

  std::vector<Metric> summarise_verdicts(std::span<const JudgedItem> items,
                                         std::string_view convention) override {
    std::vector<Outcome> strict;
    for (const JudgedItem& item : items) strict.push_back(strict_outcome(item));
    std::vector<Metric> metrics =
        convention == "official" ? official(items) : single(items, convention == "lmms");
    records::append_health(metrics, strict);
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
    return {
        "data.jsonl",          "data.json",      "test.jsonl",        "combined_data_tagged.jsonl",
        "data/test-*.parquet", "test-*.parquet", "vl_rewardbench.tsv"};
  }

  // The carriers: {prompt, chosen, rejected} as converted by others, the original's {query, response, human_ranking}, where
  // rank 0 is the better one, and VLMEvalKit's table, which has a number for an id and texts for lists.
  PreferencePair read(const simdjson::dom::object& record, const std::string& where) override {
    PreferencePair pair;
    const bool table = !records::find(record, "id") && records::find(record, "index");
    pair.id = records::required_text(record, table ? "index" : "id", where);
    pair.source = "vl_rewardbench";
    pair.group = table ? normal_group(records::optional_text(record, "category", where), pair.id)
                       : group_of_id(pair.id);
    if (pair.group.empty())
      throw DataError(where + ": field 'category' is '" +
                      records::optional_text(record, "category", where) +
                      "' (allowed: " + allowed_groups() + ")");
    std::string text;
    if (records::find(record, "response")) {
      const char* question = records::find(record, "query") ? "query" : "question";
      text = records::required_text(record, question, where);
      const auto responses = both_responses(record, where);
      const std::size_t better = better_response(record, where);
      pair.chosen.text = responses[better];
      pair.rejected.text = responses[1 - better];
    } else if (records::find(record, "prompt")) {
      text = records::required_text(record, "prompt", where);
      pair.chosen.text = records::required_text(record, "chosen", where);
      pair.rejected.text = records::required_text(record, "rejected", where);
    } else {
      throw DataError(where +
                      ": not a VL-RewardBench record (allowed: id, query, response, human_ranking; "
                      "id, prompt, chosen, rejected; or "
                      "index, question, response, answer)");
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
        record, {"id", "index", "query", "question", "response", "prompt", "chosen", "rejected",
                 "image", "image_path", "ground_truth"});
    return pair;
  }

  std::string normal_group(const std::string& group, const std::string& id) const override {
    if (group.empty()) return group_of_id(id);
    std::string name = group;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return std::find(kGroups.begin(), kGroups.end(), name) == kGroups.end() ? "" : name;
  }
  std::string allowed_groups() const override { return "general, hallucination, reasoning"; }

 private:
  static std::vector<std::string> both_responses(const simdjson::dom::object& record,
                                                 const std::string& where) {
    std::string_view cell;
    if (record["response"].get(cell)) return records::text_list(record, "response", 2, where);
    const auto list = records::string_list_in(cell);
    if (!list || list->size() != 2)
      throw DataError(where +
                      ": field 'response' is a text, but no list of 2 strings (\"['...', '...']\" "
                      "is expected)");
    return *list;
  }

  // A list of two ranks, or the same as text.
  static std::size_t better_response(const simdjson::dom::object& record,
                                     const std::string& where) {
    const char* name = records::find(record, "human_ranking") ? "human_ranking" : "answer";
    const auto value = records::find(record, name);
    std::string_view cell;
    std::string ranks;
    if (value) ranks = value->get(cell) ? simdjson::minify(*value) : std::string(cell);
    std::erase(ranks, ' ');
    if (ranks == "[0,1]") return 0;
    if (ranks == "[1,0]") return 1;
    throw DataError(where + ": field '" + (value ? name : "human_ranking") +
                    "' is unusable (allowed: [0, 1] or [1, 0]; 0 is the better response)");
  }

  // The authors' cal.py: rows that are equal in id, question and responses are one; of its samples the first k in an order
  // shuffled by a fixed seed count; a row with a sample that does not parse is left out, and so is one without a majority. Its
  // loop prints k = 1, 3, 5, 7, 9 one after the other from one stream of random numbers; here too ("@k"), and at last all samples.
  static std::vector<Metric> official(std::span<const JudgedItem> items) {
    struct Line {
      std::size_t key, group;
      judging::Said said;
    };
    std::vector<Line> lines;
    std::unordered_map<std::string_view, std::size_t> keys;
    std::size_t most = 0;
    for (const JudgedItem& item : items) {
      const std::size_t key = keys.emplace(item.key, keys.size()).first->second;
      const auto group = static_cast<std::size_t>(
          std::find(kGroups.begin(), kGroups.end(), item.group) - kGroups.begin());
      most = std::max(most, item.samples.size());
      for (const JudgedSample& sample : item.samples)
        lines.push_back({key, group, judging::what_it_says(sample, true)});
    }
    struct Row {
      std::size_t agree = 0, reject = 0, unmatched = 0, group = 0;
      std::size_t all() const { return agree + reject + unmatched; }
    };
    records::PythonRandom random(1234);
    const auto count = [&](std::size_t k) {
      std::vector<Line> shuffled = lines;
      for (Line& line : shuffled)
        std::swap(line, shuffled[random.below(static_cast<std::uint32_t>(shuffled.size()))]);
      std::vector<Row> rows(keys.size());
      for (const Line& line : shuffled) {
        Row& row = rows[line.key];
        if (row.all() > 0 && row.all() >= k) continue;
        row.group = line.group;
        ++(line.said == judging::Said::chosen     ? row.agree
           : line.said == judging::Said::rejected ? row.reject
                                                  : row.unmatched);
      }
      return rows;
    };
    const auto decided = [](const std::vector<Row>& rows) {
      std::map<std::string, records::Count> groups;
      for (const Row& row : rows) {
        if (row.unmatched > 0 || row.agree == row.reject) continue;
        records::Count& group = groups[kGroups[row.group]];
        group.correct += row.agree > row.reject;
        ++group.total;
      }
      return groups;
    };
    const auto all = [](const std::map<std::string, records::Count>& groups) {
      records::Count count;
      for (const auto& [name, group] : groups)
        count.correct += group.correct, count.total += group.total;
      return count;
    };
    std::vector<Metric> by_k;
    std::optional<std::vector<Row>> last;
    for (const std::size_t k : {1, 3, 5, 7, 9}) {
      std::vector<Row> rows = count(k);
      if (k > most) continue;  // drawn all the same: the next ones start where this one ends
      const auto groups = decided(rows);
      by_k.push_back(all(groups).metric("overall_accuracy@" + std::to_string(k)));
      by_k.push_back(records::macro("macro_accuracy@" + std::to_string(k), groups, kGroups));
      if (k == most) last = std::move(rows);
    }
    const std::vector<Row> rows = last ? std::move(*last) : count(std::max<std::size_t>(1, most));
    const auto groups = decided(rows);
    const records::Count whole = all(groups);
    std::vector<Metric> metrics{whole.metric("overall_accuracy"),
                                records::macro("macro_accuracy", groups, kGroups)};
    for (const std::string& group : kGroups)
      if (const auto found = groups.find(group); found != groups.end())
        metrics.push_back(found->second.metric("accuracy/" + group));
    const auto different = static_cast<std::int64_t>(keys.size());
    metrics.push_back(records::Count{different - whole.total, different}.metric("undecided"));
    metrics.insert(metrics.end(), by_k.begin(), by_k.end());
    return metrics;
  }

  // lmms-eval and VLMEvalKit: one answer a row, in the order that the parity of the responses' length gives. What does not parse
  // is drawn by lot by the first and wrong by the second; both let a second model read replies, which is not done here.
  static std::vector<Metric> single(std::span<const JudgedItem> items, bool lmms) {
    Appearance groups;
    records::Count whole;
    std::int64_t lots = 0, other_order = 0;
    records::PythonRandom random(0);
    for (const JudgedItem& item : items) {
      const bool chosen_first = (item.length % 2 == 0) == judging::chosen_first_in_file(item);
      const JudgedSample* sample = judging::sample_shown(item, chosen_first);
      auto said = judging::Said::nothing;
      if (sample) {
        other_order += sample->chosen_first != chosen_first;
        said = lmms || sample->verdict.reply.empty() ? judging::what_it_says(*sample, false)
                                                     : judging::Said::nothing;
        if (said == judging::Said::nothing && sample->verdict.ok() &&
            sample->verdict.winner != Verdict::Winner::tie)
          said = (sample->verdict.winner == Verdict::Winner::first) == sample->chosen_first
                     ? judging::Said::chosen
                     : judging::Said::rejected;
      }
      if (lmms && said == judging::Said::nothing) {
        ++lots;
        said = (random.below(2) == 0) == chosen_first ? judging::Said::chosen
                                                      : judging::Said::rejected;
      }
      const bool correct = said == judging::Said::chosen;
      groups.add(lmms ? group_of_lower_id(item.id) : item.group, correct);
      whole.correct += correct;
      ++whole.total;
    }
    const Metric macro = records::macro("macro_accuracy", groups.counts, groups.order);
    std::vector<Metric> metrics{whole.metric("overall_accuracy"), macro};
    if (lmms) std::swap(metrics[0], metrics[1]);
    for (const std::string& group : kGroups)
      if (const auto found = groups.counts.find(group); found != groups.counts.end())
        metrics.push_back(found->second.metric("accuracy/" + group));
    const auto rows = static_cast<std::int64_t>(items.size());
    if (lmms) metrics.push_back(records::Count{lots, rows}.metric("drawn_by_lot"));
    metrics.push_back(records::Count{other_order, rows}.metric("other_order"));
    return metrics;
  }
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("benchmarks/vl_rewardbench", "1.1.0", registrar) {
  registrar.add<dt2it::Benchmark, dt2it::VlRewardBench>(
      "vl_rewardbench",
      "VL-RewardBench: 1,250 or 1,247 pairs in three groups; overall and macro accuracy.");
}
