// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/mini_world/drawing.hpp"

#include <algorithm>
#include <cmath>

namespace dt2it::mini_world {
namespace {

// Inside test of one noun, (y, x) from the object's middle, r its half height.
bool inside(int noun, double y, double x, double r) {
  const double ay = std::abs(y);
  const double ax = std::abs(x);
  const double thin = .34 * r;
  switch (noun) {
    case 0: return x * x + y * y <= r * r;
    case 1: return std::max(ax, ay) <= .85 * r;
    case 2: return y <= .8 * r && y >= 1.9 * ax - r;
    case 3: return std::min(ax, ay) <= thin && std::max(ax, ay) <= r;
    case 4: return x * x + y * y <= r * r && x * x + y * y >= .3 * r * r;
    case 5: return ax + ay <= 1.05 * r;
    case 6: return ay <= thin && ax <= r;
    default: return ax <= thin && ay <= r;
  }
}

using Masks = std::array<CellMask, kNounCount * kSizeCount * 9>;

Masks make_masks() {
  Masks masks;
  for (int noun = 0; noun < kNounCount; ++noun)
    for (int size = 0; size < kSizeCount; ++size)
      for (int j = 0; j < 9; ++j)
        for (int y = 0; y < kCellSize; ++y)
          for (int x = 0; x < kCellSize; ++x) {
            constexpr double kMiddle = (kCellSize - 1) / 2.0;
            const bool in = inside(noun, y - kMiddle - (j / 3 - 1), x - kMiddle - (j % 3 - 1),
                                   size ? 6.6 : 4.6);
            masks[static_cast<std::size_t>((noun * kSizeCount + size) * 9 + j)].set(
                static_cast<std::size_t>(y * kCellSize + x), in);
          }
  return masks;
}

}  // namespace

const CellMask& cell_mask(int noun, int size, int jitter_y, int jitter_x) {
  static const Masks masks = make_masks();
  return masks.at(
      static_cast<std::size_t>((noun * kSizeCount + size) * 9 + (jitter_y + 1) * 3 + jitter_x + 1));
}

Image draw(const Scene& scene, Rng& rng, const DrawOptions& options) {
  const double grey = rng.chance(.5) ? rng.uniform(20, 90) : rng.uniform(170, 235);
  std::array<double, 3> background;
  for (double& channel : background) channel = grey + rng.normal(0, 6);

  std::vector<double> pixels(kImageSize * kImageSize * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = background[i % 3];
  for (const Object& object : scene.objects) {
    const int dy = rng.integer(-1, 1);
    const int dx = rng.integer(-1, 1);
    const CellMask& mask = cell_mask(object.noun, object.size, dy, dx);
    std::array<double, 3> colour = kColourRgb[static_cast<std::size_t>(object.colour)];
    for (double& channel : colour) channel += rng.normal(0, 12);
    const int top = object.cell / kGrid * kCellSize;
    const int left = object.cell % kGrid * kCellSize;
    for (int y = 0; y < kCellSize; ++y)
      for (int x = 0; x < kCellSize; ++x) {
        if (!mask[static_cast<std::size_t>(y * kCellSize + x)]) continue;
        const auto at = static_cast<std::size_t>(((top + y) * kImageSize + left + x) * 3);
        for (std::size_t c = 0; c < 3; ++c) pixels[at + c] = colour[c];
      }
  }

  const double damage = std::clamp(1 - options.quality, 0.0, 1.0);
  const double noise = options.noise + 45 * damage;
  const double wash = .6 * damage;
  Image image{kImageSize, kImageSize, std::vector<std::uint8_t>(pixels.size())};
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const double value = pixels[i] * (1 - wash) + grey * wash + rng.normal(0, noise);
    image.rgb[i] = static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0, 255.0)));
  }
  return image;
}

}  // namespace dt2it::mini_world
