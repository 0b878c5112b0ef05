// SPDX-License-Identifier: Apache-2.0
#include "core/stages/evaluation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "core/data/records.hpp"
#include "core/util/characters.hpp"
#include "core/util/sha256.hpp"
#include "dt2it/error.hpp"
#include "dt2it/question.hpp"

namespace dt2it {
namespace {

// One pair as the model sees it: without labels, in random order.
struct Shown {
  PreferencePair pair;
  std::array<Response, 2> responses;
  std::array<std::size_t, 2> original_index;  // 0 chosen, 1 rejected
  Prompt prompt;
};

bool has_absent_media(const Prompt& prompt) {
  for (const Message& message : prompt.messages)
    for (const Part& part : message.content)
      if (part.kind != Part::Kind::text && !part.media.present()) return true;
  return false;
}

Shown show(PreferencePair pair, std::size_t row, Context& context) {
  Shown shown;
  shown.original_index = {0, 1};
  if (context.rng(fmt::format("order/{}/{}", row, pair.id)).chance(0.5))
    std::swap(shown.original_index[0], shown.original_index[1]);
  shown.prompt = pair.prompt;
  shown.prompt.extra.clear();  // truth and labels may be there
  for (std::size_t k = 0; k < 2; ++k) {
    Response response;
    response.id = fmt::format("{}", k);
    response.text = (shown.original_index[k] == 0 ? pair.chosen : pair.rejected).text;
    shown.responses[k] = std::move(response);
  }
  shown.pair = std::move(pair);
  return shown;
}

std::string first_media(const Prompt& prompt) {
  for (const Message& message : prompt.messages)
    for (const Part& part : message.content)
      if (part.kind != Part::Kind::text) return part.media.source;
  return {};
}

Outcome outcome_of(const Shown& shown, std::size_t row, const std::vector<Reward>& rewards) {
  if (rewards.size() != 2)
    throw PluginError(
        fmt::format("the reward model gave {} rewards for 2 responses", rewards.size()));
  Outcome outcome{row, shown.pair.id, shown.pair.group, Status::ok, 0, 0};
  for (std::size_t k = 0; k < 2; ++k) {
    Reward reward = rewards[k];
    if (reward.ok() && !std::isfinite(reward.value)) reward.status = Status::invalid;
    if (!reward.ok()) outcome.status = reward.status;
    (shown.original_index[k] == 0 ? outcome.chosen_reward : outcome.rejected_reward) =
        reward.ok() ? reward.value : 0;
  }
  return outcome;
}

JudgedItem judged_of(const Shown& shown, std::size_t row, std::vector<ShownVerdict> verdicts) {
  const PreferencePair& pair = shown.pair;
  const auto [one, two] = std::minmax(pair.chosen.text, pair.rejected.text);
  JudgedItem item{row,
                  pair.id,
                  pair.group,
                  first_media(pair.prompt),
                  sha256_hex(pair.id + question_of(pair.prompt) + one + "\t" + two),
                  characters(pair.chosen.text) + characters(pair.rejected.text),
                  pair.extra,
                  {}};
  for (ShownVerdict& verdict : verdicts) {
    if (verdict.shown != std::array<std::size_t, 2>{0, 1} &&
        verdict.shown != std::array<std::size_t, 2>{1, 0})
      throw PluginError("the judge gave a verdict on responses that it was not asked about");
    item.samples.push_back({shown.original_index[verdict.shown[0]] == 0, std::move(verdict.form),
                            std::move(verdict.verdict)});
  }
  return item;
}

void write_metrics(JsonWriter& json, const std::vector<Metric>& metrics) {
  json.begin_array();
  for (const Metric& metric : metrics) json.raw(to_json(metric));
  json.end_array();
}

}  // namespace

void write_figures(JsonWriter& json, const Evaluation& evaluation) {
  if (!evaluation.convention.empty()) json.key("convention").value(evaluation.convention);
  json.key("metrics");
  write_metrics(json, evaluation.metrics);
  if (evaluation.by_convention.empty()) return;
  json.key("conventions").begin_object();
  for (const auto& [convention, metrics] : evaluation.by_convention) {
    json.key(convention);
    write_metrics(json, metrics);
  }
  json.end_object();
}

std::vector<PreferencePair> read_items(Benchmark& benchmark) {
  std::vector<PreferencePair> items;
  const auto stream = benchmark.items();
  for (PreferencePair pair; stream->next(pair);) items.push_back(std::move(pair));
  if (items.empty()) throw DataError("the benchmark has no items");
  return items;
}

Evaluation count_judged(Benchmark& benchmark, std::vector<JudgedItem> judged,
                        const std::string& convention) {
  Evaluation result;
  for (const JudgedItem& item : judged) result.outcomes.push_back(strict_outcome(item));
  std::vector<std::string> names;
  if (auto* scripts = dynamic_cast<VerdictBenchmark*>(&benchmark)) {
    names = scripts->conventions();
    for (const std::string& name : names)
      result.by_convention.emplace_back(name, scripts->summarise_verdicts(judged, name));
  }
  names.emplace_back("strict");
  result.by_convention.emplace_back("strict", benchmark.summarise(result.outcomes));
  const auto found = std::find(names.begin(), names.end(), convention);
  const auto at = static_cast<std::size_t>((found == names.end() ? std::prev(names.end()) : found) -
                                           names.begin());
  std::tie(result.convention, result.metrics) = result.by_convention[at];
  result.edition = benchmark.edition(result.outcomes);
  result.judged = std::move(judged);
  return result;
}

Evaluation evaluate_benchmark(Benchmark& benchmark, std::vector<PreferencePair> items,
                              RewardModel& model, Context& context,
                              const std::function<void(std::size_t)>& on_progress,
                              const std::string& convention) {
  auto* judge = dynamic_cast<VerdictModel*>(&model);
  if (judge && !judge->gives_verdicts()) judge = nullptr;
  std::vector<Outcome> outcomes;
  std::vector<JudgedItem> judged;
  std::size_t absent_media = 0;
  const std::size_t batch_size = std::max<std::size_t>(1, model.batch_size());
  std::vector<Shown> batch;
  std::size_t row = 0;

  auto flush = [&] {
    std::vector<RewardRequest> requests;
    for (std::size_t i = 0; i < batch.size(); ++i)
      requests.push_back(
          {&batch[i].prompt, batch[i].responses, row - batch.size() + i, batch[i].original_index});
    const auto check = [&](std::size_t answers) {
      if (answers != batch.size())
        throw PluginError(
            fmt::format("the reward model answered {} of {} requests", answers, batch.size()));
    };
    if (judge) {
      auto verdicts = judge->verdicts(requests);
      check(verdicts.size());
      for (std::size_t i = 0; i < batch.size(); ++i)
        judged.push_back(judged_of(batch[i], requests[i].row, std::move(verdicts[i])));
    } else {
      const auto rewards = model.rewards(requests);
      check(rewards.size());
      for (std::size_t i = 0; i < batch.size(); ++i)
        outcomes.push_back(outcome_of(batch[i], requests[i].row, rewards[i]));
    }
    on_progress(batch.size());
    batch.clear();
  };

  for (PreferencePair& pair : items) {
    absent_media += has_absent_media(pair.prompt);
    batch.push_back(show(std::move(pair), row, context));
    ++row;
    if (batch.size() == batch_size) flush();
  }
  if (!batch.empty()) flush();
  model.finish(row);
  Evaluation result;
  if (judge) {
    result = count_judged(benchmark, std::move(judged), convention);
  } else {
    result.metrics = benchmark.summarise(outcomes);
    result.edition = benchmark.edition(outcomes);
    result.outcomes = std::move(outcomes);
  }
  result.absent_media = absent_media;
  return result;
}

}  // namespace dt2it
