// SPDX-License-Identifier: Apache-2.0
#pragma once

// Scenes of the mini world: coloured objects on a grid of 4x4 cells. A scene is the whole truth of
// a picture. Plain values; nothing here keeps state, so everything is thread-safe.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/rng.hpp"

namespace dt2it::mini_world {

inline constexpr int kGrid = 4;       // cells a side
inline constexpr int kCellSize = 16;  // pixels
inline constexpr int kImageSize = kGrid * kCellSize;
inline constexpr int kCells = kGrid * kGrid;

inline constexpr int kColourCount = 4;
inline constexpr int kNounCount = 8;
inline constexpr int kSizeCount = 2;
inline constexpr std::array<std::string_view, kColourCount> kColours{"red", "green", "blue",
                                                                     "yellow"};
inline constexpr std::array<std::string_view, kNounCount> kNouns{
    "circle", "square", "triangle", "cross", "ring", "diamond", "bar", "post"};
inline constexpr std::array<std::string_view, kNounCount> kPlurals{
    "circles", "squares", "triangles", "crosses", "rings", "diamonds", "bars", "posts"};

struct Object {
  int cell = 0;    // row * kGrid + column
  int noun = 0;    // index into kNouns
  int colour = 0;  // index into kColours
  int size = 0;    // 0 small, 1 big
  bool operator==(const Object&) const = default;
};

struct Scene {
  std::vector<Object> objects;  // at most one per cell
  bool operator==(const Scene&) const = default;
};

// What words can point at: a noun, a colour, both ("red ring"), or neither ("objects"). kAny: not
// said.
inline constexpr int kAny = -1;
struct Phrase {
  int colour = kAny;
  int noun = kAny;
  bool operator==(const Phrase&) const = default;
};
bool matches(const Object& object, const Phrase& phrase);
int count(const Scene& scene, const Phrase& phrase);
inline bool shows(const Scene& scene, const Phrase& phrase) { return count(scene, phrase) > 0; }

// low ... high objects in free cells, drawn from 2-3 colours and 2-4 nouns, so that counts above
// one are common.
Scene random_scene(Rng& rng, int low = 2, int high = 6);

// `scene` with up to `extra` more objects of any kind in free cells.
Scene with_extra_objects(Scene scene, int extra, Rng& rng);

// A text of 2-3 "a COLOUR NOUN" phrases and two scenes that were drawn for it. A fault is a phrase
// that the scene does not show (wrong colour or wrong noun). Paper section 3.2: what a
// text-to-image pair is about.
struct TextScenes {
  std::vector<Phrase> phrases;
  Scene first, second;
  int first_faults = 0, second_faults = 0;
};
// The first scene has 0/1/2 faults with probability .6/.3/.1, the second with .3/.4/.3.
TextScenes random_text_scenes(Rng& rng);

// How many of `phrases` the scene does not show.
int faults(const Scene& scene, const std::vector<Phrase>& phrases);

// Two scenes that are related (a changed copy, 60 %) or independent, each with 0-2 extra objects.
struct ScenePair {
  Scene first, second;
};
ScenePair random_scene_pair(Rng& rng);

}  // namespace dt2it::mini_world
