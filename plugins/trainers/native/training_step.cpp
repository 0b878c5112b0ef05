// SPDX-License-Identifier: Apache-2.0
// What a step of a training computes.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <optional>

#include "core/nn/adapters.hpp"
#include "core/nn/index_tensor.hpp"
#include "core/nn/parallel.hpp"
#include "core/nn/safetensors.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"
#include "plugins/trainers/native/training.hpp"

namespace dt2it::native {
namespace {

std::vector<const Unit*> pointers(const std::vector<Unit>& units) {
  std::vector<const Unit*> all;
  for (const Unit& unit : units)
    if (!unit.comparisons.empty()) all.push_back(&unit);
  return all;
}

at::Tensor floats(std::vector<float> values, at::Device device) {
  return float_tensor(values).to(device);
}

bool out_of_memory(const std::string& what) {
  return what.find("out of memory") != std::string::npos ||
         what.find("can't allocate memory") != std::string::npos ||
         what.find("not enough memory") != std::string::npos;
}

}  // namespace

void Training::Sums::add_up(nn::ProcessGroup& group) {
  if (group.size() == 1) return;
  std::vector<double*> places{&count,    &loss,  &plain_loss, &right,    &margin, &chosen,
                              &rejected, &pairs, &tokens,     &left_out, &cut,    &spread};
  for (double& value : source_pairs) places.push_back(&value);
  for (double& value : source_right) places.push_back(&value);
  std::vector<double> values;
  for (const double* place : places) values.push_back(*place);
  group.sum(values.data(), values.size());
  for (std::size_t i = 0; i < places.size(); ++i) *places[i] = values[i];
}

Unit Training::encode(const std::vector<PreferencePair>& records,
                      std::span<const std::size_t> members, bool complain) const {
  return encode_unit(*backbone_, records, members, objective_,
                     [&](const PreferencePair& pair, const std::string& why) {
                       if (complain)
                         context_.log(LogLevel::warning,
                                      fmt::format("pair '{}' is left out: {}", pair.id, why));
                     });
}

Batch Training::make_batch(std::int64_t step) {
  Batch batch;
  batch.records = order_->batch(step);
  const auto shares = order_->shares(batch.records, group_.size());
  const auto& mine = shares[static_cast<std::size_t>(group_.rank())];
  batch.units.resize(mine.size());
  nn::parallel_for(mine.size(), static_cast<unsigned>(std::max(1, params_.encoder_threads)),
                   [&](std::size_t i) { batch.units[i] = encode(train_.records, mine[i], true); });
  return batch;
}

// What a unit adds to the number that the mean is over: comparisons, or tokens of responses.
double Training::counted(const Unit& unit) const {
  if (objective_ != Objective::next_token) return static_cast<double>(unit.comparisons.size());
  double tokens = 0;
  for (const Comparison& comparison : unit.comparisons) {
    const TokenTree& tree = unit.trees[0];
    tokens += static_cast<double>(tree.branch_ends[comparison.chosen] -
                                  tree.branch_begin(comparison.chosen));
  }
  return tokens;
}

// By which each record's loss is multiplied. LLaMA-Factory takes the mean of each micro-batch, then of all micro-batches.
std::unordered_map<std::size_t, float> Training::record_weights(const Batch& batch,
                                                                double count) const {
  std::unordered_map<std::size_t, float> weights;
  const auto micro = static_cast<std::size_t>(params_.micro_batch_size),
             size = batch.records.size();
  const bool by_micro_batch =
      params_.llamafactory() && micro > 0 && objective_ != Objective::next_token;
  for (std::size_t i = 0; i < size; ++i) {
    double weight = 1 / count;
    if (by_micro_batch) {
      const std::size_t begin = i / micro * micro, own = std::min(micro, size - begin),
                        all = (size + micro - 1) / micro;
      weight = 1.0 / static_cast<double>(own * all);
    }
    weights[batch.records[i]] = static_cast<float>(weight);
  }
  return weights;
}

Targets Training::targets(const Set& set, std::span<const Unit* const> pack) const {
  const bool margins = params_.margin > 0 || params_.margin_from_strength > 0;
  std::vector<float> margin, label, tie;
  for (const Unit* unit : pack)
    for (const Comparison& comparison : unit->comparisons) {
      const std::optional<double>& strength = set.records[comparison.record].strength;
      margin.push_back(static_cast<float>(
          params_.margin + params_.margin_from_strength * std::max(0.0, strength.value_or(0))));
      label.push_back(strength
                          ? static_cast<float>(1 / (1 + std::exp(-params_.soft_labels * *strength)))
                          : 1.f);
      tie.push_back(strength && std::abs(*strength) <= params_.tie_strength ? 1.f : 0.f);
    }
  Targets targets;
  const at::Device device = head_.weight.device();
  if (margins) targets.margin = floats(std::move(margin), device);
  if (params_.soft_labels > 0) targets.label = floats(std::move(label), device);
  if (params_.tie_theta > 1) targets.tie = floats(std::move(tie), device);
  return targets;
}

// The same whatever packs and processes a step is cut into.
at::Tensor Training::dropout_mask(std::span<const Unit* const> pack, std::int64_t step) const {
  if (params_.dropout() <= 0 || objective_ != Objective::reward) return {};
  std::int64_t rows = 0;
  for (const Unit* unit : pack) rows += static_cast<std::int64_t>(unit->branches());
  const std::int64_t width = backbone_->hidden_size();
  at::Tensor mask = at::empty({rows, width}, at::kFloat);
  auto* out = mask.data_ptr<float>();
  const auto kept = static_cast<float>(1 / (1 - params_.dropout()));
  for (const Unit* unit : pack) {
    Rng rng(stable_hash(fmt::format("dropout/{}/{}", step, unit->comparisons[0].record),
                        request_.seed));
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(unit->branches()) * width; ++i)
      *out++ = rng.chance(params_.dropout()) ? 0.f : kept;
  }
  return mask;
}

Training::Computed Training::compute(const Set& set, std::span<const Unit* const> pack,
                                     const at::Tensor& drop) {
  std::vector<std::int64_t> chosen, rejected;
  std::int64_t base = 0;
  for (const Unit* unit : pack) {
    for (const Comparison& comparison : unit->comparisons) {
      chosen.push_back(base + static_cast<std::int64_t>(comparison.chosen));
      rejected.push_back(base + static_cast<std::int64_t>(comparison.rejected));
    }
    base += static_cast<std::int64_t>(unit->branches());
  }
  const auto pick = [](const at::Tensor& values, const std::vector<std::int64_t>& rows) {
    return values.index_select(0, nn::index_tensor(rows).to(values.device()));
  };
  Computed computed;
  if (objective_ == Objective::reward) {
    const at::Tensor rewards = rewards_of(*backbone_, head_, state(), pack, drop);
    const at::Tensor better = pick(rewards, chosen), worse = pick(rewards, rejected);
    computed.losses = reward_loss(better, worse, targets(set, pack),
                                  {params_.label_smoothing, params_.centering, params_.tie_theta});
    computed.chosen = better.detach();
    computed.rejected = worse.detach();
    return computed;
  }
  const SequenceLogProbabilities made = sequence_log_probabilities(*backbone_, pack);
  const at::Tensor better = pick(made.sums, chosen);
  if (objective_ == Objective::next_token) {
    computed.losses = -better;
    computed.right = made.right;
    return computed;
  }
  const at::Tensor worse = pick(made.sums, rejected);
  std::vector<float> reference_chosen, reference_rejected, lengths;
  for (const Unit* unit : pack)
    for (const Comparison& comparison : unit->comparisons) {
      reference_chosen.push_back(set.reference[comparison.record][0]);
      reference_rejected.push_back(set.reference[comparison.record][1]);
    }
  const at::Device device = better.device();
  computed.losses =
      dpo_loss(better, worse, floats(std::move(reference_chosen), device),
               floats(std::move(reference_rejected), device),
               {params_.beta, params_.label_smoothing}, computed.chosen, computed.rejected);
  if (params_.sft_weight > 0) {
    for (const std::int64_t branch : chosen)
      lengths.push_back(static_cast<float>(made.tokens[static_cast<std::size_t>(branch)]));
    computed.losses =
        computed.losses - params_.sft_weight * better / floats(std::move(lengths), device);
  }
  computed.chosen = computed.chosen.detach();
  computed.rejected = computed.rejected.detach();
  return computed;
}

void Training::tally(const Set& set, std::span<const Unit* const> pack, const Computed& computed,
                     Sums& sums) const {
  std::size_t at = 0;
  at::Tensor chosen, rejected;
  if (computed.chosen.defined()) {
    chosen = computed.chosen.to(at::kCPU, at::kDouble).contiguous();
    rejected = computed.rejected.to(at::kCPU, at::kDouble).contiguous();
  }
  for (const Unit* unit : pack) {
    sums.tokens += static_cast<double>(unit->tokens());
    sums.pairs += static_cast<double>(unit->comparisons.size());
    sums.count += counted(*unit);
    if (!chosen.defined()) continue;
    for (const Comparison& comparison : unit->comparisons) {
      const double better = chosen.const_data_ptr<double>()[at],
                   worse = rejected.const_data_ptr<double>()[at];
      ++at;
      sums.chosen += better;
      sums.rejected += worse;
      sums.margin += better - worse;
      sums.right += better > worse;
      sums.plain_loss +=
          std::log1p(std::exp(-std::abs(better - worse))) + std::max(0.0, worse - better);
      if (&set != &train_) continue;
      const std::size_t source = source_of_[comparison.record];
      sums.source_pairs[source] += 1;
      sums.source_right[source] += better > worse;
    }
  }
  sums.right += static_cast<double>(computed.right);
  if (chosen.defined() && chosen.numel() > 0)
    sums.spread = std::max(
        sums.spread, std::max(chosen.max().item<double>(), rejected.max().item<double>()) -
                         std::min(chosen.min().item<double>(), rejected.min().item<double>()));
}

Training::Sums Training::step_on(const Batch& batch, std::int64_t step) {
  // A step does not depend on those before it.
  nn::seed_dropout(*backbone_,
                   stable_hash(fmt::format("generator/{}/{}", step, group_.rank()), request_.seed));
  Sums sums;
  sums.source_pairs.assign(sources_.size(), 0);
  sums.source_right.assign(sources_.size(), 0);
  const std::vector<const Unit*> units = pointers(batch.units);
  double count = 0;
  for (const Unit* unit : units) count += counted(*unit);
  group_.sum(&count, 1);
  for (const Unit& unit : batch.units) {
    sums.left_out += static_cast<double>(unit.left_out.size());
    sums.cut += static_cast<double>(unit.cut);
  }
  const auto weight_of = record_weights(batch, count);
  const auto packs = cut_packs(units, static_cast<std::size_t>(params_.tokens_per_pack),
                               static_cast<std::size_t>(params_.micro_batch_size));
  for (const auto pack : packs) {
    try {
      const Computed computed = compute(train_, pack, dropout_mask(pack, step));
      std::vector<float> weights;
      for (const Unit* unit : pack)
        for (const Comparison& comparison : unit->comparisons)
          weights.push_back(weight_of.at(comparison.record));
      const at::Tensor loss =
          (computed.losses * floats(std::move(weights), computed.losses.device())).sum();
      loss.backward();
      optimizer_->collect_gradients();
      sums.loss += loss.item<double>();
      tally(train_, pack, computed, sums);
    } catch (const std::exception& error) {
      if (!dynamic_cast<const std::bad_alloc*>(&error) && !out_of_memory(error.what())) throw;
      std::size_t tokens = 0, visuals = 0;
      for (const Unit* unit : pack) {
        tokens += unit->tokens();
        for (const TokenTree& tree : unit->trees) visuals += tree.visuals.size();
      }
      optimizer_->zero_grad();
      fail(fmt::format("out of memory in a pack of {} tokens, {} images and {} pairs (first: "
                       "'{}'). Lower tokens_per_pack (say {}), "
                       "or set gradient_checkpointing of the backbone, or image_max_pixels",
                       tokens, visuals, pack.size(),
                       train_.records[pack[0]->comparisons[0].record].id,
                       std::max<std::size_t>(256, tokens / 2)),
           step);
    }
  }
  return sums;
}

HeldOutResult Training::evaluate() {
  const at::NoGradGuard no_grad;
  Sums sums;
  const std::size_t step = static_cast<std::size_t>(group_.size());
  std::vector<Unit> units;
  std::size_t tokens = 0;
  const auto work = [&] {
    const std::vector<const Unit*> all = pointers(units);
    for (const auto pack : cut_packs(all, static_cast<std::size_t>(params_.tokens_per_pack), 0)) {
      const Computed computed = compute(held_out_, pack, {});
      sums.loss += computed.losses.sum().item<double>();
      tally(held_out_, pack, computed, sums);
    }
    units.clear();
    tokens = 0;
  };
  for (std::size_t i = static_cast<std::size_t>(group_.rank()); i < held_out_.records.size();
       i += step) {
    units.push_back(encode(held_out_.records, {&i, 1}, false));
    tokens += units.back().tokens();
    if (tokens >= static_cast<std::size_t>(params_.tokens_per_pack)) work();
  }
  work();
  sums.add_up(group_);
  HeldOutResult result;
  const double count = std::max(1.0, sums.count);
  result.pairs = static_cast<std::int64_t>(sums.pairs);
  result.loss = sums.loss / count;
  result.accuracy = sums.right / count;
  result.margin = sums.margin / std::max(1.0, sums.pairs);
  return result;
}

// Kept beside the snapshots: after them the model is no longer the reference.
void Training::find_reference(Set& set, const std::string& name) {
  if (set.records.empty()) return;
  const auto count = static_cast<std::int64_t>(set.records.size());
  const std::filesystem::path file = snapshots_.folder() / (name + ".safetensors");
  at::Tensor values = at::zeros({count, 2}, at::kDouble);
  if (snapshots_.possible() && std::filesystem::exists(file)) {
    const nn::SafetensorsFile saved(file);
    const at::Tensor stored = saved.load("log_probabilities");
    if (stored.sizes() != values.sizes())
      throw ModelError(fmt::format("{}: has {} pairs, the data {}: remove {} to start over",
                                   file.string(), stored.size(0), count,
                                   snapshots_.folder().string()));
    values = stored;
  } else {
    const at::NoGradGuard no_grad;
    std::optional<nn::WithoutAdapters> off;
    if (params_.reference == "adapters_off") {
      if (!nn::has_adapters(*backbone_))
        throw ConfigError(
            "trainers/native: reference = \"adapters_off\", but the backbone has no adapters");
      off.emplace(*backbone_);
    }
    auto* out = values.data_ptr<double>();
    for (auto i = static_cast<std::size_t>(group_.rank()); i < set.records.size();
         i += static_cast<std::size_t>(group_.size())) {
      const Unit unit = encode(set.records, {&i, 1}, false);
      if (unit.comparisons.empty()) continue;
      const Unit* pack = &unit;
      const at::Tensor sums = sequence_log_probabilities(*backbone_, {&pack, 1})
                                  .sums.to(at::kCPU, at::kDouble)
                                  .contiguous();
      out[2 * i] = sums.const_data_ptr<double>()[0];
      out[2 * i + 1] = sums.const_data_ptr<double>()[1];
    }
    group_.sum(out, static_cast<std::size_t>(2 * count));
    if (snapshots_.possible() && leads())
      nn::write_safetensors(file, {{"log_probabilities", values}});
  }
  const double* from = values.const_data_ptr<double>();
  for (std::size_t i = 0; i < set.records.size(); ++i)
    set.reference.push_back({static_cast<float>(from[2 * i]), static_cast<float>(from[2 * i + 1])});
}

}  // namespace dt2it::native
