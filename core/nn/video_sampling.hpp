// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which frames of a video a model sees, by the rules of transformers 4.57.6 and LLaMA-Factory
// 0.9.5, and at what times.

#include <cstdint>
#include <span>
#include <vector>

#include "core/nn/family.hpp"
#include "dt2it/media.hpp"

namespace dt2it::nn {

struct VideoSampling {
  enum class Rule : std::uint8_t {
    llamafactory,  // evenly spaced from the first to the last frame, at most max_frames
    processor,     // the family's own video processor; min_frames <= frames <= max_frames
  };
  Rule rule = Rule::llamafactory;
  double fps = 2;  // frames wanted for each second; LLaMA-Factory: video_fps
  int min_frames = 4;
  int max_frames = 128;  // LLaMA-Factory: video_maxlen; the processors' own: 768
};

// Strictly increasing except where a rule itself repeats frames. Throws DataError where the
// reference refuses the video.
std::vector<std::int64_t> sample_frames(const VideoInfo& video, const VideoSampling& sampling,
                                        Family family);

// Qwen3-VL's time stamps: of each `temporal` frames joined, the mean of the first and the last
// one's, in seconds.
std::vector<double> step_times(std::span<const std::int64_t> frames, double frames_per_second,
                               const VideoSampling& sampling, int temporal);

}  // namespace dt2it::nn
