// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "dt2it/plugin.hpp"
#include "plugins/benchmarks/pairwise/pair_benchmark.hpp"
#include "plugins/common/records/record_fields.hpp"

namespace dt2it {
namespace {

// In the order in which a path is searched for them.
const std::vector<std::string> kGroups{"mcq", "long", "short", "safety", "video"};

// Of no category: such rows are in the figures over all rows only, as in the suite's script.
constexpr char kOther[] = "other";

std::string group_of_path(std::string_view path) {
  for (const std::string& group : kGroups)
    if (path.find(group) != path.npos) return group;
  return kOther;
}

// Questions by their id: right when all their rows are. A question counts in every category whose word is anywhere in a path of
// its rows, but is right in the first of them alone, and only where no row of it, of whatever category, is wrong: so the suite's
// script has it. In the published file each path has one of the words and all rows of a question share it.
class Questions {
 public:
  // `paths`: of the media by row; where there is none the outcome's group is its category.
  Questions(std::span<const Outcome> outcomes, const std::vector<std::string>& paths) {
    for (const Outcome& outcome : outcomes) {
      Question& question = questions_[outcome.id];
      question.right = question.right && outcome.correct();
      unsigned groups = 0;
      for (std::size_t g = 0; outcome.row < paths.size() && g < kGroups.size(); ++g)
        if (paths[outcome.row].find(kGroups[g]) != std::string::npos) groups |= 1U << g;
      for (std::size_t g = 0; groups == 0 && g < kGroups.size();
           ++g)  // a stand-in's media have other names
        if (outcome.group == kGroups[g]) groups |= 1U << g;
      question.groups |= groups;
    }
  }
  records::Count all() const {
    records::Count count;
    for (const auto& [id, question] : questions_) count.correct += question.right, ++count.total;
    return count;
  }
  records::Count of(std::size_t group) const {
    records::Count count;
    for (const auto& [id, question] : questions_) {
      const bool first = (question.groups & ((1U << group) - 1)) == 0,
                 in = question.groups >> group & 1;
      count.correct += question.right && in && first;
      count.total += in;
    }
    return count;
  }

 private:
  struct Question {
    bool right = true;
    unsigned groups = 0;  // a bit for each
  };
  std::map<std::string_view, Question> questions_;
};

// MM-RLHF-RewardBench (Zhang et al. 2025): 170 pairs of 46 questions. Headline: correct / all rows;
// Acc+ counts a question only when all of its pairs are right.
class MmRlhfRewardBench final : public records::PairBenchmark, public VerdictBenchmark {
 public:
  using Params = records::PairBenchmarkParams;
  using PairBenchmark::PairBenchmark;

  std::vector<Metric> summarise(std::span<const Outcome> outcomes) override {
    return metrics_of(outcomes, paths_);
  }

  // No script counts verdicts here; stored ones know the paths that categories come from.
  std::vector<std::string> conventions() const override { return {"official"}; }
  std::vector<Metric> summarise_verdicts(std::span<const JudgedItem> items,
                                         std::string_view) override {
    std::vector<Outcome> outcomes;
    std::vector<std::string> paths;
    for (const JudgedItem& item : items) {
      outcomes.push_back(strict_outcome(item));
      paths.resize(std::max(paths.size(), item.row + 1));
      paths[item.row] = item.media;
    }
    return metrics_of(outcomes, paths);
  }

  std::string edition(std::span<const Outcome> outcomes) override {
    auto groups = records::count_groups(outcomes);
    std::array<std::int64_t, 5> counts{};
    for (std::size_t i = 0; i < kGroups.size(); ++i) counts[i] = groups[kGroups[i]].total;
    const std::int64_t ids = Questions(outcomes, {}).all().total;
    if (counts == std::array<std::int64_t, 5>{42, 37, 34, 32, 25} && ids == 46)
      return "MM-RLHF-RewardBench, 170 rows of 46 ids";
    std::vector<std::string> names = kGroups;
    names.emplace_back(kOther);
    return records::unknown_edition(outcomes, names, "MM-RLHF-RewardBench",
                                    "170 rows: 42 / 37 / 34 / 32 / 25, of 46 ids") +
           "; found " + records::with_commas(ids) + " ids";
  }

 protected:
  std::vector<std::string> usual_names() const override {
    return {"mm_reward_bench.jsonl", "data.jsonl", "data/train-*.parquet", "train-*.parquet"};
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

  void on_item(std::size_t row, const PreferencePair& pair) override {
    paths_.resize(std::max(paths_.size(), row + 1));
    for (const Part& part : pair.prompt.messages.front().content)
      if (part.kind != Part::Kind::text) paths_[row] = part.media.source;
  }

 private:
  static std::vector<Metric> metrics_of(std::span<const Outcome> outcomes,
                                        const std::vector<std::string>& paths) {
    const auto groups = records::count_groups(outcomes);
    const Questions questions(outcomes, paths);
    std::vector<Metric> metrics{records::count_all(outcomes).metric("accuracy"),
                                questions.all().metric("acc_plus")};
    for (std::size_t g = 0; g < kGroups.size(); ++g)
      if (const auto found = groups.find(kGroups[g]); found != groups.end()) {
        metrics.push_back(found->second.metric("accuracy/" + kGroups[g]));
        metrics.push_back(questions.of(g).metric("acc_plus/" + kGroups[g]));
      }
    records::append_health(metrics, outcomes);
    return metrics;
  }

  std::vector<std::string> paths_;  // of the items' media, by row
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("benchmarks/mm_rlhf_rewardbench", "1.1.0", registrar) {
  registrar.add<dt2it::Benchmark, dt2it::MmRlhfRewardBench>(
      "mm_rlhf_rewardbench",
      "MM-RLHF-RewardBench: 170 pairs of 46 questions; accuracy and acc_plus.");
}
