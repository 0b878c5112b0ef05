// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <set>

#include "core/data/records.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/stages.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

struct CollectParams {
  std::string dataset;
  std::int64_t limit = 0;
  static void describe(Schema<CollectParams>& schema) {
    schema.component<Dataset>("dataset", &CollectParams::dataset, "Data set to read.").required();
    schema.field("limit", &CollectParams::limit, "Read only so many records; 0: all.").min(0);
  }
};

template <class Record>
std::size_t collect(Stream<Record>& stream, std::int64_t limit, const std::string& file, StageRun& stage) {
  LineWriter out(stage.output / file);
  Record record;
  std::size_t count = 0;
  while ((limit == 0 || count < static_cast<std::size_t>(limit)) && stream.next(record)) {
    stage.check_stop();
    out.write(to_json(record));
    stage.progress->add(1);
    ++count;
  }
  out.close();
  return count;
}

void run_prompts(const CollectParams& params, StageRun& stage) {
  const auto stream = stage.context().component<Dataset>(params.dataset)->prompts();
  const std::size_t count = collect(*stream, params.limit, "prompts.jsonl", stage);
  Funnel funnel;
  funnel.step("prompts", count);
  funnel.write(stage.output);
}

void run_pairs(const CollectParams& params, StageRun& stage) {
  const auto stream = stage.context().component<Dataset>(params.dataset)->pairs();
  const std::size_t count = collect(*stream, params.limit, "pairs.jsonl", stage);
  Funnel funnel;
  funnel.step("pairs of " + params.dataset, count);
  funnel.write(stage.output);
}

}  // namespace

StageType collect_stage() {
  return make_stage<CollectParams>(
      "collect", "Collects the prompts of a data set with their reference answers.", "1", run_prompts);
}

StageType collect_pairs_stage() {
  return make_stage<CollectParams>("collect_pairs", "Collects the preference pairs of a data set as they are.",
                                   "1", run_pairs);
}

}  // namespace dt2it
