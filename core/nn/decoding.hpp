// SPDX-License-Identifier: Apache-2.0
#pragma once

// Generation with a key-value cache: see dt2it::Decoding.

#include <memory>
#include <span>
#include <vector>

#include "core/nn/packed_batch.hpp"
#include "core/nn/vl_model.hpp"

namespace dt2it::nn {

// A matrix product may round differently for another number of rows. So each prompt is computed by itself, and later
// tokens in blocks of a fixed number of rows: a sequence never notices what is computed beside it.
class PackedDecoding final : public Decoding {
 public:
  PackedDecoding(VlModel& model, const ImageProcessorConfig& images,
                 std::span<const TokenTree* const> prompts, std::span<const std::size_t> samples);

  const at::Tensor& logits() const override { return logits_; }
  void advance(std::span<const std::int64_t> tokens) override;
  void keep(std::span<const std::size_t> rows) override;
  void join(std::span<const TokenTree* const> prompts,
            std::span<const std::size_t> samples) override;

 private:
  struct Sequence {
    std::int64_t prompt, prompt_length;  // rows of the cache
    std::int64_t own = 0, length = 0;    // rows of its own tokens
    std::int64_t next_position = 0;
  };
  void lay_out(std::int64_t room, std::int64_t more_prompt_rows, std::int64_t more_sequences);
  at::Tensor prefill(const TokenTree& prompt, std::int64_t base);
  at::Tensor block_logits(std::span<const std::int64_t> tokens, std::span<Sequence> sequences);

  VlModel& model_;
  const ImageProcessorConfig& images_;
  std::vector<Sequence> live_;
  KeyValueCache cache_;
  std::int64_t prompt_rows_ =
      0;                   // rows that hold prompts, all of them at the beginning of the cache
  std::int64_t room_ = 0;  // tokens of its own that each sequence has rows for
  at::Tensor logits_;
};

}  // namespace dt2it::nn
