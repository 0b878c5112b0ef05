// SPDX-License-Identifier: Apache-2.0
#include "core/nn/decoding.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

constexpr std::int64_t kFirstRoom = 64;

std::int64_t block_rows(const VlModel& model) { return model.device().is_cpu() ? 8 : 64; }

at::Tensor integers(std::span<const std::int64_t> values, at::Device device) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.data_ptr<std::int64_t>());
  return tensor.to(device);
}

}  // namespace

PackedDecoding::PackedDecoding(VlModel& model, const ImageProcessorConfig& images, std::span<const TokenTree* const> prompts,
                               std::span<const std::size_t> samples)
    : model_(model), room_(kFirstRoom) {
  const at::NoGradGuard no_grad;
  std::int64_t sequences = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i]->tokens.empty() || !prompts[i]->branch_ends.empty())
      throw ModelError("a prompt to go on from must have tokens and no branches");
    prompt_rows_ += static_cast<std::int64_t>(prompts[i]->tokens.size());
    sequences += static_cast<std::int64_t>(samples[i]);
  }
  // The last rows of the cache are for the rows that fill up a block.
  cache_ = model_.make_cache(prompt_rows_ + sequences * room_ + 1);
  std::int64_t base = 0;
  std::vector<at::Tensor> logits;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto length = static_cast<std::int64_t>(prompts[i]->tokens.size());
    const std::int64_t last = length - 1;
    PackedBatch batch = pack_trees(prompts.subspan(i, 1), images, {&last, 1});
    std::vector<std::int64_t> rows(static_cast<std::size_t>(length));
    for (std::int64_t k = 0; k < length; ++k) rows[static_cast<std::size_t>(k)] = base + k;
    AttentionPlan plan, last_plan;
    plan.add({.query = 0, .count = length, .own = base, .own_count = length});
    plan.end_group();
    last_plan.add({.query = 0, .count = 1, .own = base, .own_count = length});
    last_plan.end_group();
    DecoderInput& input = batch.input;
    input.attention = std::make_shared<const Attention>(std::move(plan));
    input.last_attention = std::make_shared<const Attention>(std::move(last_plan));
    input.cache = &cache_;
    input.cache_rows = integers(rows, model_.device());
    const at::Tensor row = model_.logits(forward_packed(model_, batch, HiddenState::normed)).to(at::kCPU, at::kFloat);
    std::int64_t next = 0;
    for (const auto& position : prompts[i]->positions) next = std::max({next, position[0] + 1, position[1] + 1, position[2] + 1});
    for (std::size_t k = 0; k < samples[i]; ++k) {
      live_.push_back({base, length, prompt_rows_ + static_cast<std::int64_t>(live_.size()) * room_, 0, next});
      logits.push_back(row);
    }
    base += length;
  }
  logits_ = logits.empty() ? at::empty({0, model_.config().text.vocabulary}, at::kFloat) : at::cat(logits);
}

// Twice the room for each live sequence, in a new cache.
void PackedDecoding::grow() {
  const std::int64_t room = 2 * room_;
  KeyValueCache larger = model_.make_cache(prompt_rows_ + static_cast<std::int64_t>(live_.size()) * room + 1);
  for (std::size_t layer = 0; layer < cache_.keys.size(); ++layer)
    for (const auto& [from, to] : {std::pair{&cache_.keys, &larger.keys}, std::pair{&cache_.values, &larger.values}}) {
      (*to)[layer].narrow(0, 0, prompt_rows_).copy_((*from)[layer].narrow(0, 0, prompt_rows_));
      for (std::size_t i = 0; i < live_.size(); ++i)
        (*to)[layer]
            .narrow(0, prompt_rows_ + static_cast<std::int64_t>(i) * room, live_[i].length)
            .copy_((*from)[layer].narrow(0, live_[i].own, live_[i].length));
    }
  for (std::size_t i = 0; i < live_.size(); ++i) live_[i].own = prompt_rows_ + static_cast<std::int64_t>(i) * room;
  cache_ = std::move(larger);
  room_ = room;
}

at::Tensor PackedDecoding::block_logits(std::span<const std::int64_t> tokens, std::span<Sequence> sequences) {
  const std::int64_t rows = block_rows(model_), spare = cache_.keys[0].size(0) - 1;
  std::vector<std::int64_t> ids(static_cast<std::size_t>(rows), 0), places(ids), cache_rows(static_cast<std::size_t>(rows), spare);
  AttentionPlan plan;
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto k = static_cast<std::size_t>(i);
    AttentionRun run{.query = i, .count = 1, .own = spare, .own_count = 1};
    if (k < sequences.size()) {
      Sequence& sequence = sequences[k];
      ids[k] = tokens[k];
      places[k] = sequence.next_position++;
      cache_rows[k] = sequence.own + sequence.length++;
      run.full = sequence.prompt;
      run.full_count = sequence.prompt_length;
      run.own = sequence.own;
      run.own_count = sequence.length;
    }
    plan.add(run);
  }
  plan.end_group();
  DecoderInput input;
  input.tokens = integers(ids, model_.device());
  input.positions = integers(places, model_.device()).unsqueeze(0).expand({3, rows});
  input.attention = std::make_shared<const Attention>(std::move(plan));
  input.cache = &cache_;
  input.cache_rows = integers(cache_rows, model_.device());
  return model_.logits(model_.decode(input, nullptr, HiddenState::normed)).to(at::kCPU, at::kFloat);
}

void PackedDecoding::advance(std::span<const std::int64_t> tokens) {
  const at::NoGradGuard no_grad;
  if (tokens.size() != live_.size()) throw ModelError("each live sequence needs one token");
  if (live_.empty()) return;
  if (std::any_of(live_.begin(), live_.end(), [&](const Sequence& s) { return s.length == room_; })) grow();
  std::vector<at::Tensor> parts;
  const auto step = static_cast<std::size_t>(block_rows(model_));
  for (std::size_t begin = 0; begin < live_.size(); begin += step) {
    const std::size_t count = std::min(step, live_.size() - begin);
    parts.push_back(block_logits(tokens.subspan(begin, count), std::span(live_).subspan(begin, count))
                        .narrow(0, 0, static_cast<std::int64_t>(count)));
  }
  logits_ = at::cat(parts);
}

void PackedDecoding::keep(std::span<const std::size_t> rows) {
  std::vector<Sequence> kept;
  std::vector<std::int64_t> index;
  for (const std::size_t row : rows) {
    kept.push_back(live_.at(row));
    index.push_back(static_cast<std::int64_t>(row));
  }
  live_ = std::move(kept);
  logits_ = logits_.index_select(0, integers(index, at::kCPU));
}

}  // namespace dt2it::nn
