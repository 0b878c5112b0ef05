// SPDX-License-Identifier: Apache-2.0
// The curation pipeline (paper section 3.3): a chain of curators reviews each source by itself; the host
// applies what they decide.
#include <fmt/format.h>

#include <map>

#include "core/data/records.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/pair_files.hpp"
#include "core/stages/stages.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

struct CurateParams {
  std::vector<std::string> pairs;
  std::vector<std::string> curators;
  std::string undecided = "keep";

  static void describe(Schema<CurateParams>& schema) {
    schema.component<StageInputs>("pairs", &CurateParams::pairs, "Stages whose pairs are curated.").required();
    schema.component<Curator>("curators", &CurateParams::curators,
                              "Curators in their order; each sees what those before it left open.")
        .required();
    schema.field("undecided", &CurateParams::undecided, "What becomes of pairs that no curator settles.")
        .choices({"keep", "discard"});
  }
};

struct Case {
  PreferencePair pair;  // as it stands: labels swapped by every flip
  bool settled = false;
  bool kept = true;
};

void flip(PreferencePair& pair) {
  std::swap(pair.chosen, pair.rejected);
  if (pair.rejected_prompt) std::swap(pair.prompt, *pair.rejected_prompt);
  if (pair.strength) pair.strength = -*pair.strength;
  for (double& strength : pair.strengths) strength = -strength;
}

void write_decision(LineWriter& out, const std::string& curator, const PreferencePair& pair,
                    const Decision& decision) {
  JsonWriter json;
  json.begin_object();
  json.key("id").value(pair.id).key("source").value(pair.source).key("curator").value(curator);
  json.key("action").value(to_string(decision.action)).key("settled").value(decision.settled);
  json.key("reason").value(decision.reason);
  if (decision.strength) json.key("strength").value(*decision.strength);
  if (!decision.strengths.empty()) {
    json.key("strengths").begin_array();
    for (const double strength : decision.strengths) json.value(strength);
    json.end_array();
  }
  if (decision.votes_chosen) json.key("votes_chosen").value(*decision.votes_chosen);
  if (decision.votes_rejected) json.key("votes_rejected").value(*decision.votes_rejected);
  if (decision.votes_chosen || decision.votes_rejected) {  // what may sway those who vote
    json.key("responses").begin_object();
    for (const auto& [side, response] : {std::pair("chosen", &pair.chosen), std::pair("rejected", &pair.rejected)})
      json.key(side).begin_object().key("mllm").value(response->mllm).key("length").value(response->text.size()).end_object();
    json.end_object();
  }
  if (!decision.detail.empty()) json.key("detail").raw(decision.detail);
  json.end_object();
  out.write(json.text());
}

void run(const CurateParams& params, StageRun& stage) {
  std::vector<Case> cases;
  std::map<std::string, std::vector<std::size_t>> by_source;
  for (PreferencePair& pair : PairFiles(pair_files(stage, params.pairs)).read_all()) {
    by_source[pair.source].push_back(cases.size());
    cases.push_back({std::move(pair)});
  }
  LineWriter decisions(stage.output / "decisions.jsonl");
  Funnel funnel;
  funnel.step("pairs", cases.size());
  stage.progress->set_total(cases.size() * params.curators.size());
  for (const std::string& name : params.curators) {
    const auto curator = stage.context().component<Curator>(name);
    std::map<std::string, std::size_t> counts;
    for (const auto& [source, members] : by_source) {
      std::vector<std::size_t> open;
      std::vector<PreferencePair> pairs;
      for (const std::size_t i : members)
        if (!cases[i].settled) {
          open.push_back(i);
          pairs.push_back(cases[i].pair);
        }
      if (pairs.empty()) continue;
      stage.check_stop();
      const std::vector<Decision> verdicts = curator->review(pairs);
      if (verdicts.size() != pairs.size())
        throw PluginError(fmt::format("curator '{}' gave {} decisions for {} pairs", name, verdicts.size(),
                                      pairs.size()));
      for (std::size_t k = 0; k < open.size(); ++k) {
        Case& item = cases[open[k]];
        const Decision& decision = verdicts[k];
        write_decision(decisions, name, item.pair, decision);
        if (decision.strength) {
          item.pair.strength = decision.strength;
          item.pair.strengths = decision.strengths;
        }
        switch (decision.action) {
          case Decision::Action::keep: item.settled = true; ++counts["kept"]; break;
          case Decision::Action::discard:
            item.settled = true;
            item.kept = false;
            ++counts["discarded"];
            break;
          case Decision::Action::flip:
            flip(item.pair);
            item.settled = decision.settled;
            ++counts["flipped"];
            break;
          case Decision::Action::undecided: ++counts["left open"]; break;
        }
      }
      stage.progress->add(pairs.size());
    }
    for (const auto& [action, count] : counts) funnel.step(name + ": " + action, count);
  }
  decisions.close();

  LineWriter out(stage.output / "pairs.jsonl");
  std::size_t kept = 0, undecided = 0;
  for (const Case& item : cases) {
    if (!item.settled && params.undecided == "discard") {
      ++undecided;
      continue;
    }
    if (!item.kept) continue;
    out.write(to_json(item.pair));
    ++kept;
  }
  out.close();
  funnel.step("pairs kept", kept);
  funnel.drop("undecided", undecided);
  funnel.drop("discarded", cases.size() - kept - undecided);
  funnel.write(stage.output);
}

}  // namespace

StageType curate_stage() {
  return make_stage<CurateParams>(
      "curate",
      "Curates preference pairs by a chain of curators, source by source (paper section 3.3).", "2", run);
}

}  // namespace dt2it
