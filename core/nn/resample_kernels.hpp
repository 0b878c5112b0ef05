// SPDX-License-Identifier: Apache-2.0
#pragma once

// The inner loops of resample.cpp, scalar and for AVX2 (chosen while running: the build is for any
// x86-64).

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dt2it::nn {

// Which inputs make each output of an axis, with fixed-point weights that sum to one.
struct AxisWeights {
  std::vector<int> first;
  std::vector<std::uint32_t> offset;  // in `weights`; one more than outputs
  std::vector<std::int32_t> weights;
  int bits = 0;        // behind the point
  bool split = false;  // weights need more than 16 bits
  int longest = 0;     // most inputs of an output

  int count(int output) const {
    const auto i = static_cast<std::size_t>(output);
    return static_cast<int>(offset[i + 1] - offset[i]);
  }
  int blocks() const { return (longest + 7) / 8; }
  std::size_t read_ahead() const { return static_cast<std::size_t>(blocks()) * 24 + 32; }
};

bool vector_kernels();

// Weights of a row's outputs in blocks of eight inputs, paired for the vector kernel; with `split`
// a block of upper bits, then one of the lower 12.
std::vector<std::int16_t> pair_columns(const AxisWeights& axis);

// `count` (at most 4) rows at once, each output from its inputs of the same row.
void resample_columns(const AxisWeights& axis, const std::vector<std::int16_t>& pairs,
                      const std::uint8_t* const* in, std::uint8_t* const* out, int count, int width,
                      bool vector);

// One row of `bytes` from the rows in[0 ... count(y) - 1].
void resample_rows(const AxisWeights& axis, int y, const std::uint8_t* const* in, std::uint8_t* out,
                   std::size_t bytes, bool vector);

}  // namespace dt2it::nn
