// SPDX-License-Identifier: Apache-2.0
#pragma once

// Byte-pair merging over token ids, and the alphabet in which byte-level vocabularies are written.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace dt2it::nn {

// Byte-level vocabularies write every byte as a printable character: Latin-1 letters and signs stand for themselves, the
// other bytes are the characters from U+0100 on, in order.
std::array<std::string, 256> byte_alphabet();

class BpeMerges {
 public:
  // Merging `left` and `right` gives `merged`; pairs added earlier go first.
  void add(std::int32_t left, std::int32_t right, std::int32_t merged);
  // Merges until no pair applies: always the earliest added pair, the leftmost where it occurs twice.
  void apply(std::vector<std::int32_t>& symbols) const;

 private:
  struct Merge {
    std::int32_t rank, merged;
  };
  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  std::unordered_map<std::uint64_t, Merge> merges_;
};

}  // namespace dt2it::nn
