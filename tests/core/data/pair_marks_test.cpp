// SPDX-License-Identifier: Apache-2.0
#include "core/data/pair_marks.hpp"

#include <catch2/catch.hpp>
#include <utility>

#include "core/data/records.hpp"

namespace dt2it {
namespace {

PreferencePair pair_with(int variant) {
  PreferencePair pair;
  if (variant & 1) pair.id = "p \"1\"";
  pair.prompt.id = "q";
  pair.prompt.messages = {
      {Message::Role::user, {Part::of_text("line\nbreak, \"chosen\":{ \\ café 😀")}}};
  pair.chosen.id = "a";
  pair.chosen.text = "\"rejected\":{\"text\":\"\"}";
  pair.rejected.text = variant & 2 ? "" : "}},\"strength\":1";
  pair.rejected.extra = variant & 2 ? "" : R"({"n":1.50})";
  if (variant & 4) pair.source = "set", pair.group = "ä";
  if (variant & 8) pair.strength = -1.0 / 3, pair.strengths = {1e-300, -2};
  if (variant & 16) pair.extra = R"({"strength_of_others":[1, 2],"truth":{}})";
  return pair;
}

void swap_sides(PreferencePair& pair) { std::swap(pair.chosen, pair.rejected); }

}  // namespace

TEST_CASE("A pair's line is changed as the pair would be") {
  for (int variant = 0; variant < 32; ++variant) {
    const PreferencePair pair = pair_with(variant);
    const std::string line = to_json(pair);
    JsonWriter scratch;
    marks_of("{}", pair, scratch);  // what is there already does not matter
    const PairMarks marks = marks_of(line, pair, scratch);
    REQUIRE(marks.known());
    for (const bool flipped : {false, true})
      for (const bool voted : {false, true})
        for (const std::vector<double>& strengths : {std::vector<double>{}, {0.1}, {2, -1e20}}) {
          PreferencePair changed = pair;
          if (flipped) swap_sides(changed);
          if (voted) changed.strength = -0.1, changed.strengths = strengths;
          std::string written = "before";
          append_changed(written, line, marks, flipped, voted ? changed.strength : std::nullopt,
                         strengths);
          CHECK(written == "before" + to_json(changed));
        }
  }
}

TEST_CASE("Lines in another form than ours have no marks, and pairs with two prompts") {
  const PreferencePair pair = pair_with(31);
  const std::string line = to_json(pair);
  JsonWriter scratch;
  CHECK_FALSE(marks_of(line + " ", pair, scratch).known());
  CHECK_FALSE(marks_of("\t" + line, pair, scratch).known());
  PreferencePair two = pair;
  two.rejected_prompt = two.prompt;
  CHECK_FALSE(marks_of(to_json(two), two, scratch).known());
}

}  // namespace dt2it
