// SPDX-License-Identifier: Apache-2.0
#pragma once

// Reads a scene off the pixels of a picture, classically: the background from the calmer cells,
// then in each cell the object (noun, size, offset) whose mask explains most of the difference to
// the background, then the colour by direction in RGB. Nothing is known but the pixels, so noise
// really hides objects. Thread-safe.

#include "dt2it/media.hpp"
#include "plugins/common/mini_world/scene.hpp"

namespace dt2it::mini_world {

struct Perception {
  Scene scene;
  // For each object how far it stands out: squared difference to the background that it explains,
  // summed over pixels and channels, by the variance of the noise. Above 10,000 in clean pictures,
  // about 100 where a small object drowns.
  std::vector<double> clearness;
  double noise = 0;  // estimated standard deviation of the pixel noise, in grey levels
};

// Images of another size are brought to 64x64 by area averaging; an empty image gives an empty
// scene.
Perception recognise(const Image& image);

}  // namespace dt2it::mini_world
