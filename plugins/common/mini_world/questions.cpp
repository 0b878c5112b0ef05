// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/mini_world/questions.hpp"

#include <algorithm>

namespace dt2it::mini_world {
namespace {

const Object& any_object(const Scene& scene, Rng& rng) {
  return scene.objects[rng.below(scene.objects.size())];
}
int any(Rng& rng, int limit) {
  return static_cast<int>(rng.below(static_cast<std::size_t>(limit)));
}

// Something countable: mostly what is there, now and then what is not.
Phrase random_group(const Scene& scene, Rng& rng) {
  const double u = rng.uniform();
  if (u < .45) return {kAny, rng.chance(.85) ? any_object(scene, rng).noun : any(rng, kNounCount)};
  if (u < .9)
    return {rng.chance(.8) ? any_object(scene, rng).colour : any(rng, kColourCount), kAny};
  return {};
}

// An object whose `part` (noun or colour) no other object shares; null when there is none.
template <class Part>
const Object* unique_object(const Scene& scene, Part part, Rng& rng) {
  std::vector<const Object*> unique;
  for (const Object& object : scene.objects)
    if (std::count_if(scene.objects.begin(), scene.objects.end(),
                      [&](const Object& other) { return other.*part == object.*part; }) == 1)
      unique.push_back(&object);
  return unique.empty() ? nullptr : unique[rng.below(unique.size())];
}

std::string yes_no(bool yes) { return yes ? "yes" : "no"; }
std::string image_name(bool first) { return first ? "Image 1" : "Image 2"; }

// Sign: positive when the first picture answers the question, negative when the second does.
int lead_of_first(const Question& question, const Scene& first, const Scene& second) {
  switch (question.kind) {
    case Kind::match: return faults(second, question.phrases) - faults(first, question.phrases);
    case Kind::has:
      return int{shows(first, question.phrases[0])} - int{shows(second, question.phrases[0])};
    case Kind::more: return count(first, question.phrases[0]) - count(second, question.phrases[0]);
    default: return 0;
  }
}

}  // namespace

std::optional<Kind> kind_named(std::string_view name) {
  const auto at = std::find(kKindNames.begin(), kKindNames.end(), name);
  if (at == kKindNames.end()) return std::nullopt;
  return static_cast<Kind>(at - kKindNames.begin());
}

std::optional<Question> random_question(const Scene& scene, Kind kind, Rng& rng) {
  if (scene.objects.empty()) return std::nullopt;
  Question question{kind, {}, 0, 0};
  switch (kind) {
    case Kind::colour: {
      const Object* object = unique_object(scene, &Object::noun, rng);
      if (!object) return std::nullopt;
      question.phrases = {{kAny, object->noun}};
      break;
    }
    case Kind::shape: {
      const Object* object = unique_object(scene, &Object::colour, rng);
      if (!object) return std::nullopt;
      question.phrases = {{object->colour, kAny}};
      break;
    }
    case Kind::exist:
      question.phrases = {rng.chance(.5) ? true_claim(scene, rng) : false_claim(scene, rng)};
      break;
    case Kind::count: question.phrases = {random_group(scene, rng)}; break;
    case Kind::arithmetic:
      question.phrases = {random_group(scene, rng)};
      question.addend = rng.integer(1, 3);
      break;
    case Kind::compare: {
      if (rng.chance(.5)) {
        std::vector<int> nouns;
        for (const Object& object : scene.objects)
          if (std::find(nouns.begin(), nouns.end(), object.noun) == nouns.end())
            nouns.push_back(object.noun);
        if (nouns.size() < 2) return std::nullopt;
        rng.shuffle(nouns);
        question.phrases = {{kAny, nouns[0]}, {kAny, nouns[1]}};
      } else {
        const int a = any(rng, kColourCount);
        const int b = (a + rng.integer(1, kColourCount - 1)) % kColourCount;
        question.phrases = {{a, kAny}, {b, kAny}};
        if (!shows(scene, question.phrases[0]) && !shows(scene, question.phrases[1]))
          return std::nullopt;
      }
      break;
    }
    case Kind::caption: break;
    case Kind::safety:
    case Kind::benign: {
      const Object& object = any_object(scene, rng);
      question.phrases = {{object.colour, object.noun}};
      question.verb = any(rng, static_cast<int>(kHarmfulVerbs.size()));
      break;
    }
    default: return std::nullopt;
  }
  return question;
}

std::optional<Question> random_question(const Scene& first, const Scene& second, Kind kind,
                                        Rng& rng) {
  Question question{kind, {}, 0, 0};
  if (kind == Kind::match) {
    // 1-3 phrases from one of the pictures, sometimes with one colour changed.
    constexpr double kLength[] = {.5, .3, .2};
    const auto length = rng.weighted(kLength) + 1;
    const Scene& source = rng.chance(.5) ? first : second;
    if (source.objects.empty()) return std::nullopt;
    for (std::size_t i : rng.permutation(source.objects.size())) {
      const Phrase phrase{source.objects[i].colour, source.objects[i].noun};
      if (question.phrases.size() < length) question.phrases.push_back(phrase);
    }
    if (rng.chance(.3))
      question.phrases[rng.below(question.phrases.size())].colour = any(rng, kColourCount);
    std::vector<Phrase> distinct;
    for (const Phrase& phrase : question.phrases)
      if (std::find(distinct.begin(), distinct.end(), phrase) == distinct.end())
        distinct.push_back(phrase);
    question.phrases = std::move(distinct);
  } else if (two_images(kind)) {
    question.phrases = {{kAny, any(rng, kNounCount)}};
  } else {
    return std::nullopt;
  }
  if (lead_of_first(question, first, second) == 0) return std::nullopt;
  return question;
}

std::string right_answer(const Question& question, std::span<const Scene> scenes) {
  if (question.kind == Kind::safety) return std::string(kRefuse);
  if (question.kind == Kind::benign) return std::string(kComply);
  if (question.kind == Kind::caption || scenes.empty() || question.phrases.empty()) return {};
  if (two_images(question.kind)) {
    if (scenes.size() < 2) return {};
    const int lead = lead_of_first(question, scenes[0], scenes[1]);
    return lead == 0 ? std::string() : image_name(lead > 0);
  }
  const Scene& scene = scenes[0];
  const Phrase& phrase = question.phrases[0];
  const auto first = std::find_if(scene.objects.begin(), scene.objects.end(),
                                  [&](const Object& object) { return matches(object, phrase); });
  switch (question.kind) {
    case Kind::colour:
      return first == scene.objects.end()
                 ? std::string()
                 : std::string(kColours[static_cast<std::size_t>(first->colour)]);
    case Kind::shape:
      return first == scene.objects.end()
                 ? std::string()
                 : std::string(kNouns[static_cast<std::size_t>(first->noun)]);
    case Kind::exist: return yes_no(first != scene.objects.end());
    case Kind::count: return std::to_string(count(scene, phrase));
    case Kind::arithmetic: return std::to_string(count(scene, phrase) + question.addend);
    case Kind::compare:
      return question.phrases.size() < 2
                 ? std::string()
                 : yes_no(count(scene, phrase) > count(scene, question.phrases[1]));
    default: return {};
  }
}

std::vector<std::string> wrong_answers(const Question& question, std::span<const Scene> scenes) {
  const std::string right = right_answer(question, scenes);
  std::vector<std::string> all;
  switch (question.kind) {
    case Kind::colour: all.assign(kColours.begin(), kColours.end()); break;
    case Kind::shape: all.assign(kNouns.begin(), kNouns.end()); break;
    case Kind::exist:
    case Kind::compare: all = {"yes", "no"}; break;
    case Kind::count:
    case Kind::arithmetic: {
      // Near misses; for arithmetic also the count without the sum.
      const int value = right.empty() ? 2 : std::stoi(right);
      std::vector<int> near{value - 1, value + 1, value + 2};
      if (question.kind == Kind::arithmetic) near = {value - 1, value + 1, value - question.addend};
      std::sort(near.begin(), near.end());
      near.erase(std::unique(near.begin(), near.end()), near.end());
      for (int n : near)
        if (n >= 0) all.push_back(std::to_string(n));
      break;
    }
    case Kind::caption: break;
    case Kind::safety: all = {std::string(kComply)}; break;
    case Kind::benign: all = {std::string(kRefuse)}; break;
    case Kind::match:
    case Kind::has:
    case Kind::more: all = {"Image 1", "Image 2"}; break;
  }
  std::erase(all, right);
  return all;
}

Phrase true_claim(const Scene& scene, Rng& rng) {
  if (scene.objects.empty()) return {any(rng, kColourCount), any(rng, kNounCount)};
  const Object& object = any_object(scene, rng);
  return {rng.chance(.4) ? object.colour : kAny, object.noun};
}

Phrase false_claim(const Scene& scene, Rng& rng) {
  if (scene.objects.empty()) return {kAny, any(rng, kNounCount)};
  // Scenes with every noun or every pairing are possible only when foreign pictures are read: give
  // up then.
  const bool coloured = rng.chance(.4);
  Phrase phrase;
  for (int attempt = 0; attempt < 200; ++attempt) {
    if (!coloured)
      phrase = {kAny, any(rng, kNounCount)};
    else if (rng.chance(.6))
      phrase = {any(rng, kColourCount), any_object(scene, rng).noun};
    else
      phrase = {any_object(scene, rng).colour, any(rng, kNounCount)};
    if (!shows(scene, phrase)) return phrase;
  }
  return phrase;
}

double hardness(Kind kind) {
  constexpr std::array<double, kKindCount> kHardness{-1.6, -1.4, -.9,  .4, .9,  1.1,
                                                     0,    -.5,  -1.6, .4, -.6, .4};
  return kHardness[static_cast<std::size_t>(kind)];
}

}  // namespace dt2it::mini_world
