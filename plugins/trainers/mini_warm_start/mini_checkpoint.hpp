// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "core/nn/packed_batch.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::warm_start {

inline constexpr int kPatch =
    8;  // of a 64x64 picture: 16 visual tokens, one for each cell of a scene
inline constexpr std::int64_t kHidden = 64;  // width of the decoder
inline constexpr int kLayers = 3;  // of the decoder: with two, nothing about two pictures is learnt

// Everything of the mini backbone's folder but the weights: a plain Qwen3-VL configuration, a word-level tokenizer of the
// mini world's vocabulary in which "Image 1" and "Image 2" are one token each, and the processor's files.
void write_mini_description(const std::filesystem::path& folder);

// Fresh weights in the scale that a model this narrow needs (config.json's initializer_range is for wide ones).
void initialise_mini(nn::VlModel& model, Rng& rng);

}  // namespace dt2it::warm_start
