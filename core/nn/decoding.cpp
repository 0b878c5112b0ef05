// SPDX-License-Identifier: Apache-2.0
#include "core/nn/decoding.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <map>
#include <numeric>

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

PackedDecoding::PackedDecoding(VlModel& model, const ImageProcessorConfig& images,
                               std::span<const TokenTree* const> prompts,
                               std::span<const std::size_t> samples)
    : model_(model),
      images_(images),
      room_(kFirstRoom),
      logits_(at::empty({0, model.config().text.vocabulary}, at::kFloat)) {
  join(prompts, samples);
}

void PackedDecoding::join(std::span<const TokenTree* const> prompts,
                          std::span<const std::size_t> samples) {
  const at::NoGradGuard no_grad;
  std::int64_t rows = 0, sequences = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i]->tokens.empty() || !prompts[i]->branch_ends.empty())
      throw ModelError("a prompt to go on from must have tokens and no branches");
    rows += static_cast<std::int64_t>(prompts[i]->tokens.size());
    sequences += static_cast<std::int64_t>(samples[i]);
  }
  lay_out(room_, rows, sequences);
  std::int64_t base = prompt_rows_ - rows;
  std::vector<at::Tensor> logits{logits_};
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const at::Tensor row = prefill(*prompts[i], base);
    const auto length = static_cast<std::int64_t>(prompts[i]->tokens.size());
    std::int64_t next = 0;
    for (const auto& position : prompts[i]->positions)
      next = std::max({next, position[0] + 1, position[1] + 1, position[2] + 1});
    for (std::size_t k = 0; k < samples[i]; ++k) {
      live_.push_back(
          {base, length, prompt_rows_ + static_cast<std::int64_t>(live_.size()) * room_, 0, next});
      logits.push_back(row);
    }
    base += length;
  }
  logits_ = at::cat(logits);
}

// Computes the prompt's keys and values into the cache, from row `base` on; logits [1, vocabulary] of what follows it.
at::Tensor PackedDecoding::prefill(const TokenTree& prompt, std::int64_t base) {
  const auto length = static_cast<std::int64_t>(prompt.tokens.size());
  const std::int64_t last = length - 1;
  const TokenTree* tree = &prompt;
  PackedBatch batch = pack_trees({&tree, 1}, images_, {&last, 1});
  std::vector<std::int64_t> rows(static_cast<std::size_t>(length));
  std::iota(rows.begin(), rows.end(), base);
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
  return model_.logits(forward_packed(model_, batch, HiddenState::normed)).to(at::kCPU, at::kFloat);
}

// A new cache: the prompts that are still in use, rows for more of them, then `room` rows for each sequence and, last, one
// for the rows that fill up a block. What finished sequences held is given back here.
void PackedDecoding::lay_out(std::int64_t room, std::int64_t more_prompt_rows,
                             std::int64_t more_sequences) {
  struct Move {
    std::int64_t from, to, count;
  };
  std::vector<Move> moves;
  std::map<std::int64_t, std::int64_t> prompts;  // old place to new
  std::int64_t rows = 0;
  for (const Sequence& sequence : live_)
    if (prompts.emplace(sequence.prompt, rows).second) {
      moves.push_back({sequence.prompt, rows, sequence.prompt_length});
      rows += sequence.prompt_length;
    }
  rows += more_prompt_rows;
  std::int64_t own = rows;
  for (Sequence& sequence : live_) {
    moves.push_back({sequence.own, own, sequence.length});
    sequence.prompt = prompts.at(sequence.prompt);
    sequence.own = own;
    own += room;
  }
  KeyValueCache fresh = model_.make_cache(own + more_sequences * room + 1);
  for (std::size_t layer = 0; layer < cache_.keys.size(); ++layer)
    for (const auto& [from, to] :
         {std::pair{&cache_.keys, &fresh.keys}, std::pair{&cache_.values, &fresh.values}}) {
      for (const Move& move : moves)
        (*to)[layer]
            .narrow(0, move.to, move.count)
            .copy_((*from)[layer].narrow(0, move.from, move.count));
      (*from)[layer].reset();  // not both whole caches at once
    }
  cache_ = std::move(fresh);
  prompt_rows_ = rows;
  room_ = room;
}

at::Tensor PackedDecoding::block_logits(std::span<const std::int64_t> tokens,
                                        std::span<Sequence> sequences) {
  const std::int64_t rows = block_rows(model_), spare = cache_.keys[0].size(0) - 1;
  std::vector<std::int64_t> ids(static_cast<std::size_t>(rows), 0), places(ids),
      cache_rows(static_cast<std::size_t>(rows), spare);
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
  if (std::any_of(live_.begin(), live_.end(), [&](const Sequence& s) { return s.length == room_; }))
    lay_out(2 * room_, 0, 0);
  std::vector<at::Tensor> parts;
  const auto step = static_cast<std::size_t>(block_rows(model_));
  for (std::size_t begin = 0; begin < live_.size(); begin += step) {
    const std::size_t count = std::min(step, live_.size() - begin);
    parts.push_back(
        block_logits(tokens.subspan(begin, count), std::span(live_).subspan(begin, count))
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
