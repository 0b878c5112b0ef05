// SPDX-License-Identifier: Apache-2.0
#pragma once

// Vision towers: patches of images and video frames to features in the language model's width. Reference: transformers
// 4.57 (modeling_qwen2_5_vl, modeling_qwen3_vl). Everything of a call is one packed sequence; attention stays within a
// window or a frame. Takes part in autograd. Not thread-safe.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/nn/linear.hpp"
#include "core/nn/model_config.hpp"
#include "core/nn/parameter_table.hpp"

namespace dt2it::nn {

// Temporal steps x rows x columns of patches.
struct Grid {
  std::int64_t frames = 1, rows = 0, columns = 0;
  std::int64_t patches() const { return frames * rows * columns; }
  bool operator==(const Grid&) const = default;
};

struct VisionFeatures {
  at::Tensor output;                  // [merged tokens, text hidden]
  std::vector<at::Tensor> deepstack;  // one per deepstack merger, same shape
};

// Told of intermediate values under the names of the reference data ("block0", "lm.layer1" ...).
using Observer = std::function<void(std::string_view name, const at::Tensor& value)>;

struct VisionPass {
  Observer observer;
  bool recompute =
      false;  // blocks keep only their input for the backward pass; not with an observer
  AdapterPass adapters;
};

class VisionTower {
 public:
  virtual ~VisionTower() = default;
  // pixels: [patches, 3 * temporal * patch^2] in the order in which write_patches gives them, grid after grid.
  virtual VisionFeatures forward(const at::Tensor& pixels, std::span<const Grid> grids,
                                 const VisionPass& pass) = 0;
};

// Parameters under "visual.".
std::unique_ptr<VisionTower> make_qwen2_5_vision(const VisionConfig& config,
                                                 ParameterTable& parameters);
// Parameters under "model.visual.".
std::unique_ptr<VisionTower> make_qwen3_vision(const VisionConfig& config,
                                               ParameterTable& parameters);

}  // namespace dt2it::nn
