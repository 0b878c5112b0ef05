// SPDX-License-Identifier: Apache-2.0
#pragma once

// What both vision towers are made of.

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "core/nn/linear.hpp"
#include "core/nn/ops.hpp"
#include "core/nn/parameter_table.hpp"
#include "core/nn/recompute.hpp"
#include "core/nn/vision_tower.hpp"

namespace dt2it::nn {

// The tensors of some layers, adapters included.
inline std::vector<at::Tensor> weights_in(std::initializer_list<const Norm*> norms,
                                          std::initializer_list<const Linear*> linears) {
  std::vector<at::Tensor> all;
  const auto add = [&](const at::Tensor& tensor) {
    if (tensor.defined()) all.push_back(tensor);
  };
  for (const Norm* norm : norms) {
    add(norm->weight);
    add(norm->bias);
  }
  for (const Linear* linear : linears) {
    add(linear->weight);
    add(linear->bias);
    add(linear->lora->a);
    add(linear->lora->b);
  }
  return all;
}

constexpr double kVisionNormEpsilon = 1e-6;
constexpr double kVisionRopeBase = 10000;

// Calls visit(row, column) for each patch of a frame in block order: merge x merge blocks row by row.
template <class Visit>
void for_patches(const Grid& grid, std::int64_t merge, Visit visit) {
  for (std::int64_t by = 0; by < grid.rows / merge; ++by)
    for (std::int64_t bx = 0; bx < grid.columns / merge; ++bx)
      for (std::int64_t iy = 0; iy < merge; ++iy)
        for (std::int64_t ix = 0; ix < merge; ++ix) visit(by * merge + iy, bx * merge + ix);
}

// Rotary angles of a patch: head_dim / 4 frequencies for its row, then the same for its column. Writes head_dim / 2 each.
inline void patch_rotary(std::int64_t row, std::int64_t column, std::int64_t head_dim, float* cos,
                         float* sin) {
  const std::int64_t quarter = head_dim / 4;
  for (std::int64_t f = 0; f < quarter; ++f) {
    const auto frequency = static_cast<float>(
        1.0 / std::pow(kVisionRopeBase, static_cast<double>(f) / static_cast<double>(quarter)));
    const float angles[2] = {static_cast<float>(row) * frequency,
                             static_cast<float>(column) * frequency};
    for (std::int64_t a = 0; a < 2; ++a) {
      cos[a * quarter + f] = std::cos(angles[a]);
      sin[a * quarter + f] = std::sin(angles[a]);
    }
  }
}

// Self-attention of one block: qkv projection, rotary embedding, attention within the plan's ranges. [P, hidden]
inline at::Tensor vision_attention(const at::Tensor& x, const Linear& qkv, std::int64_t heads,
                                   const at::Tensor& cos, const at::Tensor& sin,
                                   const Attention& attention, const AdapterPass& adapters) {
  const std::int64_t patches = x.size(0);
  const at::Tensor all = apply(qkv, x, adapters).view({patches, 3, heads, -1});
  return attention(rotate(all.select(1, 0), cos, sin), rotate(all.select(1, 1), cos, sin),
                   all.select(1, 2));
}

}  // namespace dt2it::nn
