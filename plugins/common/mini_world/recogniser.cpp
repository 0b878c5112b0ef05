// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/mini_world/recogniser.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "plugins/common/mini_world/drawing.hpp"

namespace dt2it::mini_world {
namespace {

constexpr std::size_t kTemplates = kNounCount * kSizeCount * 9;

// All outlines side by side: weight[pixel][template], so that the inner loop runs over neighbours.
struct Templates {
  std::array<int, kTemplates> noun{}, size{};
  std::array<float, kTemplates> area{};
  std::array<std::array<float, kTemplates>, kCellSize * kCellSize> weight{};
};

Templates make_templates() {
  Templates templates;
  std::size_t t = 0;
  for (int noun = 0; noun < kNounCount; ++noun)
    for (int size = 0; size < kSizeCount; ++size)
      for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx, ++t) {
          const CellMask& mask = cell_mask(noun, size, dy, dx);
          templates.noun[t] = noun;
          templates.size[t] = size;
          templates.area[t] = static_cast<float>(mask.count());
          for (std::size_t i = 0; i < mask.size(); ++i)
            templates.weight[i][t] = mask[i] ? 1.F : 0.F;
        }
  return templates;
}

// Box average to kImageSize x kImageSize; the picture itself when it already has that size.
std::vector<float> to_grid(const Image& image) {
  std::vector<float> pixels(kImageSize * kImageSize * 3);
  for (int y = 0; y < kImageSize; ++y)
    for (int x = 0; x < kImageSize; ++x) {
      const int y0 = y * image.height / kImageSize;
      const int x0 = x * image.width / kImageSize;
      const int y1 = std::max(y0 + 1, (y + 1) * image.height / kImageSize);
      const int x1 = std::max(x0 + 1, (x + 1) * image.width / kImageSize);
      for (int c = 0; c < 3; ++c) {
        int sum = 0;
        for (int v = y0; v < y1; ++v)
          for (int u = x0; u < x1; ++u)
            sum += image.rgb[static_cast<std::size_t>((v * image.width + u) * 3 + c)];
        pixels[static_cast<std::size_t>((y * kImageSize + x) * 3 + c)] =
            static_cast<float>(sum) / static_cast<float>((y1 - y0) * (x1 - x0));
      }
    }
  return pixels;
}

float median(std::vector<float> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct Background {
  std::array<float, 3> colour{};
  float sigma = 1;  // of the noise on it
};

// From the calmer half of the cells, which are mostly empty. Means of whole cells rather than a
// median over pixels: strong noise is cut off at black and white, which shifts means but is the
// same in every empty cell.
Background quiet_cells(const std::vector<float>& pixels) {
  struct Cell {
    std::array<float, 3> mean{};
    float variance = 0;
  };
  std::vector<Cell> cells(kCells);
  constexpr float kArea = kCellSize * kCellSize;
  for (int cell = 0; cell < kCells; ++cell) {
    std::array<double, 3> sum{}, squares{};
    for (int y = 0; y < kCellSize; ++y)
      for (int x = 0; x < kCellSize; ++x)
        for (std::size_t c = 0; c < 3; ++c) {
          const int row = cell / kGrid * kCellSize + y;
          const int column = cell % kGrid * kCellSize + x;
          const double value =
              pixels[static_cast<std::size_t>((row * kImageSize + column) * 3) + c];
          sum[c] += value;
          squares[c] += value * value;
        }
    Cell& made = cells[static_cast<std::size_t>(cell)];
    for (std::size_t c = 0; c < 3; ++c) {
      const double mean = sum[c] / kArea;
      made.mean[c] = static_cast<float>(mean);
      made.variance += static_cast<float>((squares[c] / kArea - mean * mean) / 3);
    }
  }
  std::sort(cells.begin(), cells.end(),
            [](const Cell& a, const Cell& b) { return a.variance < b.variance; });
  cells.resize(kCells / 2);
  Background result;
  std::vector<float> values;
  for (std::size_t c = 0; c < 3; ++c) {
    values.clear();
    for (const Cell& cell : cells) values.push_back(cell.mean[c]);
    result.colour[c] = median(values);
  }
  values.clear();
  for (const Cell& cell : cells) values.push_back(cell.variance);
  result.sigma = std::max(1.F, std::sqrt(std::max(0.F, median(values))));
  return result;
}

int nearest_colour(const std::array<float, 3>& difference, const std::array<float, 3>& background) {
  // Washing out keeps the direction from the background to the colour, not its length.
  int best = 0;
  double best_cosine = -2;
  for (int colour = 0; colour < kColourCount; ++colour) {
    double dot = 0, a = 0, b = 0;
    for (std::size_t c = 0; c < 3; ++c) {
      const double pure = kColourRgb[static_cast<std::size_t>(colour)][c] - background[c];
      dot += pure * difference[c];
      a += pure * pure;
      b += double{difference[c]} * difference[c];
    }
    const double cosine = dot / std::sqrt(std::max(1e-9, a * b));
    if (cosine > best_cosine) {
      best_cosine = cosine;
      best = colour;
    }
  }
  return best;
}

}  // namespace

Perception recognise(const Image& image) {
  static const Templates templates = make_templates();
  Perception perception;
  if (image.width <= 0 || image.height <= 0 ||
      image.rgb.size() <
          static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3)
    return perception;
  const std::vector<float> pixels = to_grid(image);
  const auto [background, sigma] = quiet_cells(pixels);
  perception.noise = sigma;

  for (int cell = 0; cell < kCells; ++cell) {
    std::array<std::array<float, kTemplates>, 3> sum{};
    const int top = cell / kGrid * kCellSize;
    const int left = cell % kGrid * kCellSize;
    for (int y = 0; y < kCellSize; ++y)
      for (int x = 0; x < kCellSize; ++x) {
        const auto at = static_cast<std::size_t>(((top + y) * kImageSize + left + x) * 3);
        const auto& weight = templates.weight[static_cast<std::size_t>(y * kCellSize + x)];
        for (std::size_t c = 0; c < 3; ++c) {
          const float difference = pixels[at + c] - background[c];
          for (std::size_t t = 0; t < kTemplates; ++t) sum[c][t] += weight[t] * difference;
        }
      }

    std::size_t best = 0;
    float best_gain = 0;
    for (std::size_t t = 0; t < kTemplates; ++t) {
      // How much of the squared difference a flat object of this outline explains.
      const float gain = (sum[0][t] * sum[0][t] + sum[1][t] * sum[1][t] + sum[2][t] * sum[2][t]) /
                         templates.area[t];
      if (gain > best_gain) {
        best_gain = gain;
        best = t;
      }
    }
    std::array<float, 3> best_mean{};
    for (std::size_t c = 0; c < 3; ++c) best_mean[c] = sum[c][best] / templates.area[best];
    // Pure noise explains about 16 sigma^2 with the best of 144 outlines; compression and rounding
    // a little more.
    constexpr float kNoiseFactor = 32;
    constexpr float kFaintest = 12;  // grey levels of mean difference
    const float strength = std::sqrt(best_mean[0] * best_mean[0] + best_mean[1] * best_mean[1] +
                                     best_mean[2] * best_mean[2]);
    if (best_gain < kNoiseFactor * sigma * sigma || strength < kFaintest) continue;
    perception.scene.objects.push_back(
        {cell, templates.noun[best], nearest_colour(best_mean, background), templates.size[best]});
    perception.clearness.push_back(best_gain / (sigma * sigma));
  }
  return perception;
}

}  // namespace dt2it::mini_world
