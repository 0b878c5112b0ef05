// SPDX-License-Identifier: Apache-2.0
// Curates preference pairs by a chain of curators (paper section 3.3): each source by itself; the
// host applies what they decide. Pairs pass by in windows and are never all in memory; what the
// curators have made of each so far is.
#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/data/pair_marks.hpp"
#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/run/scope.hpp"
#include "core/stages/decision_log.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/gate.hpp"
#include "core/stages/pair_files.hpp"
#include "core/stages/pair_windows.hpp"
#include "core/stages/planned_pairs.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
#include "core/util/file_writer.hpp"
#include "core/util/progress.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

struct CurateParams {
  std::vector<std::string> pairs;
  std::vector<std::string> curators;
  std::string undecided = "keep";

  static void describe(Schema<CurateParams>& schema) {
    schema.component<StageInputs>("pairs", &CurateParams::pairs, "Stages whose pairs are curated.")
        .required();
    schema
        .component<Curator>("curators", &CurateParams::curators,
                            "Curators in their order; each sees what those before it left open.")
        .required();
    schema
        .field("undecided", &CurateParams::undecided,
               "What becomes of pairs that no curator settles.")
        .choices({"keep", "discard"});
  }
};

// Pairs are read, reviewed and put on record by so many. What was paid for in a window is found in
// the store of calls, should the process die within it.
constexpr std::size_t kWindow = 512;

void swap_labels(PreferencePair& pair) {
  std::swap(pair.chosen, pair.rejected);
  if (pair.rejected_prompt) std::swap(pair.prompt, *pair.rejected_prompt);
}

// Does what a decision says to a pair, or to what is remembered of one.
template <class Pair>
void apply(const Decision& decision, Pair& pair, const auto& swap) {
  if (decision.strength) {
    pair.strength = decision.strength;
    pair.strengths = decision.strengths;
  }
  if (decision.action != Decision::Action::flip) return;
  swap(pair);
  if (pair.strength) pair.strength = -*pair.strength;
  for (double& one : pair.strengths) one = -one;
}

// What has become of a pair.
struct State {
  bool settled = false;
  bool discarded = false;
  bool flipped = false;            // against the data
  std::optional<double> strength;  // none: as in the data
  std::vector<double> strengths;

  void take(const Decision& decision) {
    apply(decision, *this, [](State& state) { state.flipped = !state.flipped; });
    discarded = decision.action == Decision::Action::discard;
    settled = discarded || decision.action == Decision::Action::keep ||
              (decision.action == Decision::Action::flip && decision.settled);
  }

  // The pair of the data as it stands.
  void show_on(PreferencePair& pair) const {
    if (flipped) {
      swap_labels(pair);
      if (pair.strength) pair.strength = -*pair.strength;
      for (double& one : pair.strengths) one = -one;
    }
    if (strength) {
      pair.strength = strength;
      pair.strengths = strengths;
    }
  }
};

class Curation {
 public:
  Curation(const CurateParams& params, StageRun& stage)
      : params_(params),
        stage_(stage),
        paths_(pair_files(stage, params.pairs)),
        files_(paths_),
        states_(files_.count()),
        marks_(files_.count()),
        log_(stage.work),
        counts_(params.curators.size()) {
    for (const std::string& name : params.curators)
      curators_.push_back(stage.context().component<Curator>(name));
    stage.progress->set_total(files_.count() * curators_.size());
  }

  // Curators that see one part of a source at a time work in one pass. One that surveys begins a
  // new pass, for it has to know what those before it settled.
  void run() {
    for (std::size_t begin = 0; begin < curators_.size();) {
      std::size_t end = begin + 1;
      while (end < curators_.size() && !surveying(end)) ++end;
      if (surveying(begin)) survey(begin);
      pass(begin, end);
      surveys_.clear();
      begin = end;
    }
    write_pairs();
    log_.put_into(stage_.output / layout::kDecisions);
  }

 private:
  SurveyingCurator* surveying(std::size_t curator) const {
    return dynamic_cast<SurveyingCurator*>(curators_[curator].get());
  }

  // Open pairs of a window and one source, as they stand.
  struct Group {
    std::vector<std::size_t> rows;
    // The first as many as there are rows; those behind them are kept for their memory.
    std::vector<PreferencePair> pairs;

    std::span<const PreferencePair> open() const { return std::span(pairs).first(rows.size()); }
    // Where the next one is to be put.
    PreferencePair& next() {
      return rows.size() < pairs.size() ? pairs[rows.size()] : pairs.emplace_back();
    }
  };
  // All open pairs of a window.
  struct Open {
    std::size_t size = 0;  // of the window
    std::map<std::string, Group> groups;
    PreferencePair pair;  // scratch
  };
  using Windows = PairWindows<Open>;

  // Called in several threads: a window's states are another's business only once that was handed
  // over.
  Windows windows() {
    const bool first_pass = !std::exchange(marked_, true);
    return Windows(paths_, kWindow, [this, first_pass](PairLines& lines, Open& open) {
      open.size = lines.size();
      for (auto& [source, group] : open.groups) group.rows.clear();
      auto guess = open.groups.end();  // most pairs are of the source of the one before them
      for (std::size_t i = 0; i < lines.size(); ++i) {
        const std::size_t row = lines.first() + i;
        const State& state = states_.at(row);
        if (state.settled) continue;
        PreferencePair& pair = guess == open.groups.end() ? open.pair : guess->second.next();
        lines.read(i, pair, first_pass ? &marks_[row] : nullptr);
        state.show_on(pair);
        if (guess == open.groups.end() || guess->first != pair.source) {
          guess = open.groups.try_emplace(pair.source).first;
          std::swap(guess->second.next(), pair);
        }
        guess->second.rows.push_back(row);
      }
      std::erase_if(open.groups, [](const auto& group) { return group.second.rows.empty(); });
    });
  }

  void survey(std::size_t curator) {
    SurveyingCurator& asked = *surveying(curator);
    const std::int64_t before = unanswered();
    for (bool again = true; again;) {
      Open open;
      for (Windows all = windows(); all.next(open);) {
        stage_.check_stop();
        for (const auto& [source, group] : open.groups) {
          auto& survey = surveys_[source];
          if (!survey) survey = asked.survey(source);
          survey->add(group.open());
        }
      }
      again = false;
      for (const auto& [source, survey] : surveys_) again |= survey->again();
    }
    end_unanswered(before);
  }

  void pass(std::size_t begin, std::size_t end) {
    std::map<std::string, std::size_t>
        seen;  // by source: pairs that the survey's decisions were asked for
    Open open;
    for (Windows all = windows(); all.next(open); ++window_) {
      stage_.check_stop();
      auto& groups = open.groups;
      if (log_.has(window_)) {
        for (const auto& [source, group] : groups) seen[source] += group.rows.size();
        for (const DecisionLog::Entry& entry : log_.read(window_))
          take(entry.row, position(entry.curator), entry.decision);
      } else {
        std::vector<DecisionLog::Line> lines;
        for (std::size_t curator = begin; curator < end; ++curator)
          for (auto& [source, group] : groups) {
            if (group.rows.empty()) continue;
            const bool surveyed = curator == begin && !surveys_.empty();
            std::vector<Decision> decisions = answered([&] {
              return surveyed ? surveys_.at(source)->decide(group.open(), seen[source])
                              : curators_[curator]->review(group.open());
            });
            seen[source] += surveyed ? group.rows.size() : 0;
            if (decisions.size() != group.rows.size())
              throw PluginError(fmt::format("curator '{}' gave {} decisions for {} pairs",
                                            params_.curators[curator], decisions.size(),
                                            group.rows.size()));
            settle(curator, group, decisions, lines);
          }
        log_.append(window_, std::move(lines));
      }
      stage_.progress->add(open.size * (end - begin));
    }
  }

  // Calls of remote models that got no answer so far, and rewards that did not come.
  std::int64_t unanswered() const {
    const CallTotals totals = stage_.scope.call_totals();
    return totals.unanswered + totals.rewards_unanswered;
  }
  void end_unanswered(std::int64_t before) const {
    const CallTotals totals = stage_.scope.call_totals();
    stage_.end_unanswered(static_cast<std::size_t>(unanswered() - before),
                          static_cast<std::size_t>(totals.calls + totals.rewards),
                          totals.rewards ? "calls and rewards" : "calls");
  }

  // Asks once more where calls got no answer, for those that got one are stored. What is left then ends the stage before the
  // decisions are on record.
  std::vector<Decision> answered(const std::function<std::vector<Decision>()>& decide) {
    std::int64_t before = unanswered();
    std::vector<Decision> decisions = decide();
    if (unanswered() == before) return decisions;
    before = unanswered();
    decisions = decide();
    end_unanswered(before);
    return decisions;
  }

  // Puts decisions on record, and leaves the pairs that are still open.
  void settle(std::size_t curator, Group& group, std::vector<Decision>& decisions,
              std::vector<DecisionLog::Line>& lines) {
    std::size_t open = 0;
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      const std::size_t row = group.rows[i];
      const PreferencePair& pair = group.pairs[i];
      const Decision& decision =
          lines.emplace_back(row, params_.curators[curator], pair, std::move(decisions[i]))
              .decision;
      take(row, curator, decision);
      if (states_[row].settled) continue;
      apply(decision, group.pairs[i], swap_labels);
      if (open != i) {
        group.rows[open] = row;
        std::swap(group.pairs[open], group.pairs[i]);
      }
      ++open;
    }
    group.rows.resize(open);
  }

  std::size_t position(const std::string& curator) const {
    for (std::size_t i = 0; i < params_.curators.size(); ++i)
      if (params_.curators[i] == curator) return i;
    throw DataError(
        fmt::format("{}: was made by other curators", (stage_.work / layout::kDecisions).string()));
  }

  void take(std::size_t row, std::size_t curator, const Decision& decision) {
    states_.at(row).take(decision);
    ++counts_[curator][static_cast<std::size_t>(decision.action)];
  }

  void write_pairs() {
    Funnel funnel;
    funnel.step("pairs", files_.count());
    using Action = Decision::Action;
    for (std::size_t i = 0; i < curators_.size(); ++i)
      for (const auto& [action, name] :
           {std::pair(Action::discard, "discarded"), std::pair(Action::flip, "flipped"),
            std::pair(Action::keep, "kept"), std::pair(Action::undecided, "left open")})
        if (const std::size_t count = counts_[i][static_cast<std::size_t>(action)])
          funnel.step(params_.curators[i] + ": " + name, count);
    struct Written {
      std::string text;
      std::size_t kept = 0, undecided = 0;
      PreferencePair pair;  // scratch
    };
    FileWriter out(stage_.output / layout::kPairs);
    std::size_t kept = 0, undecided = 0;
    Written written;
    PairWindows<Written> windows(paths_, kWindow, [this](PairLines& lines, Written& written) {
      written.text.clear();
      written.kept = written.undecided = 0;
      for (std::size_t i = 0; i < lines.size(); ++i) {
        const std::size_t row = lines.first() + i;
        const State& state = states_.at(row);
        if (!state.settled && params_.undecided == "discard") {
          ++written.undecided;
          continue;
        }
        if (state.discarded) continue;
        ++written.kept;
        const PairMarks& marks = marks_[row];
        if (marks.known() &&
            (!state.flipped || state.strength || marks.strength == marks.strength_end)) {
          append_changed(written.text, lines.line(i), marks, state.flipped, state.strength,
                         state.strengths);
        } else {
          lines.read(i, written.pair);
          state.show_on(written.pair);
          written.text += to_json(written.pair);
        }
        written.text += '\n';
      }
    });
    while (windows.next(written)) {
      out.write(written.text);
      kept += written.kept;
      undecided += written.undecided;
    }
    out.close();
    funnel.step("pairs kept", kept);
    funnel.drop("undecided", undecided);
    funnel.drop("discarded", files_.count() - kept - undecided);
    funnel.write(stage_.output);
  }

  const CurateParams& params_;
  StageRun& stage_;
  const std::vector<fs::path> paths_;
  const PairFiles files_;
  std::vector<State> states_;     // of each pair
  std::vector<PairMarks> marks_;  // of each pair's line, so that it need not be read once more
  bool marked_ = false;
  DecisionLog log_;
  std::vector<std::shared_ptr<Curator>> curators_;
  std::vector<std::array<std::size_t, 4>> counts_;  // of each curator, by action
  std::map<std::string, std::unique_ptr<SurveyingCurator::Survey>>
      surveys_;  // of the pass at work, by source
  std::size_t window_ = 0;
};

void run(const CurateParams& params, StageRun& stage) { Curation(params, stage).run(); }

}  // namespace

StageType curate_stage() {
  StageType type = make_stage<CurateParams>(
      "curate",
      "Curates preference pairs by a chain of curators, source by source (paper section 3.3).", "2",
      run);
  type.pass_by = pass_by_empty(layout::kPairs);
  return type;
}

VolumeOutput curate_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<CurateParams>();
  const double pairs = forecast.pairs_of(params.pairs);
  double open = pairs;
  for (const std::string& name : params.curators) {
    const ComponentConfig* curator = forecast.component(Curator::kKind, name);
    if (!curator) continue;
    for (const std::string& model : texts_of(curator->params, "reward_models"))
      forecast.reward(model, open, 2, forecast.fact("image_tokens"));
    if (const std::string model = text_of(curator->params, "reward_model"); !model.empty()) {
      forecast.reward(model, open, 2, forecast.fact("image_tokens"));
      open *= forecast.fact("inconsistent_share");
    }
    for (const std::string& judge : texts_of(curator->params, "judges"))
      forecast.ask(forecast.mllm_of_judge(judge), 2 * open,
                   forecast.fact("rubric_tokens") + forecast.fact("prompt_tokens") +
                       forecast.fact("image_tokens") + 2 * forecast.fact("answer_tokens"),
                   2 * forecast.fact("judgement_tokens"));
  }
  VolumeOutput output;
  output.pairs = pairs * (1 - forecast.fact("discarded_share"));
  forecast.makes(output.pairs, 2 * forecast.fact("bytes_per_record"), "pairs");
  return output;
}

}  // namespace dt2it
