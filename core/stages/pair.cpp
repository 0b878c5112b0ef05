// SPDX-License-Identifier: Apache-2.0
// The rule after step 5 of the distillation (paper section 3.1): candidate i is chosen over j only where
// every scorer puts i strictly above j.
#include <fmt/format.h>

#include "core/data/records.hpp"
#include "core/stages/candidate_set.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/stages.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/scorer.hpp"

namespace dt2it {
namespace {

struct PairParams {
  std::string candidates;
  std::vector<std::string> scorers;
  double margin = 0;
  std::int64_t max_pairs = 4;
  std::int64_t max_new_pairs = 4;

  static void describe(Schema<PairParams>& schema) {
    schema.component<StageInputs>("candidates", &PairParams::candidates, "Stage with scored candidates.")
        .required();
    schema.component<Scorer>("scorers", &PairParams::scorers, "Scorers that must all strictly agree.")
        .required();
    schema.field("margin", &PairParams::margin,
                 "Each scorer's difference must be larger than this many points (0: any difference).")
        .min(0).max(10);
    schema.field("max_pairs", &PairParams::max_pairs,
                 "Pairs of sampled candidates kept for each prompt, drawn at random; 0: all.").min(0);
    schema.field("max_new_pairs", &PairParams::max_new_pairs,
                 "Pairs with an added candidate kept for each prompt; 0: all.").min(0);
  }
};

enum class Outcome { agreed, unscored, tie, disagreed };

// What the scorers together say of "i above j", seen from the first scorer's order.
Outcome agreement(const CandidateSet& set, const std::vector<std::string>& scorers, double margin,
                  std::size_t i, std::size_t j) {
  bool tie = false;
  for (std::size_t s = 0; s < scorers.size(); ++s) {
    const std::vector<Score>& scores = set.scores.at(scorers[s]);
    if (!scores[i].ok() || !scores[j].ok()) return Outcome::unscored;
    const double difference = scores[i].overall - scores[j].overall;
    if (difference < -margin) return Outcome::disagreed;
    tie |= !(difference > margin);
  }
  return tie ? Outcome::tie : Outcome::agreed;
}

PreferencePair make_pair(const CandidateSet& set, const std::vector<std::string>& scorers, std::size_t row,
                         std::size_t i, std::size_t j) {
  PreferencePair pair;
  pair.id = fmt::format("{}/{}/{}-{}", row, set.prompt.id, set.candidates[i].id, set.candidates[j].id);
  pair.prompt = set.prompt;
  pair.chosen = set.candidates[i];
  pair.rejected = set.candidates[j];
  pair.source = "distil";
  pair.group = set.prompt.domain;
  JsonWriter extra;
  extra.begin_object().key("scores").begin_object();
  for (const std::string& scorer : scorers) {
    const std::vector<Score>& scores = set.scores.at(scorer);
    extra.key(scorer).begin_object();  // by candidate: a flip must not turn them round
    extra.key(set.candidates[i].id).value(scores[i].overall);
    extra.key(set.candidates[j].id).value(scores[j].overall).end_object();
  }
  extra.end_object().end_object();
  pair.extra = extra.text();
  return pair;
}

void run(const PairParams& params, StageRun& stage) {
  const std::vector<CandidateSet> sets =
      read_candidate_sets(stage.input(params.candidates) / "candidates.jsonl");
  LineWriter out(stage.output / "pairs.jsonl");
  std::size_t couples = 0, unscored = 0, ties = 0, disagreed = 0, agreed = 0, kept = 0;
  using Couple = std::pair<std::size_t, std::size_t>;
  for (std::size_t row = 0; row < sets.size(); ++row) {
    stage.check_stop();
    const CandidateSet& set = sets[row];
    for (const std::string& scorer : params.scorers) require_scores(set, scorer);
    std::vector<Couple> sampled;
    std::vector<Couple> with_added;
    for (std::size_t a = 0; a < set.candidates.size(); ++a)
      for (std::size_t b = a + 1; b < set.candidates.size(); ++b) {
        ++couples;
        Outcome outcome = agreement(set, params.scorers, params.margin, a, b);
        Couple couple{a, b};
        if (outcome == Outcome::disagreed) {
          outcome = agreement(set, params.scorers, params.margin, b, a);
          couple = {b, a};
        }
        switch (outcome) {
          case Outcome::unscored: ++unscored; break;
          case Outcome::tie: ++ties; break;
          case Outcome::disagreed: ++disagreed; break;
          case Outcome::agreed: {
            ++agreed;
            const bool added = set.candidates[a].origin != "sampled" || set.candidates[b].origin != "sampled";
            (added ? with_added : sampled).push_back(couple);
          }
        }
      }
    Rng rng = stage.context().rng(fmt::format("pairs/{}/{}", row, set.prompt.id));
    auto keep = [&](std::vector<Couple>& list, std::int64_t limit) {
      rng.shuffle(list);
      if (limit > 0 && list.size() > static_cast<std::size_t>(limit))
        list.resize(static_cast<std::size_t>(limit));
      for (const auto& [chosen, rejected] : list)
        out.write(to_json(make_pair(set, params.scorers, row, chosen, rejected)));
      kept += list.size();
    };
    keep(sampled, params.max_pairs);
    keep(with_added, params.max_new_pairs);
    stage.progress->add(1);
  }
  out.close();
  Funnel funnel;
  funnel.step("couples of candidates", couples);
  funnel.step("pairs on which all scorers agree", agreed);
  funnel.drop("not scored", unscored);
  funnel.drop("equal scores", ties);
  funnel.drop("scorers disagree", disagreed);
  funnel.step("pairs kept", kept);
  funnel.drop("over the limit per prompt", agreed - kept);
  funnel.write(stage.output);
}

}  // namespace

StageType pair_stage() {
  return make_stage<PairParams>(
      "pair", "Makes preference pairs where all scorers strictly agree (paper section 3.1, step 5).", "1",
      run);
}

}  // namespace dt2it
