// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace dt2it {

// Characters (Unicode code points) of UTF-8 text: all bytes but those that continue one. Of other text, some number not above its
// size. Eight bytes at a time.
inline std::size_t characters(std::string_view text) {
  constexpr std::uint64_t kLowest = 0x0101010101010101;
  std::size_t continuing = 0, at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    continuing += static_cast<std::size_t>(std::popcount((word >> 7) & (~word >> 6) & kLowest));
  }
  for (; at < text.size(); ++at)
    continuing += (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  return text.size() - continuing;
}

}  // namespace dt2it
