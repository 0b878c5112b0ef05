// SPDX-License-Identifier: Apache-2.0
// Label noise against known truth: a curator that knows it reviews the pairs, and nothing is changed.
#include <fmt/format.h>

#include <map>

#include "core/data/records.hpp"
#include "core/stages/pair_files.hpp"
#include "core/stages/stages.hpp"
#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

struct AuditParams {
  std::vector<std::string> pairs;
  std::string curator = "true_labels";

  static void describe(Schema<AuditParams>& schema) {
    schema.component<StageInputs>("pairs", &AuditParams::pairs, "Stages whose pairs are audited.").required();
    schema.component<Curator>("curator", &AuditParams::curator,
                              "Curator that knows the truth: what it would keep is right, what it would flip "
                              "is wrong, what it would discard is a tie.");
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

void run(const AuditParams& params, StageRun& stage) {
  const std::vector<PreferencePair> pairs = PairFiles(pair_files(stage, params.pairs)).read_all();
  const auto curator = stage.context().component<Curator>(params.curator);
  const std::vector<Decision> decisions = curator->review(pairs);
  if (decisions.size() != pairs.size())
    throw PluginError(fmt::format("curator '{}' gave {} decisions for {} pairs", params.curator,
                                  decisions.size(), pairs.size()));
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
  write_file_atomically(stage.output / "label_noise.json", json.text() + "\n");
}

}  // namespace

StageType audit_stage() {
  return make_stage<AuditParams>("audit", "Measures label noise against known truth; changes nothing.", "1", run);
}

}  // namespace dt2it
