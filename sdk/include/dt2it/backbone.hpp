// SPDX-License-Identifier: Apache-2.0
#pragma once

// A multimodal language model as trainers and reward models see it. The only SDK header that needs LibTorch.
//
// Work is done on trees: one prompt (text and images) and the responses to it as branches. The prompt is computed once
// however many responses it has; each branch sees the prompt and itself, never its siblings, and its positions go on
// after the prompt's largest one. A tree gives the same hidden states as its branches would as separate sequences.

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/export.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// An image ready for the vision tower: resized RGB, rows top to bottom, sides multiples of patch x merge.
struct PreparedImage {
  int width = 0;   // pixels
  int height = 0;
  int tokens = 0;  // placeholders it takes in the text
  std::vector<std::uint8_t> rgb;
};

struct TokenTree {
  std::vector<std::int64_t> tokens;                     // the prompt's, then branch after branch
  std::vector<std::array<std::int64_t, 3>> positions;   // of each token: time, height, width
  std::size_t prefix = 0;                               // how many tokens the prompt has
  std::vector<std::size_t> branch_ends;                 // end of each branch in `tokens`; the first begins at `prefix`
  std::vector<std::shared_ptr<const PreparedImage>> images;  // in reading order; all within the prompt
  std::vector<std::size_t> image_begins;                // index of each image's first placeholder in `tokens`

  std::size_t branch_begin(std::size_t branch) const { return branch == 0 ? prefix : branch_ends[branch - 1]; }
};

// What encoding a record gave. Not ok: missing_media (absent or undecodable), truncated (does not fit the length
// limit without losing image tokens), invalid (no user message, a video); `detail` says why.
struct EncodedTree {
  Status status = Status::invalid;
  TokenTree tree;
  std::string detail;
};

struct NamedParameter {
  std::string name;  // as in the checkpoint
  at::Tensor tensor;
  bool trainable = true;  // false: frozen by the backbone's own parameters
};

// Which hidden state: after the last layer, with or without the final norm. Reward heads of published
// checkpoints read one or the other; next-token logits need the normed one.
enum class HiddenState : std::uint8_t { normed, unnormed };

// Not thread-safe, except encode().
class DT2IT_API Backbone {
 public:
  static constexpr const char* kKind = "backbones";
  virtual ~Backbone() = default;

  // Text, images and positions of a prompt and responses to it (possibly none). Thread-safe.
  virtual EncodedTree encode(const Prompt& prompt, std::span<const std::string_view> responses) = 0;

  // Hidden states [all tokens, hidden_size()]: rows are the trees' tokens in order. Takes part in autograd unless a
  // NoGradGuard is held. Cost grows with the longest tree of the call times their number: pass trees of similar length.
  virtual at::Tensor forward(std::span<const TokenTree* const> trees, HiddenState state) = 0;

  // Next-token logits [n, vocabulary] for normed hidden states [n, hidden_size()].
  virtual at::Tensor logits(const at::Tensor& hidden) = 0;

  // The weights themselves, not copies; always in the same order.
  virtual std::vector<NamedParameter> parameters() = 0;

  virtual std::int64_t hidden_size() const = 0;

  // Ids of a text by itself, without a chat template.
  virtual std::vector<std::int64_t> tokenize(std::string_view text) const = 0;

  // The weights of checkpoint() again, in place: a component is shared within a stage, and training changes it.
  virtual void reload() = 0;

  // The folder it was loaded from.
  virtual const std::filesystem::path& checkpoint() const = 0;

  // Writes a folder that Hugging Face transformers can load: weights (in the type that config.json names),
  // configuration and tokenizer. The same weights give the same bytes.
  virtual void save(const std::filesystem::path& folder) = 0;
};

}  // namespace dt2it
