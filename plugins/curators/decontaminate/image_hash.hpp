// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "dt2it/media.hpp"

namespace dt2it {

// Which of the 8 x 8 lowest frequencies of a picture's greys lie above their median (after pHash; the cosine transform is of the
// picture at the resolution it was decoded at, so that the resolution does not show). Survives scaling, compression, small changes
// of light. A picture without any contrast has none.
std::optional<std::uint64_t> perceptual_hash(const Image& image);

// The same from the bytes of a file that is said to be of this size, decoded no larger than is needed where the type allows that
// (JPEG). nullopt: not decoded, or no contrast.
std::optional<std::uint64_t> perceptual_hash(std::span<const std::uint8_t> bytes, int width,
                                             int height);

}  // namespace dt2it
