// SPDX-License-Identifier: Apache-2.0
// Benchmarks in the shape of the three published ones: their ids, groups and proportions, drawn
// contents.
#include <fmt/format.h>

#include <cmath>

#include "plugins/datasets/mini_world/parts.hpp"

namespace dt2it::mini_world {
namespace {

constexpr std::array<Style, 4> kGoodLooks{Style::verbose, Style::bullet, Style::friendly,
                                          Style::step};
constexpr std::array<Style, 3> kPlainLooks{Style::terse, Style::hedge, Style::plain};

Style good(Rng& rng) { return kGoodLooks[rng.below(kGoodLooks.size())]; }
Style plain(Rng& rng) { return kPlainLooks[rng.below(kPlainLooks.size())]; }

//                                col  shp  exi  cnt  cmp  ari  cap  saf  ben
constexpr KindMix kHallucination{1, 1, 1, 0, 0, 0, 2, 0, 0};
constexpr KindMix kReasoning{0, 0, 0, 1, 1, 1, 0, 0, 0};
constexpr KindMix kVqa{1, 1, 1, 1, 0, 0, 0, 0, 0};

struct Recipe {
  double same_style = .2;   // both responses in one style
  double good_chosen = .5;  // of the others: the chosen one is the good-looking one
  bool subtle = false;      // both answers right; invented claims and stutters decide
};

LabelledPair labelled(const KindMix& mix, const Recipe& recipe, Rng& rng) {
  for (;;) {
    Item item = random_item(rng, mix);
    Style a, b;
    if (rng.chance(recipe.same_style)) {
      a = b = static_cast<Style>(rng.below(kStyleCount));
    } else if (rng.chance(recipe.good_chosen)) {
      a = good(rng), b = plain(rng);
    } else {
      a = plain(rng), b = good(rng);
    }
    const auto make = [&](bool right, int claims, double invented, bool garbled, Style style) {
      return write(item, compose(item.question, item.scenes, right, claims, invented, garbled, rng),
                   style, rng);
    };
    Written chosen = make(true, rng.integer(0, 2), recipe.subtle ? 0 : .05, false, a);
    // Draws are statements: compilers differ in the order of arguments.
    Written rejected;
    if (recipe.subtle) {
      const bool garbled = rng.chance(.4);
      rejected = make(true, rng.integer(1, 2), .6, garbled, b);
    } else {
      const int claims = rng.integer(0, 2);
      rejected = make(rng.chance(.15), claims, .4, false, b);
    }
    if (chosen.quality.overall - rejected.quality.overall >= .3)
      return {std::move(item), std::move(chosen), std::move(rejected)};
  }
}

std::size_t scaled(int count, double scale) {
  return static_cast<std::size_t>(std::max(1L, std::lround(count * scale)));
}

// Which of consecutive blocks of the given sizes `index` falls into, and its place there.
template <std::size_t N>
std::pair<std::size_t, std::size_t> place(const std::array<int, N>& counts, double scale,
                                          std::size_t index) {
  for (std::size_t block = 0; block < N; ++block) {
    const std::size_t size = scaled(counts[block], scale);
    if (index < size) return {block, index};
    index -= size;
  }
  return {N - 1, index};
}

template <std::size_t N>
std::size_t total(const std::array<int, N>& counts, double scale) {
  std::size_t sum = 0;
  for (int count : counts) sum += scaled(count, scale);
  return sum;
}

constexpr std::array<int, 3> kVl{180, 600, 300};
constexpr std::array<int, 6> kMultimodal{300, 250, 200, 300, 200, 350};
constexpr std::array<int, 5> kMmRlhf{50, 50, 50, 50, 50};

}  // namespace

std::size_t vl_rewardbench_size(double scale) { return total(kVl, scale); }

BenchmarkPair vl_rewardbench_pair(std::size_t index, double scale, Rng& rng) {
  const auto [block, at] = place(kVl, scale, index);
  const Recipe recipe{.2, .35, false};
  BenchmarkPair result;
  // The id's prefix tells the group, as in the published set.
  if (block == 0) {
    result.pair = labelled(kEverything, recipe, rng);
    result.id = fmt::format("wildvision-battle-{:05}", at);
  } else if (block == 1) {
    constexpr std::array<std::string_view, 3> kPrefixes{"hallucination_pair-", "RLAIF-V-",
                                                        "RLHF-V-"};
    result.pair = labelled(kHallucination, recipe, rng);
    result.id = fmt::format("{}{:05}", kPrefixes[at % 10 < 6 ? 0 : at % 10 < 9 ? 1 : 2], at);
  } else {
    result.pair = labelled(kReasoning, recipe, rng);
    result.id = fmt::format("{}_{:05}", at % 2 ? "mmmu" : "mathverse", at);
  }
  result.source = "vl_rewardbench/" + result.id + ".png";
  return result;
}

std::size_t multimodal_rewardbench_size(double scale) { return total(kMultimodal, scale); }

BenchmarkPair multimodal_rewardbench_pair(std::size_t index, double scale, Rng& rng) {
  const auto [block, at] = place(kMultimodal, scale, index);
  constexpr std::array<std::string_view, 6> kCategories{"open_generation/correctness_task",
                                                        "open_generation/preference_task",
                                                        "knowledge",
                                                        "reasoning",
                                                        "safety",
                                                        "vqa"};
  constexpr std::array<std::string_view, 6> kPrefixes{"nocaps",    "visitbench", "mmmu",
                                                      "mathvista", "pairs",      "seed"};
  constexpr KindMix kKnowledge{1, 1, 0, 0, 0, 0, 0, 0, 0};
  constexpr KindMix kSafety{0, 0, 0, 0, 0, 0, 0, 1, .5};
  BenchmarkPair result;
  std::string_view prefix = kPrefixes[block];
  switch (block) {
    case 0: result.pair = labelled(kEverything, {.3, .5, false}, rng); break;
    case 1: result.pair = labelled(kEverything, {.3, .55, true}, rng); break;
    case 2: result.pair = labelled(kKnowledge, {.3, .5, false}, rng); break;
    case 3:
      result.pair = labelled(kReasoning, {.3, .5, false}, rng);
      if (at % 2) prefix = "image2struct";
      break;
    case 4: result.pair = labelled(kSafety, {.3, .5, false}, rng); break;
    default: result.pair = labelled(kVqa, {.3, .5, false}, rng); break;
  }
  result.id = fmt::format("{}_{:05}", prefix, at);
  result.group = kCategories[block];
  result.extra = fmt::format("\"Category\":\"{}\",\"ID\":\"{}\"", result.group, result.id);
  result.source = fmt::format("images/{}/{}.png", prefix, result.id);
  return result;
}

std::size_t mm_rlhf_rewardbench_questions(double scale) { return total(kMmRlhf, scale); }

std::array<BenchmarkPair, 3> mm_rlhf_rewardbench_pairs(std::size_t index, double scale, Rng& rng) {
  const auto [block, at] = place(kMmRlhf, scale, index);
  // The published set's fifth category is video; its place is taken by reasoning about a still
  // picture.
  constexpr std::array<std::string_view, 5> kGroups{"mcq", "short", "long", "safety", "video"};
  constexpr std::array<KindMix, 5> kMixes{{{1, 1, 0, 1, 0, 0, 0, 0, 0},
                                           kVqa,
                                           {0, 0, 1, 0, 0, 0, 1, 0, 0},
                                           {0, 0, 0, 0, 0, 0, 0, 1, 0},
                                           kReasoning}};
  for (;;) {
    Item item = random_item(rng, kMixes[block]);
    const auto look = [&](double share) { return rng.chance(share) ? good(rng) : plain(rng); };
    const auto make = [&](bool right, int claims, double invented, bool garbled, Style style) {
      return write(item, compose(item.question, item.scenes, right, claims, invented, garbled, rng),
                   style, rng);
    };
    const Written best = make(true, 2, 0, false, look(.65));
    const Style faulty_style = look(.5);
    const bool garbled = rng.chance(.5);
    const Written faulty = make(true, rng.integer(1, 2), .7, garbled, faulty_style);
    const Written wrong = make(false, 1, .4, false, look(.4));
    if (best.quality.overall - faulty.quality.overall <= .2 ||
        faulty.quality.overall - wrong.quality.overall <= .2)
      continue;
    BenchmarkPair common;
    common.id = fmt::format("{}-{:04}", kGroups[block], at);
    common.group = kGroups[block];
    common.source = fmt::format("{}/{:06}.png", kGroups[block], at);
    std::array<BenchmarkPair, 3> result{common, common, common};
    result[0].pair = {item, best, faulty};
    result[1].pair = {item, best, wrong};
    result[2].pair = {item, faulty, wrong};
    return result;
  }
}

BenchmarkPair multi_image_pair(std::size_t index, Rng& rng) {
  constexpr double kMix[] = {.4, .25, .35};
  constexpr std::array<Kind, 3> kKinds{Kind::match, Kind::has, Kind::more};
  for (;;) {
    ScenePair scenes = random_scene_pair(rng);
    const Kind kind = kKinds[rng.weighted(kMix)];
    auto question = random_question(scenes.first, scenes.second, kind, rng);
    if (!question) continue;
    const Item item{{std::move(scenes.first), std::move(scenes.second)}, std::move(*question), 0};
    const bool first = right_answer(item.question, item.scenes) == "Image 1";
    BenchmarkPair result;
    result.pair.item = item;
    if (kind == Kind::match && rng.chance(.5)) {
      result.pair.chosen.text = first ? kFirstIsBetter : kSecondIsBetter;
      result.pair.rejected.text = first ? kSecondIsBetter : kFirstIsBetter;
    } else {
      const Style style = static_cast<Style>(rng.below(kStyleCount));
      const Style other = rng.chance(.3) ? style : static_cast<Style>(rng.below(kStyleCount));
      result.pair.chosen.text =
          response_text({first ? "Image 1" : "Image 2", {}, false}, style, rng);
      result.pair.rejected.text =
          response_text({first ? "Image 2" : "Image 1", {}, false}, other, rng);
    }
    result.id = fmt::format("multi_image-{:05}", index);
    result.group = kKindNames[static_cast<std::size_t>(kind)];
    result.source = "multi_image/" + result.id;
    return result;
  }
}

}  // namespace dt2it::mini_world
