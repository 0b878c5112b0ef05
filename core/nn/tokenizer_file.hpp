// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a tokenizer.json says, checked and laid out for tokenizer.cpp.

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/nn/bpe.hpp"
#include "core/nn/normalizer.hpp"
#include "core/nn/pre_tokenizer.hpp"
#include "core/nn/vocabulary.hpp"

namespace dt2it::nn {

struct AddedToken {
  std::string text;  // as it is looked for: normalized when the text is
  std::int64_t id = 0;
  bool special = false, normalized = false, left_strip = false, right_strip = false;
};

// What an id decodes to, in TokenizerFile::decoded.
struct DecodedPiece {
  std::uint32_t offset = 0, length = 0;
  bool known = false, special = false;
};

struct TokenizerFile {
  std::vector<Normalizer> normalizers;
  std::vector<Splitter> splitters;
  bool byte_level = false;
  bool byte_decoder = false;
  bool word_level = false;
  bool ignore_merges = false;
  std::optional<std::int32_t> unknown;
  Vocabulary vocabulary;
  std::array<std::string, 256> alphabet = byte_alphabet();
  std::array<std::int32_t, 256> byte_ids{};
  BpeMerges merges;
  std::vector<AddedToken> added_tokens;  // longest first
  Vocabulary added_ids;                  // their texts as the file has them
  std::vector<DecodedPiece> pieces;      // by id
  std::string decoded;

  // Of valid UTF-8; `buffers` hold the result unless nothing changes.
  std::string_view normalise(std::string_view text, std::array<std::string, 2>& buffers) const;
};

// Throws ModelError naming the file and what is wrong or not supported.
TokenizerFile read_tokenizer_file(const std::filesystem::path& path);

}  // namespace dt2it::nn
