// SPDX-License-Identifier: Apache-2.0
#include "plugins/diversity/enhance/image_noise.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>

#include "dt2it/error.hpp"

using namespace dt2it;

namespace {

Image chequers(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int channel = 0; channel < 3; ++channel)
        image.rgb.push_back(static_cast<std::uint8_t>((x / 4 + y / 4) % 2 != 0 ? 180 : 70));
  return image;
}

double mean_change(const Image& a, const Image& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.rgb.size(); ++i) sum += std::abs(int{a.rgb[i]} - int{b.rgb[i]});
  return sum / static_cast<double>(a.rgb.size());
}

double share_changed(const Image& a, const Image& b) {
  int changed = 0;
  for (std::size_t i = 0; i < a.rgb.size(); i += 3) changed += a.rgb[i] != b.rgb[i];
  return 3.0 * changed / static_cast<double>(a.rgb.size());
}

Image noised(const std::string& kind, double strength, std::uint64_t seed = 1) {
  Rng rng(seed);
  return add_noise(chequers(64, 48), kind, strength, rng);
}

}  // namespace

TEST_CASE("noise grows with its strength, from nothing, and keeps the size") {
  const Image clean = chequers(64, 48);
  for (const std::string& kind : noise_kinds()) {
    INFO(kind);
    const Image weak = noised(kind, 0.2), strong = noised(kind, 0.8);
    CHECK(noised(kind, 0).rgb == clean.rgb);
    CHECK(weak.width == 64);
    CHECK(weak.height == 48);
    CHECK(weak.rgb.size() == clean.rgb.size());
    CHECK(mean_change(clean, weak) > 0);
    CHECK(mean_change(clean, strong) > mean_change(clean, weak));
  }
}

TEST_CASE("equal streams give equal pixels") {
  for (const std::string& kind : noise_kinds()) {
    INFO(kind);
    CHECK(noised(kind, 0.4).rgb == noised(kind, 0.4).rgb);
  }
  for (const char* kind : {"gaussian", "salt_and_pepper", "occlusion"})
    CHECK(noised(kind, 0.4, 1).rgb != noised(kind, 0.4, 2).rgb);
}

TEST_CASE("strength means what the table says") {
  CHECK(share_changed(chequers(64, 48), noised("salt_and_pepper", 0.3)) ==
        Approx(0.3).margin(0.04));
  double covered = 0;
  for (std::uint64_t seed = 0; seed < 50; ++seed)
    covered += share_changed(chequers(64, 48), noised("occlusion", 0.5, seed)) / 50;
  CHECK(covered == Approx(0.5).margin(0.08));
  // Grey 70 and 180 are far enough from both ends for sigma 25.5 to survive nearly whole.
  const Image clean = chequers(64, 48), gaussian = noised("gaussian", 0.1);
  double square = 0;
  for (std::size_t i = 0; i < clean.rgb.size(); ++i)
    square += std::pow(double{gaussian.rgb[i] * 1.0} - clean.rgb[i], 2);
  CHECK(std::sqrt(square / static_cast<double>(clean.rgb.size())) == Approx(25.5).margin(1.5));
}

TEST_CASE("odd pictures") {
  Rng rng(1);
  for (const std::string& kind : noise_kinds())
    for (const double strength : {0.01, 0.5, 1.0}) {
      INFO(kind << " " << strength);
      for (const Image& image : {chequers(1, 1), chequers(1, 40), chequers(37, 2)})
        CHECK(add_noise(image, kind, strength, rng).rgb.size() == image.rgb.size());
      CHECK(add_noise(Image{}, kind, strength, rng).rgb.empty());
    }
  CHECK_THROWS_AS(add_noise(chequers(4, 4), "fog", 0.5, rng), ConfigError);
}
