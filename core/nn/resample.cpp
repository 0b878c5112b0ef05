// SPDX-License-Identifier: Apache-2.0
#include "core/nn/resample.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "core/nn/resample_kernels.hpp"

namespace dt2it::nn {
namespace {

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// Doubles first: torch's number of bits depends on the largest of them.
AxisWeights make_weights(int from, int to, Rounding rounding) {
  const double scale = static_cast<double>(from) / to;
  const double stretch =
      std::max(scale, 1.0);  // antialiasing: the kernel covers what one output pixel covers
  const double support = 2 * stretch;
  AxisWeights axis;
  std::vector<double> all;
  double largest = 0;
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int last = std::min(from, static_cast<int>(centre + support + 0.5));
    const std::size_t begin = all.size();
    double sum = 0;
    for (int k = first; k < last; ++k) {
      all.push_back(cubic((k - centre + 0.5) / stretch));
      sum += all.back();
    }
    for (std::size_t k = begin; k < all.size(); ++k) largest = std::max(largest, all[k] /= sum);
    axis.first.push_back(first);
    axis.offset.push_back(static_cast<std::uint32_t>(begin));
    axis.longest = std::max(axis.longest, last - first);
  }
  axis.offset.push_back(static_cast<std::uint32_t>(all.size()));
  axis.bits = 22;
  axis.split = rounding == Rounding::pillow;
  if (rounding == Rounding::torch)
    for (axis.bits = 0;
         axis.bits < 22 && static_cast<int>(0.5 + largest * (1 << (axis.bits + 1))) < (1 << 15);)
      ++axis.bits;
  for (const double weight : all)
    axis.weights.push_back(
        static_cast<std::int32_t>(weight * (1 << axis.bits) + (weight < 0 ? -0.5 : 0.5)));
  return axis;
}

struct Plan {
  AxisWeights columns, rows;
  std::vector<std::int16_t> column_pairs;  // as the vector kernel wants them
};

std::shared_ptr<const Plan> plan(Size from, Size to, Rounding rounding) {
  using Key = std::tuple<int, int, int, int, Rounding>;
  static std::mutex mutex;
  static std::map<Key, std::shared_ptr<const Plan>> kept;
  const Key key{from.width, from.height, to.width, to.height, rounding};
  {
    std::lock_guard lock(mutex);
    if (const auto found = kept.find(key); found != kept.end()) return found->second;
  }
  auto made = std::make_shared<Plan>();
  if (from.width != to.width) {
    made->columns = make_weights(from.width, to.width, rounding);
    made->column_pairs = pair_columns(made->columns);
  }
  if (from.height != to.height) made->rows = make_weights(from.height, to.height, rounding);
  std::lock_guard lock(mutex);
  if (kept.size() >= 256)
    kept.clear();  // data sets have few sizes, or so many that keeping them is of no use
  kept[key] = made;
  return made;
}

constexpr int kGroup = 4;  // rows that the horizontal kernel takes at once

}  // namespace

Image resize_bicubic(const Image& image, Size to, Rounding rounding, bool vector) {
  const Size from{image.width, image.height};
  if (to == from) return image;
  const auto weights = plan(from, to, rounding);
  const bool fast = vector && vector_kernels();
  const std::size_t in_stride = static_cast<std::size_t>(from.width) * 3,
                    stride = static_cast<std::size_t>(to.width) * 3;
  Image result{to.width, to.height, {}};
  result.rgb.resize(stride * static_cast<std::size_t>(to.height));

  // Rows of the horizontal pass live in a ring that is as long as the vertical kernel: no picture
  // in between.
  const bool wide = from.width != to.width, high = from.height != to.height;
  const int ring_rows = high ? weights->rows.longest + kGroup : 0;
  std::vector<std::uint8_t> ring(wide && high ? static_cast<std::size_t>(ring_rows) * stride : 0);
  // The kernel reads up to this many bytes behind a row; where the picture ends there, from a copy.
  const std::size_t slack = wide ? weights->columns.read_ahead() : 0;
  std::vector<std::uint8_t> copies;
  const std::uint8_t* const end = image.rgb.data() + image.rgb.size();
  int done = 0;                              // input rows that went through the horizontal pass
  const auto horizontal = [&](auto place) {  // of an output row
    const std::uint8_t* in[kGroup];
    std::uint8_t* out[kGroup];
    const int count = std::min(kGroup, from.height - done);
    for (int i = 0; i < count; ++i) {
      in[i] = image.rgb.data() + static_cast<std::size_t>(done + i) * in_stride;
      if (fast && static_cast<std::size_t>(end - in[i]) < in_stride + slack) {
        if (copies.empty()) copies.resize(kGroup * (in_stride + slack));
        std::uint8_t* copy = copies.data() + static_cast<std::size_t>(i) * (in_stride + slack);
        std::memcpy(copy, in[i], in_stride);
        in[i] = copy;
      }
      out[i] = place(done + i);
    }
    resample_columns(weights->columns, weights->column_pairs, in, out, count, to.width, fast);
    done += count;
  };

  if (!high) {
    while (done < from.height)
      horizontal(
          [&](int row) { return result.rgb.data() + static_cast<std::size_t>(row) * stride; });
    return result;
  }
  const auto in_ring = [&](int row) {
    return ring.data() + static_cast<std::size_t>(row % ring_rows) * stride;
  };
  std::vector<const std::uint8_t*> rows(static_cast<std::size_t>(weights->rows.longest));
  for (int y = 0; y < to.height; ++y) {
    const int first = weights->rows.first[static_cast<std::size_t>(y)];
    const int count = weights->rows.count(y);
    while (wide && done < first + count) horizontal(in_ring);
    for (int k = 0; k < count; ++k)
      rows[static_cast<std::size_t>(k)] =
          wide ? in_ring(first + k)
               : image.rgb.data() + static_cast<std::size_t>(first + k) * in_stride;
    resample_rows(weights->rows, y, rows.data(),
                  result.rgb.data() + static_cast<std::size_t>(y) * stride, stride, fast);
  }
  return result;
}

}  // namespace dt2it::nn
