// SPDX-License-Identifier: Apache-2.0
#include "core/nn/mrope.hpp"

#include "tests/core/nn/golden_media.hpp"

using namespace dt2it::nn;
using namespace dt2it::testing;
namespace dom = simdjson::dom;

namespace {

constexpr std::int64_t kImage = 1012, kVideo = 1013;

}  // namespace

TEST_CASE("Positions of 24 random layouts for each family") {
  if (golden_absent()) return;
  std::size_t rows = 0, videos = 0;
  for (const bool qwen3 : {false, true}) {
    dom::parser parser;
    const dom::element root = parser.load(
        (golden_folder() / "positions" / (qwen3 ? "qwen3_vl.json" : "qwen2_5_vl.json")).string());
    for (const auto layout : dom::array(root["cases"])) {
      const auto grids = [&](const char* name) {
        std::vector<std::array<std::int64_t, 3>> all;
        dom::array list;
        if (!layout[name].get(list))
          for (const auto grid : list)
            all.push_back({grid.at(0).get_int64(), grid.at(1).get_int64(), grid.at(2).get_int64()});
        return all;
      };
      const auto images = grids("image_grid_thw"), clips = grids("video_grid_thw");
      std::size_t image = 0, clip = 0;
      std::int64_t steps_left = 0;  // of a Qwen3-VL video
      const dom::array ids = layout["input_ids"];
      for (std::size_t row = 0; row < ids.size(); ++row, ++rows) {
        std::vector<std::int64_t> tokens;
        std::vector<std::array<std::int64_t, 3>> expected, ours;
        for (std::size_t i = 0; i < dom::array(ids.at(row)).size(); ++i) {
          if (std::int64_t(layout["attention_mask"].at(row).at(i)) == 0) continue;
          tokens.push_back(ids.at(row).at(i).get_int64());
          expected.emplace_back();
          for (std::size_t axis = 0; axis < 3; ++axis)
            expected.back()[axis] = layout["position_ids"].at(axis).at(row).at(i).get_int64();
        }
        MropePositions positions(ours);
        for (std::size_t i = 0; i < tokens.size();) {
          if (tokens[i] != kImage && tokens[i] != kVideo) {
            positions.text(1);
            ++i;
          } else if (tokens[i] == kImage) {
            const auto& grid = images.at(image++);
            positions.visual(grid[1] / 2, grid[2] / 2);
            i += static_cast<std::size_t>(grid[1] * grid[2] / 4);
          } else {
            const auto& grid = clips.at(clip);
            if (steps_left == 0) steps_left = qwen3 ? grid[0] : 1;
            if (qwen3) {
              positions.visual(grid[1] / 2, grid[2] / 2);
            } else {
              const double seconds = layout["second_per_grid_ts"].at(clip).get_double();
              positions.visual(grid[1] / 2, grid[2] / 2, grid[0],
                               static_cast<std::int64_t>(seconds) * 2);
            }
            i += static_cast<std::size_t>(grid[1] * grid[2] / 4 * (qwen3 ? 1 : grid[0]));
            if (--steps_left == 0) ++clip, ++videos;
          }
        }
        CAPTURE(qwen3, rows);
        CHECK(ours == expected);
      }
    }
  }
  CHECK(rows >= 48);
  CHECK(videos >= 12);
}
