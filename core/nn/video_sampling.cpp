// SPDX-License-Identifier: Apache-2.0
#include "core/nn/video_sampling.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

// numpy.linspace(0, last, count), with `round` what follows it.
template <typename Round>
std::vector<std::int64_t> spaced(std::int64_t last, std::int64_t count, Round round) {
  std::vector<std::int64_t> frames;
  const double step = count > 1 ? static_cast<double>(last) / static_cast<double>(count - 1) : 0;
  for (std::int64_t i = 0; i < count; ++i)
    frames.push_back(static_cast<std::int64_t>(i > 0 && i + 1 == count
                                                   ? static_cast<double>(last)
                                                   : round(static_cast<double>(i) * step)));
  return frames;
}

std::vector<std::int64_t> llamafactory(const VideoInfo& video, const VideoSampling& sampling) {
  const auto wanted = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(std::floor(video.seconds * sampling.fps)));
  return spaced(video.frames - 1,
                std::min({video.frames, std::int64_t{sampling.max_frames}, wanted}),
                [](double x) { return std::trunc(x); });
}

// Counts of whole temporal steps, begun at even distances: the last frame is not among them.
std::vector<std::int64_t> qwen2_5(const VideoInfo& video, const VideoSampling& sampling) {
  constexpr std::int64_t kStep = 2;
  const auto total = static_cast<double>(video.frames);
  const auto most = static_cast<double>(std::min<std::int64_t>(sampling.max_frames, video.frames) /
                                        kStep * kStep);
  double count = total / video.fps * sampling.fps;
  count = std::min(std::min(std::max<double>(count, sampling.min_frames), most), total);
  count = std::floor(count / kStep) * kStep;
  if (count < 1) throw DataError(fmt::format("a video of {} frame(s) is too short", video.frames));
  const double step = total / count;
  std::vector<std::int64_t> frames;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(std::ceil(total / step)); ++i)
    frames.push_back(static_cast<std::int64_t>(
        static_cast<float>(static_cast<double>(i) * step)));  // a float32 range
  return frames;
}

std::vector<std::int64_t> qwen3(const VideoInfo& video, const VideoSampling& sampling) {
  auto count =
      static_cast<std::int64_t>(static_cast<double>(video.frames) / video.fps * sampling.fps);
  count = std::min(std::min(std::max<std::int64_t>(count, sampling.min_frames),
                            std::int64_t{sampling.max_frames}),
                   video.frames);
  if (count < 2) throw DataError(fmt::format("a video of {} frame(s) is too short", video.frames));
  return spaced(video.frames - 1, count,
                [](double x) { return std::nearbyint(x); });  // half to even
}

}  // namespace

std::vector<std::int64_t> sample_frames(const VideoInfo& video, const VideoSampling& sampling,
                                        Family family) {
  if (video.frames < 1) throw DataError("the video has no frames");
  if (video.fps <= 0) {  // frames that somebody chose: all of them
    std::vector<std::int64_t> all(static_cast<std::size_t>(video.frames));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
    return all;
  }
  if (sampling.rule == VideoSampling::Rule::llamafactory) return llamafactory(video, sampling);
  return family == Family::qwen2_5_vl ? qwen2_5(video, sampling) : qwen3(video, sampling);
}

std::vector<double> step_times(std::span<const std::int64_t> frames, double frames_per_second,
                               const VideoSampling& sampling, int temporal) {
  const auto time = [&](std::size_t i) {
    const auto frame = static_cast<double>(frames[std::min(i, frames.size() - 1)]);
    if (frames_per_second <= 0)
      return frame / sampling.fps;  // frames that somebody chose, at the rate asked for
    // LLaMA-Factory's detour through its own rate, for the same last bit.
    if (sampling.rule == VideoSampling::Rule::llamafactory)
      return frame / frames_per_second * sampling.fps / sampling.fps;
    return frame / frames_per_second;
  };
  std::vector<double> times;
  const auto step = static_cast<std::size_t>(temporal);
  for (std::size_t i = 0; i < frames.size(); i += step)
    times.push_back((time(i) + time(i + step - 1)) / 2);
  return times;
}

}  // namespace dt2it::nn
