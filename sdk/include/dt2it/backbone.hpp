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

// An image or a video ready for the vision tower: resized RGB frames of one size, rows top to bottom, sides multiples of
// patch x merge.
struct PreparedVisual {
  int width = 0;  // pixels
  int height = 0;
  int frames =
      1;  // pictures one after another in `rgb`; the tower joins `temporal` of them, repeating the last
  int tokens = 0;  // placeholders it takes in the text, all frames together
  std::vector<std::uint8_t> rgb;
};

// Placeholders that follow each other in the text. An image is one run; a video is one, or one for each temporal step
// with time stamps between them (Qwen3-VL).
struct VisualRun {
  std::size_t begin = 0;          // index of the first placeholder in `tokens`
  std::size_t visual = 0;         // index in `visuals`
  std::size_t first_feature = 0;  // which of the visual's features comes first
  std::size_t count = 0;
};

struct TokenTree {
  std::vector<std::int64_t> tokens;                    // the prompt's, then branch after branch
  std::vector<std::array<std::int64_t, 3>> positions;  // of each token: time, height, width
  std::size_t prefix = 0;                              // how many tokens the prompt has
  std::vector<std::size_t>
      branch_ends;  // end of each branch in `tokens`; the first begins at `prefix`
  std::vector<std::shared_ptr<const PreparedVisual>> visuals;  // in reading order
  std::vector<VisualRun> visual_runs;  // in reading order; all within the prompt

  std::size_t branch_begin(std::size_t branch) const {
    return branch == 0 ? prefix : branch_ends[branch - 1];
  }
};

// What encoding a record gave. Not ok: missing_media (absent or undecodable), truncated (does not fit the length
// limit without losing image tokens), invalid (no user message, an unusable picture); `detail` says why.
struct EncodedTree {
  Status status = Status::invalid;
  TokenTree tree;
  bool cut = false;  // ok, but the length limit took tokens from the prompt or a response
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

// Sequences that grow token by token, each with its key-value cache; the samples of one prompt share its prefill. Row i
// of all results is the i-th live sequence: prompt after prompt as they came, sample after sample. What a row gives does
// not depend on which rows are beside it: on a CPU to the last bit, on a GPU but for rounding. Holds a NoGradGuard while it works; not thread-safe; must not
// outlive its backbone.
class DT2IT_API Decoding {
 public:
  virtual ~Decoding() = default;
  // Logits of the next token in float32 on the CPU, [live, vocabulary].
  virtual const at::Tensor& logits() const = 0;
  // Appends tokens[i] to the i-th live sequence.
  virtual void advance(std::span<const std::int64_t> tokens) = 0;
  // Goes on with these rows only (strictly increasing).
  virtual void keep(std::span<const std::size_t> rows) = 0;
  // Starts samples[i] more sequences from the i-th of further prompts, behind all others. As in Backbone::decode.
  virtual void join(std::span<const TokenTree* const> prompts,
                    std::span<const std::size_t> samples) = 0;
};

// Not thread-safe, except encode() and (de)tokenize().
class DT2IT_API Backbone {
 public:
  static constexpr const char* kKind = "backbones";
  virtual ~Backbone() = default;

  // Text, images and positions of a prompt and responses to it (possibly none). Thread-safe.
  virtual EncodedTree encode(const Prompt& prompt, std::span<const std::string_view> responses) = 0;

  // Hidden states [n, hidden_size()] of the tokens in `rows` (strictly increasing; token t of tree k counts as the tokens
  // of all trees before it, plus t), or of all tokens where `rows` is empty. What only other rows would need is not
  // computed. Nothing is padded: cost grows with the sum of tokens, whatever lengths are beside each other. Takes part in
  // autograd unless a NoGradGuard is held.
  virtual at::Tensor forward(std::span<const TokenTree* const> trees, HiddenState state,
                             std::span<const std::int64_t> rows = {}) = 0;

  // Next-token logits [n, vocabulary] for normed hidden states [n, hidden_size()].
  virtual at::Tensor logits(const at::Tensor& hidden) = 0;

  // Starts samples[i] sequences from the i-th prompt (a tree without branches).
  virtual std::unique_ptr<Decoding> decode(std::span<const TokenTree* const> prompts,
                                           std::span<const std::size_t> samples) = 0;

  // The weights themselves, not copies; always in the same order.
  virtual std::vector<NamedParameter> parameters() = 0;

  virtual std::int64_t hidden_size() const = 0;

  // Ids of a text by itself, without a chat template.
  virtual std::vector<std::int64_t> tokenize(std::string_view text) const = 0;
  // The text of ids, without special tokens.
  virtual std::string detokenize(std::span<const std::int64_t> ids) const = 0;
  // Tokens that end an answer (generation_config.json, else the end of a turn).
  virtual std::vector<std::int64_t> end_tokens() const = 0;

  // The weights of checkpoint() again, in place: a component is shared within a stage, and training changes it.
  virtual void reload() = 0;

  // The folder it was loaded from.
  virtual const std::filesystem::path& checkpoint() const = 0;

  // Writes a folder that Hugging Face transformers can load: weights (in the type that config.json names),
  // configuration, tokenizer and processor files. The same weights give the same bytes.
  virtual void save(const std::filesystem::path& folder) = 0;
};

}  // namespace dt2it
