// SPDX-License-Identifier: Apache-2.0
#pragma once

// Reads a Hugging Face tokenizer.json and does what it says: byte-level BPE (the Qwen family) and
// word level (the mini world). Anything in the file that is not implemented is refused on loading,
// never ignored.
//   normalizers      Sequence, NFC, Lowercase, Replace (with a plain string)
//   pre-tokenizers   Sequence, Whitespace, Split (regular expression, Isolated), ByteLevel (without
//   its own pattern) models           BPE, WordLevel decoders         ByteLevel, or none (pieces
//   joined by spaces)

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dt2it::nn {

// Thread-safe after construction. Each thread that encodes keeps 2 MiB of words it met, for all
// tokenizers together.
class Tokenizer {
 public:
  // Throws ModelError naming the file and what is wrong or not supported.
  explicit Tokenizer(const std::filesystem::path& tokenizer_json);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Added tokens are cut out of the text first. Nothing is put before or after. Broken UTF-8 counts
  // as U+FFFD. Throws ModelError where a pattern of the file takes too many steps on this text.
  std::vector<std::int64_t> encode(std::string_view text) const;

  // Unknown ids are left out; what is not UTF-8 becomes U+FFFD.
  std::string decode(std::span<const std::int64_t> ids, bool skip_special = false) const;

  // The id of a whole token ("<|im_end|>", "ring"); none when there is no such token.
  std::optional<std::int64_t> id(std::string_view token) const;
  // One more than the largest id.
  std::int64_t size() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dt2it::nn
