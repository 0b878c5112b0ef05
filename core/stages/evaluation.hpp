// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/util/json.hpp"
#include "dt2it/benchmark.hpp"
#include "dt2it/context.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/verdict_model.hpp"

namespace dt2it {

struct Evaluation {
  std::vector<Outcome> outcomes;  // in the order of the benchmark's items
  std::vector<Metric> metrics;
  std::string edition;
  std::size_t absent_media = 0;  // items of which at least one image or video is absent

  // Of a model that gives verdicts (dt2it/verdict_model.hpp); outcomes are then the strict ones.
  std::vector<JudgedItem> judged;
  std::string convention;  // that `metrics` are of
  std::vector<std::pair<std::string, std::vector<Metric>>>
      by_convention;  // all that the benchmark knows, "strict" last
};

// How verdicts may be counted.
inline constexpr std::array<const char*, 4> kConventions{"official", "lmms", "vlmeval", "strict"};

// "convention", "metrics" and "conventions" of an object that was begun.
void write_figures(JsonWriter& json, const Evaluation& evaluation);

// All items of a benchmark, in its order. Throws DataError where there are none.
std::vector<PreferencePair> read_items(Benchmark& benchmark);

// Scores the items of a benchmark. The two responses are shown in an order drawn for each row from
// `context`, so that a model cannot tell chosen from rejected by position; a tie is never correct.
// `on_progress` is called with the number of items just done; it may throw to stop. `convention`: how
// verdicts are counted; "strict" where the benchmark has no such script.
Evaluation evaluate_benchmark(Benchmark& benchmark, std::vector<PreferencePair> items,
                              RewardModel& model, Context& context,
                              const std::function<void(std::size_t)>& on_progress,
                              const std::string& convention = "official");

// Counts verdicts that are there.
Evaluation count_judged(Benchmark& benchmark, std::vector<JudgedItem> judged,
                        const std::string& convention);

// What a model is shown instead of the items' own pictures, to see whether it looks: grey of the same size, or those of another
// item with as many, drawn from `context`. Absent media stay absent. Returns how many items were changed.
enum class Pictures { own, blank, swapped };
std::size_t change_pictures(std::vector<PreferencePair>& items, Pictures pictures,
                            Context& context);

}  // namespace dt2it
