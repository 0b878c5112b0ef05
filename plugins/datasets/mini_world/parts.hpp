// SPDX-License-Identifier: Apache-2.0
#pragma once

// The parts of datasets/mini_world, without records and files: items as scenes, questions and
// texts. Each item has a stream of its own, so that items may be made in any order.

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plugins/common/mini_world/drawing.hpp"
#include "plugins/common/mini_world/quality.hpp"
#include "plugins/common/mini_world/writer.hpp"

namespace dt2it::mini_world {

struct Item {
  std::vector<Scene> scenes;  // one or two
  Question question;
  double difficulty = 0;
};

// Relative frequencies of the nine one-picture kinds, in the order of Kind.
using KindMix = std::array<double, kSingleKindCount>;
inline constexpr KindMix kEverything{1, 1, 1.2, 1.2, .8, .8, 1, 1, .6};

// Draws scenes until one allows a question of the drawn kind.
Item random_item(Rng& rng, const KindMix& mix);

struct Written {
  std::string text;
  Quality quality;  // the truth
  Style style = Style::plain;
};
Written write(const Item& item, const Statement& statement, Style style, Rng& rng);

// A labelled pair as a data set gives it: rightly or wrongly.
struct LabelledPair {
  Item item;
  Written chosen, rejected;
};

struct Faults {
  double style_bias =
      .5;  // scales what good looks, length and house styles do to labels and responses
  double label_noise = .5;  // scales misreading, inattention and other random mislabelling
};

enum class OpenSet { rlaif_v, povid, vlfeedback, wildvision, mm_rlhf, mmpr };
LabelledPair open_set_pair(OpenSet set, const Faults& faults, Rng& rng);

// Benchmarks; their labels are true.
struct BenchmarkPair {
  LabelledPair pair;
  std::string id;
  std::string group;   // empty: follows from the id
  std::string extra;   // fields for the pair's extra, without braces
  std::string source;  // path that the picture pretends to have
};
// `scale` shrinks or grows the published proportions; 1 gives 1,080 and 1,600 pairs and 250
// questions of three.
std::size_t vl_rewardbench_size(double scale);
BenchmarkPair vl_rewardbench_pair(std::size_t index, double scale, Rng& rng);
std::size_t multimodal_rewardbench_size(double scale);
BenchmarkPair multimodal_rewardbench_pair(std::size_t index, double scale, Rng& rng);
// Three pairs of one question: good over faulty, good over wrong, faulty over wrong.
std::size_t mm_rlhf_rewardbench_questions(double scale);
std::array<BenchmarkPair, 3> mm_rlhf_rewardbench_pairs(std::size_t index, double scale, Rng& rng);
// Questions about two pictures: match, has, more.
BenchmarkPair multi_image_pair(std::size_t index, Rng& rng);

}  // namespace dt2it::mini_world
