// SPDX-License-Identifier: Apache-2.0
// Label noise against known truth: a curator that knows it reviews the pairs, and nothing is changed.
#include <fmt/format.h>

#include <map>
#include <span>

#include "core/data/pair_identity.hpp"
#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/pair_files.hpp"
#include "core/stages/stages.hpp"
#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

struct AuditParams {
  std::vector<std::string> pairs;
  std::string curator = "true_labels";
  std::vector<std::string> truth_of;

  static void describe(Schema<AuditParams>& schema) {
    schema.component<StageInputs>("pairs", &AuditParams::pairs, "Stages whose pairs are audited.")
        .required();
    schema.component<Curator>(
        "curator", &AuditParams::curator,
        "Curator that knows the truth: what it would keep is right, what it would flip "
        "is wrong, what it would discard is a tie.");
    schema.component<StageInputs>(
        "truth_of", &AuditParams::truth_of,
        "Stages whose pairs enter a curation: what is true of each is written down, and the "
        "report tells how right the curation was. They are not counted here.");
  }
};

struct Noise {
  std::int64_t right = 0, wrong = 0, tie = 0, unknown = 0;
  void add(Decision::Action action) {
    switch (action) {
      case Decision::Action::keep: ++right; break;
      case Decision::Action::flip: ++wrong; break;
      case Decision::Action::discard: ++tie; break;
      case Decision::Action::undecided: ++unknown; break;
    }
  }
  void write(JsonWriter& json) const {
    json.begin_object();
    json.key("right").value(right).key("wrong").value(wrong).key("tie").value(tie);
    json.key("unknown").value(unknown).key("total").value(right + wrong + tie + unknown);
    json.end_object();
  }
};

std::vector<Decision> grade(Curator& curator, const std::string& name,
                            std::span<const PreferencePair> pairs) {
  std::vector<Decision> decisions = curator.review(pairs);
  if (decisions.size() != pairs.size())
    throw PluginError(fmt::format("curator '{}' gave {} decisions for {} pairs", name,
                                  decisions.size(), pairs.size()));
  return decisions;
}

std::string_view label_of(Decision::Action action) {
  switch (action) {
    case Decision::Action::keep: return "right";
    case Decision::Action::flip: return "wrong";
    case Decision::Action::discard: return "tie";
    case Decision::Action::undecided: break;
  }
  return "unknown";
}

void write_truth(const AuditParams& params, Curator& curator, StageRun& stage) {
  LineWriter out(stage.output / layout::kTruth);
  const auto stream = PairFiles(pair_files(stage, params.truth_of)).open();
  PreferencePair pair;
  while (stream->next(pair)) {
    stage.check_stop();
    const PairIdentity identity = identity_of(pair);
    JsonWriter json;
    json.begin_object().key("id").value(pair.id).key("source").value(pair.source);
    json.key("label").value(label_of(grade(curator, params.curator, {&pair, 1}).front().action));
    json.key("pair").value(fmt::format("{:016x}", identity.pair));
    json.key("chosen").value(fmt::format("{:016x}", identity.chosen));
    out.write(json.end_object().text());
  }
  out.close();
}

void run(const AuditParams& params, StageRun& stage) {
  const std::vector<PreferencePair> pairs = PairFiles(pair_files(stage, params.pairs)).read_all();
  const auto curator = stage.context().component<Curator>(params.curator);
  const std::vector<Decision> decisions = grade(*curator, params.curator, pairs);
  Noise all;
  std::map<std::string, Noise> by_source;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    all.add(decisions[i].action);
    by_source[pairs[i].source].add(decisions[i].action);
  }
  JsonWriter json;
  json.begin_object().key("all");
  all.write(json);
  json.key("sources").begin_object();
  for (const auto& [source, noise] : by_source) {
    json.key(source);
    noise.write(json);
  }
  json.end_object().end_object();
  write_file_atomically(stage.output / layout::kLabelNoise, json.text() + "\n");
  if (!params.truth_of.empty()) write_truth(params, *curator, stage);
}

}  // namespace

StageType audit_stage() {
  return make_stage<AuditParams>(
      "audit", "Measures label noise against known truth; changes nothing.", "1", run);
}

}  // namespace dt2it
