// SPDX-License-Identifier: Apache-2.0
// The rule after step 5 of the distillation (paper section 3.1): candidate i is chosen over j only where
// every scorer puts i strictly above j.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/candidate_set.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/error.hpp"
#include "dt2it/scorer.hpp"

namespace dt2it {
namespace {

struct PairParams {
  std::string candidates;
  std::vector<std::string> scorers;
  double margin = 0;
  std::map<std::string, double> margins;
  bool balance_strength = false;
  std::int64_t max_pairs = 4;
  std::int64_t max_new_pairs = 4;

  static void describe(Schema<PairParams>& schema) {
    schema
        .component<StageInputs>("candidates", &PairParams::candidates,
                                "Stage with scored candidates.")
        .required();
    schema
        .component<Scorer>("scorers", &PairParams::scorers, "Scorers that must all strictly agree.")
        .required();
    schema
        .field("margin", &PairParams::margin,
               "Each scorer's difference must be larger than this many points (0: any difference).")
        .min(0)
        .max(10);
    schema.field("margins", &PairParams::margins,
                 "The same for single scorers, by name, such as { pointwise = 0.5 }.");
    schema.field("balance_strength", &PairParams::balance_strength,
                 "Where max_pairs or max_new_pairs leaves some over, draw those whose strength "
                 "(mean difference of the scores, in "
                 "points) is rare among all prompts rather than any.");
    schema
        .field("max_pairs", &PairParams::max_pairs,
               "Pairs of sampled candidates kept for each prompt, drawn at random; 0: all.")
        .min(0);
    schema
        .field("max_new_pairs", &PairParams::max_new_pairs,
               "Pairs with an added candidate kept for each prompt; 0: all.")
        .min(0);
  }
};

enum class Outcome { agreed, unscored, tie, disagreed };

// What the scorers together say of "i above j", seen from the first scorer's order. `margins`: one for each scorer.
Outcome agreement(const CandidateSet& set, const std::vector<std::string>& scorers,
                  const std::vector<double>& margins, std::size_t i, std::size_t j) {
  bool tie = false;
  for (std::size_t s = 0; s < scorers.size(); ++s) {
    const std::vector<Score>& scores = set.scores.at(scorers[s]);
    if (!scores[i].ok() || !scores[j].ok()) return Outcome::unscored;
    const double difference = scores[i].overall - scores[j].overall;
    if (difference < -margins[s]) return Outcome::disagreed;
    tie |= !(difference > margins[s]);
  }
  return tie ? Outcome::tie : Outcome::agreed;
}

// Mean difference of the scores, in points.
double strength_of(const CandidateSet& set, const std::vector<std::string>& scorers,
                   std::size_t chosen, std::size_t rejected) {
  double sum = 0;
  for (const std::string& scorer : scorers) {
    const std::vector<Score>& scores = set.scores.at(scorer);
    sum += scores[chosen].overall - scores[rejected].overall;
  }
  return sum / static_cast<double>(scorers.size());
}

struct Couple {
  std::size_t chosen, rejected;
  double strength;
};

struct Counts {
  std::size_t couples = 0, unscored = 0, ties = 0, disagreed = 0, agreed = 0, kept = 0;
  Counts& operator+=(const Counts& other) {
    couples += other.couples;
    unscored += other.unscored;
    ties += other.ties;
    disagreed += other.disagreed;
    agreed += other.agreed;
    kept += other.kept;
    return *this;
  }
};

void write_agreement(const std::filesystem::path& file,
                     const std::map<std::string, Counts>& sources) {
  JsonWriter json;
  json.begin_object().key("sources").begin_array();
  for (const auto& [source, counts] : sources) {
    json.begin_object().key("source").value(source).key("couples").value(counts.couples);
    json.key("agreed").value(counts.agreed).key("disagreed").value(counts.disagreed);
    json.key("equal")
        .value(counts.ties)
        .key("not_scored")
        .value(counts.unscored)
        .key("kept")
        .value(counts.kept)
        .end_object();
  }
  json.end_array().end_object();
  write_file_atomically(file, json.text() + "\n");
}

// The couples of one prompt on which all scorers agree: of sampled candidates, and with an added one.
struct Agreed {
  std::vector<Couple> sampled, with_added;
};

Agreed agreed_couples(const CandidateSet& set, const PairParams& params,
                      const std::vector<double>& margins, Counts& counts) {
  Agreed found;
  for (std::size_t a = 0; a < set.candidates.size(); ++a)
    for (std::size_t b = a + 1; b < set.candidates.size(); ++b) {
      ++counts.couples;
      Outcome outcome = agreement(set, params.scorers, margins, a, b);
      std::size_t chosen = a, rejected = b;
      if (outcome == Outcome::disagreed) {
        outcome = agreement(set, params.scorers, margins, b, a);
        std::swap(chosen, rejected);
      }
      switch (outcome) {
        case Outcome::unscored: ++counts.unscored; break;
        case Outcome::tie: ++counts.ties; break;
        case Outcome::disagreed: ++counts.disagreed; break;
        case Outcome::agreed: {
          ++counts.agreed;
          const bool added =
              set.candidates[a].origin != "sampled" || set.candidates[b].origin != "sampled";
          (added ? found.with_added : found.sampled)
              .push_back({chosen, rejected, strength_of(set, params.scorers, chosen, rejected)});
        }
      }
    }
  return found;
}

// How many couples of each strength there are, in steps of half a point.
class Strengths {
 public:
  void add(double strength) { ++counts_[bin(strength)]; }
  double weight(double strength) const {
    return 1.0 / static_cast<double>(std::max<std::size_t>(1, counts_[bin(strength)]));
  }

 private:
  static std::size_t bin(double strength) {
    return static_cast<std::size_t>(std::clamp(strength * 2, 0.0, 19.0));
  }
  std::array<std::size_t, 20> counts_{};
};

// At most `limit` (0: all), drawn at random: each alike, or by weight.
void draw(std::vector<Couple>& list, std::int64_t limit, const Strengths* strengths, Rng& rng) {
  const std::size_t wanted =
      limit > 0 ? std::min(list.size(), static_cast<std::size_t>(limit)) : list.size();
  if (!strengths || wanted == list.size()) {
    rng.shuffle(list);
    list.resize(wanted);
    return;
  }
  for (std::size_t taken = 0; taken < wanted; ++taken) {
    std::vector<double> weights;
    for (std::size_t i = taken; i < list.size(); ++i)
      weights.push_back(strengths->weight(list[i].strength));
    std::swap(list[taken], list[taken + rng.weighted(weights)]);
  }
  list.resize(wanted);
}

PreferencePair make_pair(const CandidateSet& set, const std::vector<std::string>& scorers,
                         std::size_t row, std::size_t i, std::size_t j) {
  PreferencePair pair;
  pair.id =
      fmt::format("{}/{}/{}-{}", row, set.prompt.id, set.candidates[i].id, set.candidates[j].id);
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
  std::vector<double> margins;
  for (const std::string& scorer : params.scorers) {
    const auto own = params.margins.find(scorer);
    margins.push_back(own == params.margins.end() ? params.margin : own->second);
  }
  for (const auto& [name, margin] : params.margins)
    if (std::ranges::find(params.scorers, name) == params.scorers.end() || !(margin >= 0))
      throw ConfigError(fmt::format(
          "margins: '{}' = {} (allowed: names of the scorers, numbers >= 0)", name, margin));

  const CandidateFile sets(stage.input(params.candidates) / layout::kCandidates);
  std::optional<Strengths> strengths;
  if (params.balance_strength) {
    strengths.emplace();
    Counts ignored;
    for (std::size_t row = 0; row < sets.size(); ++row) {
      stage.check_stop();
      const CandidateSet set = sets.read(row);
      for (const std::string& scorer : params.scorers) require_scores(set, scorer);
      const Agreed found = agreed_couples(set, params, margins, ignored);
      for (const std::vector<Couple>* list : {&found.sampled, &found.with_added})
        for (const Couple& couple : *list) strengths->add(couple.strength);
    }
  }

  LineWriter out(stage.output / layout::kPairs);
  std::map<std::string, Counts> sources;  // of prompts
  stage.progress->set_total(sets.size());
  for (std::size_t row = 0; row < sets.size(); ++row) {
    stage.check_stop();
    const CandidateSet set = sets.read(row);
    for (const std::string& scorer : params.scorers) require_scores(set, scorer);
    Counts& counts = sources[set.prompt.source];
    Agreed found = agreed_couples(set, params, margins, counts);
    Rng rng = stage.context().rng(fmt::format("pairs/{}/{}", row, set.prompt.id));
    const auto keep = [&](std::vector<Couple>& list, std::int64_t limit) {
      draw(list, limit, strengths ? &*strengths : nullptr, rng);
      for (const Couple& couple : list)
        out.write(to_json(make_pair(set, params.scorers, row, couple.chosen, couple.rejected)));
      counts.kept += list.size();
    };
    keep(found.sampled, params.max_pairs);
    keep(found.with_added, params.max_new_pairs);
    stage.progress->add(1);
  }
  out.close();
  write_agreement(stage.output / layout::kAgreement, sources);
  Counts counts;
  for (const auto& [source, own] : sources) counts += own;
  Funnel funnel;
  funnel.step("couples of candidates", counts.couples);
  funnel.step("pairs on which all scorers agree", counts.agreed);
  funnel.drop("not scored", counts.unscored);
  funnel.drop("equal scores", counts.ties);
  funnel.drop("scorers disagree", counts.disagreed);
  funnel.step("pairs kept", counts.kept);
  funnel.drop("over the limit per prompt", counts.agreed - counts.kept);
  funnel.write(stage.output);
}

}  // namespace

StageType pair_stage() {
  return make_stage<PairParams>(
      "pair",
      "Makes preference pairs where all scorers strictly agree (paper section 3.1, step 5).", "2",
      run);
}

VolumeOutput pair_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<PairParams>();
  const VolumeOutput& from = forecast.input(params.candidates);
  VolumeOutput output;
  output.pairs = from.prompts * forecast.fact(params.scorers.size() > 1 ? "pairs_per_prompt.agreed"
                                              : from.diversified ? "pairs_per_prompt.diversified"
                                                                 : "pairs_per_prompt.listwise");
  forecast.makes(output.pairs, 2 * forecast.fact("bytes_per_record"), "pairs");
  return output;
}

}  // namespace dt2it
