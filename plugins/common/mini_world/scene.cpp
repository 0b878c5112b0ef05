// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/mini_world/scene.hpp"

#include <algorithm>

namespace dt2it::mini_world {
namespace {

// The first `n` of the numbers 0 ... limit-1 in random order.
std::vector<int> choose(Rng& rng, int limit, int n) {
  std::vector<int> result;
  const auto order = rng.permutation(static_cast<std::size_t>(limit));
  for (int i = 0; i < n; ++i)
    result.push_back(static_cast<int>(order[static_cast<std::size_t>(i)]));
  return result;
}

int one_of(Rng& rng, const std::vector<int>& values) { return values[rng.below(values.size())]; }

int any(Rng& rng, int limit) {
  return static_cast<int>(rng.below(static_cast<std::size_t>(limit)));
}

// The objects that `phrases` name, `bad` of them changed to another colour or to a noun that is not
// named.
Scene scene_for(const std::vector<Phrase>& phrases, int bad, Rng& rng) {
  std::vector<Phrase> shown = phrases;
  for (std::size_t k : rng.permutation(shown.size())) {
    if (bad-- <= 0) break;
    if (rng.chance(.5)) {
      shown[k].colour = (shown[k].colour + rng.integer(1, kColourCount - 1)) % kColourCount;
    } else {
      std::vector<int> unnamed;
      for (int noun = 0; noun < kNounCount; ++noun)
        if (std::none_of(phrases.begin(), phrases.end(),
                         [&](const Phrase& p) { return p.noun == noun; }))
          unnamed.push_back(noun);
      shown[k].noun = one_of(rng, unnamed);
    }
  }
  Scene scene;
  const auto cells = choose(rng, kCells, static_cast<int>(shown.size()));
  for (std::size_t i = 0; i < shown.size(); ++i)
    scene.objects.push_back({cells[i], shown[i].noun, shown[i].colour, any(rng, kSizeCount)});
  return scene;
}

}  // namespace

bool matches(const Object& object, const Phrase& phrase) {
  return (phrase.noun == kAny || phrase.noun == object.noun) &&
         (phrase.colour == kAny || phrase.colour == object.colour);
}

int count(const Scene& scene, const Phrase& phrase) {
  return static_cast<int>(
      std::count_if(scene.objects.begin(), scene.objects.end(),
                    [&](const Object& object) { return matches(object, phrase); }));
}

Scene random_scene(Rng& rng, int low, int high) {
  const int n = rng.integer(low, high);
  const auto colours = choose(rng, kColourCount, rng.integer(2, 3));
  const auto nouns = choose(rng, kNounCount, rng.integer(2, 4));
  Scene scene;
  for (int cell : choose(rng, kCells, std::min(n, kCells)))
    scene.objects.push_back({cell, one_of(rng, nouns), one_of(rng, colours), any(rng, kSizeCount)});
  return scene;
}

Scene with_extra_objects(Scene scene, int extra, Rng& rng) {
  std::vector<int> free;
  for (int cell = 0; cell < kCells; ++cell)
    if (std::none_of(scene.objects.begin(), scene.objects.end(),
                     [&](const Object& object) { return object.cell == cell; }))
      free.push_back(cell);
  rng.shuffle(free);
  for (int i = 0; i < extra && i < static_cast<int>(free.size()); ++i)
    scene.objects.push_back({free[static_cast<std::size_t>(i)], any(rng, kNounCount),
                             any(rng, kColourCount), any(rng, kSizeCount)});
  return scene;
}

TextScenes random_text_scenes(Rng& rng) {
  TextScenes result;
  for (int noun : choose(rng, kNounCount, rng.integer(2, 3)))
    result.phrases.push_back({any(rng, kColourCount), noun});
  constexpr double kFirst[] = {.6, .3, .1};
  constexpr double kSecond[] = {.3, .4, .3};
  result.first = scene_for(result.phrases, static_cast<int>(rng.weighted(kFirst)), rng);
  result.second = scene_for(result.phrases, static_cast<int>(rng.weighted(kSecond)), rng);
  result.first_faults = faults(result.first, result.phrases);
  result.second_faults = faults(result.second, result.phrases);
  return result;
}

int faults(const Scene& scene, const std::vector<Phrase>& phrases) {
  return static_cast<int>(std::count_if(
      phrases.begin(), phrases.end(), [&](const Phrase& phrase) { return !shows(scene, phrase); }));
}

ScenePair random_scene_pair(Rng& rng) {
  ScenePair pair;
  if (rng.chance(.6)) {
    TextScenes related = random_text_scenes(rng);
    pair = {std::move(related.first), std::move(related.second)};
  } else {
    pair.first = random_scene(rng, 2, 4);
    pair.second = random_scene(rng, 2, 4);
  }
  pair.first = with_extra_objects(std::move(pair.first), rng.integer(0, 2), rng);
  pair.second = with_extra_objects(std::move(pair.second), rng.integer(0, 2), rng);
  return pair;
}

}  // namespace dt2it::mini_world
