// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "dt2it/media.hpp"

namespace dt2it {

// Which of the 64 lowest frequencies (of the cosine transform of the picture in 32 x 32 greys) lie
// above their median: survives scaling, compression, small changes of light. A picture without any
// contrast has none.
std::optional<std::uint64_t> perceptual_hash(const Image& image);

// The same from the bytes of a file, decoded no larger than is needed where the type allows that
// (JPEG). nullopt: not decoded, or no contrast.
std::optional<std::uint64_t> perceptual_hash(std::span<const std::uint8_t> bytes, int width,
                                             int height);

}  // namespace dt2it
