// SPDX-License-Identifier: Apache-2.0
#pragma once

// Byte-pair merging over token ids, and the alphabet in which byte-level vocabularies are written.

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace dt2it::nn {

// Byte-level vocabularies write every byte as a printable character: Latin-1 letters and signs
// stand for themselves, the other bytes are the characters from U+0100 on, in order.
std::array<std::string, 256> byte_alphabet();

class BpeMerges {
 public:
  explicit BpeMerges(std::size_t count = 0);  // how many will be added

  // Merging `left` and `right` gives `merged`; pairs added earlier go first. A pair added twice
  // counts as the later one.
  void add(std::int32_t left, std::int32_t right, std::int32_t merged);
  // Merges until no pair applies: always the earliest added pair, the leftmost where it occurs
  // twice. A word of n symbols costs n log n: texts without spaces can be very long words.
  void apply(std::vector<std::int32_t>& symbols) const;

 private:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  struct Merge {
    std::uint32_t rank = kNone;
    std::int32_t merged = 0;
  };
  struct Slot {
    std::uint64_t key = ~std::uint64_t{0};
    Merge merge;
  };
  static constexpr std::int32_t kSmallIds =
      256;  // usually the bytes: their pairs are the first look of every word

  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
           static_cast<std::uint32_t>(right);
  }
  std::size_t home(std::uint64_t key) const {
    return static_cast<std::size_t>(key * 0x9e3779b97f4a7c15u >> shift_);
  }
  Merge find(std::int32_t left, std::int32_t right) const {
    if (static_cast<std::uint32_t>(left | right) < kSmallIds)
      return small_[static_cast<std::size_t>(left << 8 | right)];
    const std::uint64_t wanted = key(left, right);
    for (std::size_t at = home(wanted);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].key == wanted) return slots_[at].merge;
      if (slots_[at].merge.rank == kNone) return {};
    }
  }
  void apply_short(std::vector<std::int32_t>& symbols) const;
  void apply_long(std::vector<std::int32_t>& symbols) const;

  std::vector<Slot> slots_;  // open addressing, a power of two
  std::vector<Merge> small_;
  std::size_t used_ = 0;
  int shift_ = 0;
  std::uint32_t next_rank_ = 0;
};

}  // namespace dt2it::nn
