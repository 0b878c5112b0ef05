// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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
  double value() const { return whole ? static_cast<double>(part) / static_cast<double>(whole) : 0; }
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
    return fmt::format("{:.1f} % ({} of {}; {:.1f} to {:.1f} %)", 100 * value(), part, whole, 100 * low, 100 * high);
  }
  std::string json() const {
    const auto [low, high] = interval();
    return fmt::format("{{\"part\":{},\"of\":{},\"low\":{:.6f},\"high\":{:.6f}}}", part, whole, low, high);
  }
};

class AuditedCurator final : public Curator {
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
    schema.component<Curator>("curator", &Params::curator, "The curator whose flips are audited.").required();
    schema.component<Judge>("judges", &Params::judges, "The judges that look at samples.").required();
    schema.field("both_orders", &Params::both_orders, "Ask each judge twice, with the responses in either order.");
    schema.field("concurrency", &Params::concurrency, "Comparisons in flight at a time.").min(1).max(256);
    schema.field("sample", &Params::sample, "Pairs of a source that are judged, of all and once more of those that would be flipped.").min(1);
    schema.field("min_right", &Params::min_right, "Share of the flips that must be right; below it flipping is harmful.").min(0).max(1);
    schema.field("sure", &Params::sure, "Compare the lower end of the interval of that share with min_right, not the share.");
    schema.field("when_harmful", &Params::when_harmful, "warn, or skip: no label of the source is flipped.").choices({"warn", "skip"});
  }
  AuditedCurator(const Params& params, Context& context)
      : params_(params), context_(context), curator_(context.component<Curator>(params.curator)),
        panel_(params.judges, params.both_orders, params.concurrency, context) {}

  std::vector<Decision> review(std::span<const PreferencePair> pairs) override {
    std::vector<Decision> decisions = curator_->review(pairs);
    if (decisions.size() != pairs.size())
      throw PluginError(fmt::format("curator '{}' gave {} decisions for {} pairs", params_.curator, decisions.size(), pairs.size()));
    std::vector<std::size_t> flips, all(pairs.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    for (std::size_t i = 0; i < pairs.size(); ++i)
      if (decisions[i].action == Decision::Action::flip) flips.push_back(i);
    const std::string source = pairs.empty() ? "" : pairs.front().source;
    const Share wrong = share_against(pairs, drawn(pairs, all, "noise/" + source));
    const Share right = share_against(pairs, drawn(pairs, flips, "flips/" + source));
    const std::string name = source.empty() ? "this source" : "'" + source + "'";
    // What flipping does to the number of wrong labels: each right flip mends one, each other spoils one.
    const double effect = static_cast<double>(flips.size()) * (1 - 2 * right.value());
    context_.log(LogLevel::info,
                 fmt::format("{}: labels that the judges find wrong: {}; of {} flips right: {}; expected change of wrong labels: {:+.0f}",
                             name, wrong.text(), flips.size(), right.text(), right.whole ? effect : 0.0));
    const bool harmful = right.whole > 0 && (params_.sure ? right.interval().first : right.value()) < params_.min_right;
    const std::string detail = fmt::format("{{\"labels_wrong\":{},\"flips\":{},\"flips_right\":{},\"skipped\":{}}}", wrong.json(), flips.size(),
                                           right.json(), harmful && params_.when_harmful == "skip");
    if (harmful)
      context_.log(LogLevel::warning, fmt::format("{}: only {} of the flips are right, fewer than {:.0f} %: {}", name, right.text(),
                                                  100 * params_.min_right,
                                                  params_.when_harmful == "skip" ? "no label is flipped" : "flipping spoils this source"));
    for (const std::size_t i : flips) {
      decisions[i].detail = detail;
      if (!harmful || params_.when_harmful != "skip") continue;
      decisions[i].action = Decision::Action::undecided;
      decisions[i].settled = false;
      decisions[i].reason += fmt::format("; not flipped: judges find only {} of the flips right", right.text());
    }
    return decisions;
  }

 private:
  // At most `sample` of them, the same whatever their order.
  std::vector<std::size_t> drawn(std::span<const PreferencePair> pairs, std::vector<std::size_t> from, const std::string& stream) const {
    std::sort(from.begin(), from.end(), [&](std::size_t a, std::size_t b) {
      return pairs[a].id != pairs[b].id ? pairs[a].id < pairs[b].id : a < b;
    });
    context_.rng("audit/" + stream).shuffle(from);
    from.resize(std::min(from.size(), static_cast<std::size_t>(params_.sample)));
    return from;
  }

  // Of the pairs on which the judges have an opinion, how many labels they find wrong.
  Share share_against(std::span<const PreferencePair> pairs, const std::vector<std::size_t>& which) const {
    Share share;
    for (const PanelVote& vote : panel_.ask(pairs, which)) {
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

DT2IT_PLUGIN("curators/audited", "1.0.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::AuditedCurator>(
      "audited", "Has judges look at a sample before another curator's flips are applied.");
}
