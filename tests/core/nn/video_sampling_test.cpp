// SPDX-License-Identifier: Apache-2.0
#include "core/nn/video_sampling.hpp"

#include <cstdio>

#include "core/nn/image_processor.hpp"
#include "dt2it/error.hpp"
#include "tests/core/nn/golden_media.hpp"

using namespace dt2it;
using namespace dt2it::nn;
using namespace dt2it::testing;

namespace {

VideoInfo info(std::int64_t frames, double fps) {
  return {frames, fps, static_cast<double>(frames) / fps, 64, 48};
}

using Frames = std::vector<std::int64_t>;

Frames listed(const simdjson::dom::element& numbers) {
  Frames all;
  for (const auto number : simdjson::dom::array(numbers)) all.push_back(std::int64_t(number));
  return all;
}

}  // namespace

TEST_CASE("Frames are those of both processors and of LLaMA-Factory") {
  if (golden_absent()) return;
  simdjson::dom::parser parser;
  const simdjson::dom::element root =
      parser.load((golden_folder() / "preprocess/video.json").string());
  std::size_t compared = 0;
  for (const auto& [family, name] :
       {std::pair{Family::qwen2_5_vl, "qwen2_5_vl"}, {Family::qwen3_vl, "qwen3_vl"}})
    for (const auto& [key, want] :
         simdjson::dom::object(root["families"][name]["sampled_indices"])) {
      double total = 0, fps = 0;
      VideoSampling sampling{VideoSampling::Rule::processor, 0, 4, 768};
      REQUIRE(std::sscanf(std::string(key).c_str(), "total=%lf fps=%lf sample_fps=%lf", &total,
                          &fps, &sampling.fps) == 3);
      CAPTURE(name, key);
      CHECK(sample_frames(info(static_cast<std::int64_t>(total), fps), sampling, family) ==
            listed(want));
      ++compared;
    }
  for (const auto& [key, want] : simdjson::dom::object(root["llamafactory_sampled_indices"])) {
    VideoSampling sampling;
    REQUIRE(std::sscanf(std::string(key).c_str(), "video_fps=%lf video_maxlen=%d", &sampling.fps,
                        &sampling.max_frames) == 2);
    CAPTURE(key);
    CHECK(sample_frames(info(243, 25), sampling, Family::qwen3_vl) == listed(want));
    ++compared;
  }
  CHECK(compared == 20);
}

TEST_CASE("Short videos, chosen frames and refusals") {
  const VideoSampling factory, processor{VideoSampling::Rule::processor, 2, 4, 768};
  CHECK(sample_frames(info(1, 25), factory, Family::qwen3_vl) == Frames{0});
  CHECK(sample_frames(info(10, 25), factory, Family::qwen3_vl) ==
        Frames{0});  // less than a second: one
  CHECK(sample_frames(info(3, 1), factory, Family::qwen2_5_vl) == Frames{0, 1, 2});
  for (const Family family : {Family::qwen2_5_vl, Family::qwen3_vl}) {
    CHECK_THROWS_AS(sample_frames(info(1, 25), processor, family), DataError);
    CHECK_THROWS_AS(sample_frames(info(0, 25), processor, family), DataError);
    VideoInfo chosen;
    chosen.frames = 3;  // no rate: somebody chose them
    CHECK(sample_frames(chosen, processor, family) == Frames{0, 1, 2});
  }
  CHECK(step_times(Frames{0, 60, 121, 181, 242}, 25, processor, 2) ==
        std::vector<double>{1.2, (4.84 + 7.24) / 2, 9.68});
  CHECK(step_times(Frames{0, 1, 2}, 0, factory, 2) == std::vector<double>{0.25, 1});
}

TEST_CASE("A frame's size is bounded by itself for Qwen2.5-VL, by the whole clip for Qwen3-VL") {
  ImageProcessorConfig images;
  const VideoLimits limits{4096, 64 * 64 * 8};
  CHECK(video_resize({64, 64}, 8, Family::qwen3_vl, images, limits) == Size{64, 64});
  CHECK(video_resize({64, 64}, 10, Family::qwen3_vl, images, limits) == Size{32, 32});
  // 9 frames are rounded to 8 (half to even) where they are compared, so the sides stay.
  CHECK(video_resize({64, 64}, 9, Family::qwen3_vl, images, limits) == Size{64, 64});
  CHECK(video_resize({64, 64}, 100, Family::qwen2_5_vl, images, limits) == Size{64, 64});
  CHECK_THROWS_AS(video_resize({20, 64}, 4, Family::qwen3_vl, images, limits), DataError);
}
