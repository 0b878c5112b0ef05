// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "dt2it/media.hpp"
#include "dt2it/rng.hpp"

namespace dt2it {

// The kinds that add_noise knows.
const std::vector<std::string>& noise_kinds();

// A copy of `image` that is harder to see; same size. `strength` is 0 (unchanged) ... 1 (nothing
// left):
//   gaussian         standard deviation of the added grey levels, as a share of 255
//   salt_and_pepper  share of pixels set to black or white
//   blur             sigma of the Gaussian, as a share of a quarter of the shorter side
//   occlusion        share of the area under grey rectangles (about: they may overlap)
//   diffusion        how far along a diffusion's forward process: picture * cos + noise * sin of a quarter turn * strength
//   downsample       share of the width and height that is lost before scaling up again
// Random numbers come from `rng` only, so equal streams give equal pixels on every machine.
Image add_noise(const Image& image, const std::string& kind, double strength, Rng& rng);

}  // namespace dt2it
