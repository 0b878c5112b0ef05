// SPDX-License-Identifier: Apache-2.0
#pragma once

// Token trees side by side as one packed batch: no padding, each image of a call encoded once however many trees show it,
// each prompt computed once, branches attend to their prompt and themselves.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/nn/image_processor.hpp"
#include "core/nn/vl_model.hpp"
#include "dt2it/backbone.hpp"

namespace dt2it::nn {

struct PackedBatch {
  DecoderInput input;                                          // on the CPU
  std::vector<std::shared_ptr<const PreparedVisual>> visuals;  // the different images and videos
  std::vector<Grid> grids;                                     // of these
  ImageProcessorConfig images;
  at::Tensor
      feature_rows;  // which merged tokens of these go to visual_rows; undefined: all, in order
};

// `rows`: see Backbone::forward.
PackedBatch pack_trees(std::span<const TokenTree* const> trees, const ImageProcessorConfig& images,
                       std::span<const std::int64_t> rows = {});

// Features of a batch's placeholders, in order; those of an image that is shown twice are repeated. With a feature cache that
// can be used each picture goes through the tower by itself, so that its features do not depend on what the cache holds.
VisionFeatures vision_features(VlModel& model, const PackedBatch& batch);

// Hidden states [tokens or rows, hidden] of a packed batch.
at::Tensor forward_packed(VlModel& model, PackedBatch& batch, HiddenState state);
at::Tensor forward_trees(VlModel& model, std::span<const TokenTree* const> trees,
                         const ImageProcessorConfig& images, HiddenState state,
                         std::span<const std::int64_t> rows = {});

}  // namespace dt2it::nn
