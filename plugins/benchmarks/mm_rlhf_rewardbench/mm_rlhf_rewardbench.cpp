// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "dt2it/plugin.hpp"
#include "plugins/benchmarks/records/pair_benchmark.hpp"
#include "plugins/benchmarks/records/record_fields.hpp"

namespace dt2it {
namespace {

// In the order in which a path is searched for them.
const std::vector<std::string> kGroups{"mcq", "long", "short", "safety", "video"};

std::string group_of_path(std::string_view path) {
  for (const std::string& group : kGroups)
    if (path.find(group) != path.npos) return group;
  return "";
}

// Ids all of whose rows are correct, of all ids.
records::Count acc_plus(std::span<const Outcome> outcomes, std::string_view group = "") {
  std::map<std::string_view, bool> ids;
  for (const Outcome& outcome : outcomes)
    if (group.empty() || outcome.group == group) {
      const auto [entry, added] = ids.emplace(outcome.id, true);
      entry->second = entry->second && outcome.correct();
    }
  records::Count count;
  for (const auto& [id, right] : ids) {
    count.correct += right;
    ++count.total;
  }
  return count;
}

// MM-RLHF-RewardBench (Zhang et al. 2025): 170 pairs of 46 questions. Headline: correct / all rows;
// Acc+ counts a question only when all of its pairs are right.
class MmRlhfRewardBench final : public records::PairBenchmark {
 public:
  using Params = records::PairBenchmarkParams;
  using PairBenchmark::PairBenchmark;

  std::vector<Metric> summarise(std::span<const Outcome> outcomes) override {
    const auto groups = records::count_groups(outcomes);
    std::vector<Metric> metrics{records::count_all(outcomes).metric("accuracy"),
                                acc_plus(outcomes).metric("acc_plus")};
    for (const std::string& group : kGroups)
      if (const auto found = groups.find(group); found != groups.end()) {
        metrics.push_back(found->second.metric("accuracy/" + group));
        metrics.push_back(acc_plus(outcomes, group).metric("acc_plus/" + group));
      }
    records::append_health(metrics, outcomes);
    return metrics;
  }

  std::string edition(std::span<const Outcome> outcomes) override {
    auto groups = records::count_groups(outcomes);
    std::array<std::int64_t, 5> counts{};
    for (std::size_t i = 0; i < kGroups.size(); ++i) counts[i] = groups[kGroups[i]].total;
    const std::int64_t ids = acc_plus(outcomes).total;
    if (counts == std::array<std::int64_t, 5>{42, 37, 34, 32, 25} && ids == 46)
      return "MM-RLHF-RewardBench, 170 rows of 46 ids";
    return records::unknown_edition(outcomes, kGroups, "MM-RLHF-RewardBench",
                                    "170 rows: 42 / 37 / 34 / 32 / 25, of 46 ids") +
           "; found " + records::with_commas(ids) + " ids";
  }

 protected:
  std::vector<std::string> usual_names() const override {
    return {"mm_reward_bench.jsonl", "data.jsonl"};
  }

  PreferencePair read(const simdjson::dom::object& record, const std::string& where) override {
    PreferencePair pair;
    pair.id = records::required_text(record, "id", where);
    pair.source = "mm_rlhf_rewardbench";
    const std::string image = records::optional_text(record, "image", where);
    const std::string video = records::optional_text(record, "video", where);
    if (image.empty() == video.empty())
      throw DataError(where + ": exactly one of 'image' and 'video' is expected, " +
                      (image.empty() ? "none" : "both") + " found");
    pair.group = group_of_path(image.empty() ? video : image);
    if (pair.group.empty())
      throw DataError(where + ": no category in the path '" + image + video +
                      "' (allowed: a path with one of mcq, long, short, safety, video)");
    pair.chosen.text = records::required_text(record, "chosen", where);
    pair.rejected.text = records::required_text(record, "rejected", where);
    auto media = records::media_field(record, image.empty() ? "video" : "image", root(),
                                      this->media(), where);
    // A folder of frames that is absent looks like any absent file.
    if (image.empty())
      for (Media& one : media) one.kind = Media::Kind::video;
    pair.prompt = records::make_prompt(
        pair.id, std::move(media),
        records::strip_image_tokens(records::required_text(record, "prompt", where)), pair.source);
    pair.prompt.domain = pair.group;
    pair.chosen.id = "chosen";
    pair.rejected.id = "rejected";
    pair.chosen.origin = pair.rejected.origin = "dataset";
    pair.extra =
        records::other_fields(record, {"id", "image", "video", "prompt", "chosen", "rejected"});
    return pair;
  }

  std::string normal_group(const std::string& group, const std::string&) const override {
    return std::find(kGroups.begin(), kGroups.end(), group) == kGroups.end() ? "" : group;
  }
  std::string allowed_groups() const override { return "mcq, long, short, safety, video"; }
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("benchmarks/mm_rlhf_rewardbench", "1.0.0", registrar) {
  registrar.add<dt2it::Benchmark, dt2it::MmRlhfRewardBench>(
      "mm_rlhf_rewardbench",
      "MM-RLHF-RewardBench: 170 pairs of 46 questions; accuracy and acc_plus.");
}
