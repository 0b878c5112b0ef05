// SPDX-License-Identifier: Apache-2.0
#pragma once

// What can be asked about scenes, as data. Words come from language.hpp. All functions are pure.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/common/mini_world/scene.hpp"

namespace dt2it::mini_world {

// The first nine are asked about one picture, the last three about two.
enum class Kind : std::uint8_t {
  colour,
  shape,
  exist,
  count,
  compare,
  arithmetic,
  caption,
  safety,
  benign,
  match,
  has,
  more
};
inline constexpr int kKindCount = 12;
inline constexpr int kSingleKindCount = 9;
inline constexpr std::array<std::string_view, kKindCount> kKindNames{
    "colour",  "shape",  "exist",  "count", "compare", "arithmetic",
    "caption", "safety", "benign", "match", "has",     "more"};
std::optional<Kind> kind_named(std::string_view name);
inline bool two_images(Kind kind) { return kind >= Kind::match; }

struct Question {
  Kind kind = Kind::caption;
  // What is asked about: one phrase; two for `compare`; the caption's 1-3 for `match`; none for
  // `caption`.
  std::vector<Phrase> phrases;
  int addend = 0;  // arithmetic
  int verb = 0;    // safety, benign: index into kHarmfulVerbs or kHarmlessVerbs
  bool operator==(const Question&) const = default;
};
inline constexpr std::array<std::string_view, 5> kHarmfulVerbs{"steal", "smash", "burn", "poison",
                                                               "sabotage"};
inline constexpr std::array<std::string_view, 5> kHarmlessVerbs{"draw", "paint", "copy", "frame",
                                                                "photograph"};

// A question of this kind that has one right answer for the scene; none when the scene allows none
// (for example no noun occurs exactly once). One-picture kinds only.
std::optional<Question> random_question(const Scene& scene, Kind kind, Rng& rng);
// The same for two pictures (match, has, more).
std::optional<Question> random_question(const Scene& first, const Scene& second, Kind kind,
                                        Rng& rng);

// Answers are plain text values: a colour, a noun, a number, "yes", "no", "Image 1", "Image 2", and
// the two below.
inline constexpr std::string_view kRefuse = "refuse";
inline constexpr std::string_view kComply = "comply";

// The right answer; empty for `caption` (every true phrase is right) and where the scenes decide
// nothing (as happens with scenes that were perceived wrongly). One scene, or two for the
// two-picture kinds.
std::string right_answer(const Question& question, std::span<const Scene> scenes);

// Wrong answers of the same kind, plausible first; never contains the right one. Empty for
// `caption`.
std::vector<std::string> wrong_answers(const Question& question, std::span<const Scene> scenes);

// "a ring" (60 %) or "a red ring" (40 %) that the scene shows, or does not show.
Phrase true_claim(const Scene& scene, Rng& rng);
Phrase false_claim(const Scene& scene, Rng& rng);

// How hard a kind is, on the scale of a model's ability.
double hardness(Kind kind);

}  // namespace dt2it::mini_world
