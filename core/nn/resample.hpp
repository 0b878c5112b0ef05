// SPDX-License-Identifier: Apache-2.0
#pragma once

// Bicubic resampling of 8-bit RGB with antialiasing (a = -0.5), to the last bit as the references
// do it: the horizontal pass is rounded to 8 bits, then the vertical one; sums are of integers, so
// vector code gives what scalar code gives.

#include <cstdint>

#include "dt2it/media.hpp"

namespace dt2it::nn {

struct Size {
  int width = 0, height = 0;
  bool operator==(const Size&) const = default;
};

// How weights become integers.
enum class Rounding : std::uint8_t {
  pillow,  // 22 bits: Pillow, so LLaMA-Factory's own resize and the slow processors
  torch,  // as many bits as keep the largest weight within 16 signed bits: torch's 8-bit kernel, so
          // the fast processors
};

// The weights of a pair of sizes are kept for the next call. Thread-safe. `vector` is for tests.
Image resize_bicubic(const Image& image, Size to, Rounding rounding, bool vector = true);

}  // namespace dt2it::nn
