// SPDX-License-Identifier: Apache-2.0
#pragma once

// Pictures of scenes: 64x64 RGB. Rasterised by formulas of our own rather than by a drawing
// library, so that the same seed gives the same bytes whatever the version of that library.

#include <array>
#include <bitset>

#include "dt2it/media.hpp"
#include "dt2it/rng.hpp"
#include "plugins/common/mini_world/scene.hpp"

namespace dt2it::mini_world {

struct DrawOptions {
  double noise = 8;    // standard deviation of the pixel noise, in grey levels
  double quality = 1;  // 0 ... 1, aesthetic: below 1 the colours are washed out and noise is added
};

// Objects get a position jitter of -1 ... 1 pixel and a colour jitter; the background is a dark or
// a light grey.
Image draw(const Scene& scene, Rng& rng, const DrawOptions& options = {});

// Pixels of one object within its cell; jitter -1 ... 1 in each direction.
using CellMask = std::bitset<kCellSize * kCellSize>;
const CellMask& cell_mask(int noun, int size, int jitter_y, int jitter_x);

// Pure colour of kColours[i], before jitter.
inline constexpr std::array<std::array<double, 3>, kColourCount> kColourRgb{
    {{212, 38, 42}, {38, 168, 62}, {48, 82, 222}, {226, 204, 42}}};

}  // namespace dt2it::mini_world
