// SPDX-License-Identifier: Apache-2.0
#include "core/stages/evaluation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "dt2it/error.hpp"

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

}  // namespace

std::vector<PreferencePair> read_items(Benchmark& benchmark) {
  std::vector<PreferencePair> items;
  const auto stream = benchmark.items();
  for (PreferencePair pair; stream->next(pair);) items.push_back(std::move(pair));
  if (items.empty()) throw DataError("the benchmark has no items");
  return items;
}

Evaluation evaluate_benchmark(Benchmark& benchmark, std::vector<PreferencePair> items, RewardModel& model,
                              Context& context, const std::function<void(std::size_t)>& on_progress) {
  Evaluation result;
  const std::size_t batch_size = std::max<std::size_t>(1, model.batch_size());
  std::vector<Shown> batch;
  std::size_t row = 0;

  auto flush = [&] {
    std::vector<RewardRequest> requests;
    for (std::size_t i = 0; i < batch.size(); ++i)
      requests.push_back({&batch[i].prompt, batch[i].responses, row - batch.size() + i,
                          batch[i].original_index});
    const auto rewards = model.rewards(requests);
    if (rewards.size() != batch.size())
      throw PluginError(fmt::format("the reward model answered {} of {} requests", rewards.size(),
                                    batch.size()));
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const Shown& shown = batch[i];
      if (rewards[i].size() != 2)
        throw PluginError(fmt::format("the reward model gave {} rewards for 2 responses", rewards[i].size()));
      Outcome outcome;
      outcome.row = requests[i].row;
      outcome.id = shown.pair.id;
      outcome.group = shown.pair.group;
      outcome.status = Status::ok;
      for (std::size_t k = 0; k < 2; ++k) {
        Reward reward = rewards[i][k];
        if (reward.ok() && !std::isfinite(reward.value)) reward.status = Status::invalid;
        if (!reward.ok()) outcome.status = reward.status;
        (shown.original_index[k] == 0 ? outcome.chosen_reward : outcome.rejected_reward) =
            reward.ok() ? reward.value : 0;
      }
      result.outcomes.push_back(std::move(outcome));
    }
    on_progress(batch.size());
    batch.clear();
  };

  for (PreferencePair& pair : items) {
    result.absent_media += has_absent_media(pair.prompt);
    batch.push_back(show(std::move(pair), row, context));
    ++row;
    if (batch.size() == batch_size) flush();
  }
  if (!batch.empty()) flush();
  model.finish(row);
  result.metrics = benchmark.summarise(result.outcomes);
  result.edition = benchmark.edition(result.outcomes);
  return result;
}

}  // namespace dt2it
