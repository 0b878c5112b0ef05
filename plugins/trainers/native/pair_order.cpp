// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/native/pair_order.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randperm.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "dt2it/response_key.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::native {

PairOrder::PairOrder(const Params& params, std::uint64_t seed,
                     std::span<const PreferencePair> records)
    : params_(params), seed_(seed), records_(records) {
  const auto count = static_cast<std::int64_t>(records.size());
  per_epoch_ = (count + params.batch_size - 1) / params.batch_size;
  steps_ = per_epoch_ * params.epochs;
  if (params.max_steps > 0) steps_ = std::min(steps_, params.max_steps);
  if (params.pair_order() != "prompts") return;
  std::unordered_map<std::string, std::size_t> numbers;
  for (const PreferencePair& record : records) {
    // Pairs with two prompts are trees of their own.
    const std::string key = record.rejected_prompt ? fmt::format("\x1d{}", prompt_of_.size())
                                                   : prompt_text_for_key(record.prompt);
    prompt_of_.push_back(numbers.try_emplace(key, numbers.size()).first->second);
  }
  prompts_ = numbers.size();
}

std::vector<std::size_t> PairOrder::epoch_order(std::int64_t epoch) const {
  const std::string kind = params_.pair_order();
  const std::size_t count = records_.size();
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (kind == "file") return order;
  if (kind == "llamafactory") {  // accelerate's SeedableRandomSampler
    const auto base = params_.order_seed >= 0 ? static_cast<std::uint64_t>(params_.order_seed)
                                              : seed_ & 0x7fffffff;
    const at::Tensor drawn = at::randperm(
        static_cast<std::int64_t>(count),
        at::detail::createCPUGenerator(base + static_cast<std::uint64_t>(epoch)), at::kLong);
    const std::int64_t* values = drawn.const_data_ptr<std::int64_t>();
    for (std::size_t i = 0; i < count; ++i) order[i] = static_cast<std::size_t>(values[i]);
    return order;
  }
  Rng rng(stable_hash(fmt::format("order/{}", epoch), seed_));
  if (kind == "shuffled") return rng.permutation(count);
  const std::vector<std::size_t> prompts = rng.permutation(prompts_);
  std::vector<std::size_t> place(prompts_);
  for (std::size_t i = 0; i < prompts_; ++i) place[prompts[i]] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return place[prompt_of_[a]] < place[prompt_of_[b]];
  });
  return order;
}

std::vector<std::size_t> PairOrder::batch(std::int64_t step) {
  const std::int64_t epoch = step / per_epoch_;
  if (epoch != epoch_) {
    order_ = epoch_order(epoch);
    epoch_ = epoch;
  }
  const auto size = static_cast<std::size_t>(params_.batch_size);
  const std::size_t begin = static_cast<std::size_t>(step % per_epoch_) * size,
                    end = std::min(begin + size, order_.size());
  return {order_.begin() + static_cast<std::ptrdiff_t>(begin),
          order_.begin() + static_cast<std::ptrdiff_t>(end)};
}

// Tokens, roughly: what a record costs is known exactly only after it is encoded, which one process does.
double PairOrder::cost(std::size_t record) const {
  const PreferencePair& pair = records_[record];
  double sum = 30 + 0.25 * static_cast<double>(pair.chosen.text.size() + pair.rejected.text.size());
  const auto add = [&](const Prompt& prompt) {
    for (const Message& message : prompt.messages)
      for (const Part& part : message.content)
        sum += part.kind == Part::Kind::text ? 0.25 * static_cast<double>(part.text.size()) : 300.0;
  };
  add(pair.prompt);
  if (pair.rejected_prompt) add(*pair.rejected_prompt);
  return sum;
}

std::vector<std::vector<std::vector<std::size_t>>> PairOrder::shares(
    const std::vector<std::size_t>& batch, int processes) const {
  std::vector<std::vector<std::size_t>> units;
  for (const std::size_t record : batch) {
    const bool together =
        !prompt_of_.empty() && !units.empty() && prompt_of_[units.back()[0]] == prompt_of_[record];
    if (together)
      units.back().push_back(record);
    else
      units.push_back({record});
  }
  std::vector<std::vector<std::vector<std::size_t>>> shares(static_cast<std::size_t>(processes));
  if (processes == 1) {
    shares[0] = std::move(units);
    return shares;
  }
  // The dearest first, each to who has least.
  std::vector<double> costs(units.size()), loads(shares.size());
  for (std::size_t i = 0; i < units.size(); ++i)
    for (const std::size_t record : units[i]) costs[i] += cost(record);
  std::vector<std::size_t> by_cost(units.size()), owner(units.size());
  std::iota(by_cost.begin(), by_cost.end(), std::size_t{0});
  std::stable_sort(by_cost.begin(), by_cost.end(),
                   [&](std::size_t a, std::size_t b) { return costs[a] > costs[b]; });
  for (const std::size_t i : by_cost) {
    owner[i] =
        static_cast<std::size_t>(std::min_element(loads.begin(), loads.end()) - loads.begin());
    loads[owner[i]] += costs[i];
  }
  for (std::size_t i = 0; i < units.size(); ++i) shares[owner[i]].push_back(std::move(units[i]));
  return shares;
}

}  // namespace dt2it::native
