// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "../judge_panel.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

// A share with the Wilson score interval of 95 % (Wilson 1927).
struct Share {
  std::size_t part = 0, whole = 0;
  double value() const {
    return whole ? static_cast<double>(part) / static_cast<double>(whole) : 0;
  }
  std::pair<double, double> interval() const {
    if (whole == 0) return {0, 1};
    constexpr double z = 1.959963984540054;
    const double n = static_cast<double>(whole), p = value();
    const double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
    const double reach = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n);
    return {std::max(0.0, middle - reach), std::min(1.0, middle + reach)};
  }
  std::string text() const {
    const auto [low, high] = interval();
    return fmt::format("{:.1f} % ({} of {}; {:.1f} to {:.1f} %)", 100 * value(), part, whole,
                       100 * low, 100 * high);
  }
  std::string json() const {
    const auto [low, high] = interval();
    return fmt::format("{{\"part\":{},\"of\":{},\"low\":{:.6f},\"high\":{:.6f}}}", part, whole, low,
                       high);
  }
};

class AuditedCurator final : public SurveyingCurator {
 public:
  struct Params {
    std::string curator;
    std::vector<std::string> judges;
    bool both_orders = true;
    int concurrency = 8;
    std::int64_t sample = 50;
    double min_right = 0.5;
    bool sure = false;
    std::string when_harmful = "warn";
  };
  static void describe(Schema<Params>& schema) {
    schema.component<Curator>("curator", &Params::curator, "The curator whose flips are audited.")
        .required();
    schema.component<Judge>("judges", &Params::judges, "The judges that look at samples.")
        .required();
    schema.field("both_orders", &Params::both_orders,
                 "Ask each judge twice, with the responses in either order.");
    schema.field("concurrency", &Params::concurrency, "Comparisons in flight at a time.")
        .min(1)
        .max(256);
    schema
        .field("sample", &Params::sample,
               "Pairs of a source that are judged, of all and once more of those that would be "
               "flipped.")
        .min(1);
    schema
        .field("min_right", &Params::min_right,
               "Share of the flips that must be right; below it flipping is harmful.")
        .min(0)
        .max(1);
    schema.field(
        "sure", &Params::sure,
        "Compare the lower end of the interval of that share with min_right, not the share.");
    schema
        .field("when_harmful", &Params::when_harmful,
               "warn, or skip: no label of the source is flipped.")
        .choices({"warn", "skip"});
  }
  AuditedCurator(const Params& params, Context& context)
      : params_(params),
        context_(context),
        curator_(context.component<Curator>(params.curator)),
        panel_(params.judges, params.both_orders, params.concurrency, context) {}

  std::unique_ptr<Survey> survey(const std::string& source) override {
    return std::make_unique<Source>(*this, source);
  }

 private:
  // At most `size` pairs of those that are offered, the same whatever their order.
  class Sample {
   public:
    Sample(std::size_t size, std::uint64_t seed) : size_(size), seed_(seed) {}
    void offer(const PreferencePair& pair) {
      const auto rank = std::make_pair(stable_hash(pair.id, seed_), pair.id);
      if (drawn_.size() == size_ && !(rank < std::prev(drawn_.end())->first)) return;
      drawn_.emplace(rank, pair);
      if (drawn_.size() > size_) drawn_.erase(std::prev(drawn_.end()));
    }
    std::vector<PreferencePair> pairs() const {
      std::vector<PreferencePair> all;
      for (const auto& [rank, pair] : drawn_) all.push_back(pair);
      return all;
    }

   private:
    const std::size_t size_;
    const std::uint64_t seed_;
    std::multimap<std::pair<std::uint64_t, std::string>, PreferencePair> drawn_;
  };

  // All pairs are added until the audited curator has seen them as often as it wants, and once more: to draw from its flips.
  class Source final : public Survey {
   public:
    Source(AuditedCurator& curator, const std::string& source)
        : curator_(curator),
          source_(source),
          surveying_(dynamic_cast<SurveyingCurator*>(curator.curator_.get())),
          all_(static_cast<std::size_t>(curator.params_.sample),
               curator.context_.rng("audit/noise/" + source).next()),
          flips_(static_cast<std::size_t>(curator.params_.sample),
                 curator.context_.rng("audit/flips/" + source).next()) {
      if (surveying_) inner_ = surveying_->survey(source);
    }

    void add(std::span<const PreferencePair> pairs) override {
      if (round_ == 0)
        for (const PreferencePair& pair : pairs) all_.offer(pair);
      if (inner_ && !surveyed_) return inner_->add(pairs);
      const std::vector<Decision> decisions = inner_decisions(pairs, seen_);
      seen_ += pairs.size();
      for (std::size_t i = 0; i < pairs.size(); ++i)
        if (decisions[i].action == Decision::Action::flip) {
          ++flip_count_;
          flips_.offer(pairs[i]);
        }
    }

    bool again() override {
      ++round_;
      if (!inner_ || surveyed_) return false;
      surveyed_ = !inner_->again();
      return true;
    }

    std::vector<Decision> decide(std::span<const PreferencePair> pairs,
                                 std::size_t first) override {
      if (!audited_) audit();
      audited_ = true;
      std::vector<Decision> decisions = inner_decisions(pairs, first);
      for (Decision& decision : decisions) {
        if (decision.action != Decision::Action::flip) continue;
        decision.detail = detail_;
        if (!skip_) continue;
        decision.action = Decision::Action::undecided;
        decision.settled = false;
        decision.reason += why_not_;
      }
      return decisions;
    }

   private:
    std::vector<Decision> inner_decisions(std::span<const PreferencePair> pairs,
                                          std::size_t first) {
      std::vector<Decision> decisions =
          inner_ ? inner_->decide(pairs, first) : curator_.curator_->review(pairs);
      if (decisions.size() != pairs.size())
        throw PluginError(fmt::format("curator '{}' gave {} decisions for {} pairs",
                                      curator_.params_.curator, decisions.size(), pairs.size()));
      return decisions;
    }

    void audit() {
      const Params& params = curator_.params_;
      const Share wrong = curator_.share_against(all_.pairs());
      const Share right = curator_.share_against(flips_.pairs());
      const std::string name = source_.empty() ? "this source" : "'" + source_ + "'";
      // What flipping does to the number of wrong labels: each right flip mends one, each other spoils one.
      const double effect = static_cast<double>(flip_count_) * (1 - 2 * right.value());
      curator_.context_.log(
          LogLevel::info,
          fmt::format("{}: labels that the judges find wrong: {}; of {} flips right: {}; expected "
                      "change of wrong labels: {:+.0f}",
                      name, wrong.text(), flip_count_, right.text(), right.whole ? effect : 0.0));
      const bool harmful = right.whole > 0 && (params.sure ? right.interval().first
                                                           : right.value()) < params.min_right;
      skip_ = harmful && params.when_harmful == "skip";
      detail_ =
          fmt::format("{{\"labels_wrong\":{},\"flips\":{},\"flips_right\":{},\"skipped\":{}}}",
                      wrong.json(), flip_count_, right.json(), skip_);
      why_not_ = fmt::format("; not flipped: judges find only {} of the flips right", right.text());
      if (harmful)
        curator_.context_.log(
            LogLevel::warning,
            fmt::format("{}: only {} of the flips are right, fewer than {:.0f} %: {}", name,
                        right.text(), 100 * params.min_right,
                        skip_ ? "no label is flipped" : "flipping spoils this source"));
    }

    AuditedCurator& curator_;
    const std::string source_;
    SurveyingCurator* const surveying_;
    std::unique_ptr<Survey> inner_;
    Sample all_, flips_;
    std::size_t round_ = 0, seen_ = 0, flip_count_ = 0;
    bool surveyed_ = false, audited_ = false, skip_ = false;
    std::string detail_, why_not_;
  };

  // Of the pairs on which the judges have an opinion, how many labels they find wrong.
  Share share_against(const std::vector<PreferencePair>& pairs) const {
    std::vector<std::size_t> all(pairs.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    Share share;
    for (const PanelVote& vote : panel_.ask(pairs, all)) {
      if (vote.chosen == vote.rejected) continue;
      ++share.whole;
      share.part += vote.rejected > vote.chosen;
    }
    return share;
  }

  const Params params_;
  Context& context_;
  const std::shared_ptr<Curator> curator_;
  const JudgePanel panel_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("curators/audited", "2.0.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::AuditedCurator>(
      "audited", "Has judges look at a sample before another curator's flips are applied.");
}
