// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace dt2it::records {

// Python's random.Random(seed), as far as published scripts draw from it: MT19937, seeded by an array of one word (Matsumoto and
// Nishimura's init_by_array). Their coin flips are part of their figures.
class PythonRandom {
 public:
  explicit PythonRandom(std::uint32_t seed) {
    constexpr std::uint32_t n = kSize;
    state_[0] = 19650218;
    for (std::uint32_t i = 1; i < n; ++i)
      state_[i] = 1812433253U * (state_[i - 1] ^ state_[i - 1] >> 30) + i;
    std::uint32_t i = 1;
    const auto previous = [&] { return state_[i - 1] ^ state_[i - 1] >> 30; };
    const auto advance = [&] {
      if (++i < n) return;
      state_[0] = state_[n - 1];
      i = 1;
    };
    for (std::uint32_t k = 0; k < n; ++k, advance())
      state_[i] = (state_[i] ^ previous() * 1664525U) + seed;
    for (std::uint32_t k = 0; k + 1 < n; ++k, advance())
      state_[i] = (state_[i] ^ previous() * 1566083941U) - i;
    state_[0] = 0x80000000U;
  }

  // random.random()
  double uniform() {
    const std::uint32_t a = next() >> 5, b = next() >> 6;
    return (a * 67108864.0 + b) / 9007199254740992.0;
  }

  // random.randrange(n), n > 0; also what random.choice() of n things draws
  std::uint32_t below(std::uint32_t n) {
    const int bits = static_cast<int>(std::bit_width(n));
    std::uint32_t number = 0;
    do number = next() >> (32 - bits);
    while (number >= n);
    return number;
  }

 private:
  static constexpr std::uint32_t kSize = 624, kShift = 397;

  std::uint32_t next() {
    if (at_ == kSize) {
      for (std::uint32_t i = 0; i < kSize; ++i) {
        const std::uint32_t y = (state_[i] & 0x80000000U) | (state_[(i + 1) % kSize] & 0x7fffffffU);
        state_[i] = state_[(i + kShift) % kSize] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfU : 0);
      }
      at_ = 0;
    }
    std::uint32_t y = state_[at_++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680U;
    y ^= y << 15 & 0xefc60000U;
    return y ^ y >> 18;
  }

  std::array<std::uint32_t, kSize> state_{};
  std::uint32_t at_ = kSize;
};

}  // namespace dt2it::records
