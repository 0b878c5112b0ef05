// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

#include "dt2it/media.hpp"

namespace dt2it {

// Codec::decode_video with OpenCV's FFmpeg reader: frames in order, those that are not chosen are
// skipped without being converted; a rotation that the file asks for is ignored, as by the
// references. Thread-safe.
DecodedVideo read_video(const std::filesystem::path& file, const VideoReading& reading,
                        std::int64_t max_pixels);

}  // namespace dt2it
