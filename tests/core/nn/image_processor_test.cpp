// SPDX-License-Identifier: Apache-2.0
#include "core/nn/image_processor.hpp"

#include <catch2/catch.hpp>

#include "dt2it/error.hpp"

using namespace dt2it;
using namespace dt2it::nn;

TEST_CASE("smart_resize rounds half to even and keeps within the bounds") {
  CHECK(smart_resize({336, 240}, 32, 65536, 16777216) == Size{320, 256});
  CHECK(smart_resize({64, 64}, 16, 256, 65536) == Size{64, 64});
  CHECK(smart_resize({640, 480}, 32, 65536, 16777216) == Size{640, 480});
  CHECK(smart_resize({100, 100}, 32, 65536, 16777216) == Size{256, 256});
  CHECK_THROWS_AS(smart_resize({4000, 10}, 32, 1, 100000000), DataError);
}

TEST_CASE("limit_resize floors the sides") {
  CHECK(limit_resize({640, 480}, 0, 268324) == Size{598, 448});
  CHECK(limit_resize({640, 480}, 0, 0) == Size{640, 480});
  CHECK(limit_resize({10, 20}, 0, 0) == Size{28, 28});
}

TEST_CASE("Resizing keeps a flat colour and the brightness of an edge") {
  Image flat{9, 7, std::vector<std::uint8_t>(9 * 7 * 3, 131)};
  for (const std::uint8_t value : resize_bicubic(flat, {20, 3}).rgb) REQUIRE(value == 131);
  Image edge{8, 1, {}};
  for (int x = 0; x < 8; ++x)
    for (int c = 0; c < 3; ++c) edge.rgb.push_back(x < 4 ? 0 : 200);
  const Image half = resize_bicubic(edge, {4, 1});
  CHECK(half.rgb[0] < 5);
  CHECK(half.rgb[3 * 3] > 195);
  CHECK(half.rgb[3] + half.rgb[6] == Approx(200).margin(4));
}

TEST_CASE("Patches come block by block, channel, frame, row, column") {
  ImageProcessorConfig config;
  config.patch = 2;
  config.mean = {0, 0, 0};
  config.deviation = {1.f / 255, 1.f / 255, 1.f / 255};
  PreparedVisual image{8, 4, 1, 2, {}};
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 8; ++x)
      for (int c = 0; c < 3; ++c) image.rgb.push_back(static_cast<std::uint8_t>(y * 8 + x + 64 * c));
  std::vector<float> rows(8 * 24);
  write_patches(image, config, rows.data());
  const auto at = [&](int row, int channel, int frame, int y, int x) {
    return static_cast<int>(rows[static_cast<std::size_t>(row * 24 + ((channel * 2 + frame) * 2 + y) * 2 + x)] + .5f);
  };
  CHECK(at(0, 0, 0, 0, 0) == 0);
  CHECK(at(0, 2, 1, 1, 1) == 9 + 128);
  CHECK(at(1, 0, 0, 0, 0) == 2);   // right neighbour in the block
  CHECK(at(2, 0, 1, 0, 0) == 16);  // below in the block
  CHECK(at(4, 0, 0, 0, 1) == 5);   // next block
}
