// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "dt2it/media.hpp"

namespace dt2it {

// The first frame of a GIF on its canvas, which Debian's OpenCV cannot read. Transparency is dropped: such
// pixels have the colour that the table gives them. Never throws but for lack of memory.
DecodedImage decode_gif(std::span<const std::uint8_t> bytes);

}  // namespace dt2it
