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

PairMarks marks_of(std::string line) {
  const std::size_t size = line.size();
  line.resize(size + QuickReader::kPadding, ' ');
  QuickReader reader;
  PreferencePair pair;
  PairMarks marks;
  REQUIRE(reader.read(std::string_view(line).substr(0, size), pair, &marks));
  return marks;
}

PreferencePair pair_of(const std::string& line) {
  JsonParser parser;
  return pair_from(parser.parse(line, "line"), "line");
}

}  // namespace

TEST_CASE("A pair's line is changed as the pair would be") {
  for (int variant = 0; variant < 32; ++variant) {
    const PreferencePair pair = pair_with(variant);
    const std::string line = to_json(pair);
    const PairMarks marks = marks_of(line);
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

TEST_CASE("Lines in another form than ours are changed likewise, or have no marks") {
  const std::string message = R"({"role":"user","content":[]})";
  const std::string sides = R"("chosen":{"text":"a"},"rejected":{"text":"b"})";
  const std::string prompt = R"("prompt":{"messages":[)" + message + "]}";
  std::size_t known = 0;
  for (const std::string& line : {
           "{" + prompt + "," + sides + "}",
           "{" + sides + "," + prompt + "}",
           "{" + sides + R"(,"x":1,)" + prompt + "}",
           "{" + sides + R"(,"strengths":[1,2],)" + prompt + R"(,"id":"p"})",
           "{" + sides + R"(,"strength":null,)" + prompt + "}",
           "{" + sides + R"(,"x":[1 , 2],"strength":0.5,"strengths":[1],"y":"",)" + prompt + "}",
           "{\"id\": \"p\"," + sides + " ," + prompt + "}",
           // Without marks.
           "{" + sides + R"(,"strengths":[1],"strength":2,)" + prompt + "}",
           "{" + sides + R"(,"strength":2,)" + prompt + R"(,"strengths":[1]})",
           R"({"strength":1,)" + sides + "," + prompt + "}",
           R"({"x":1,)" + sides + "," + prompt + "}",
           R"({"rejected":{"text":"b"},"chosen":{"text":"a"},)" + prompt + "}",
           "{" + sides + R"(,"rejected_)" + prompt.substr(1) + "," + prompt + "}",
           "{" + sides + ", " + prompt + "}",
           "{ " + sides + "," + prompt + "}",
           "{" + sides + "," + prompt + "} ",
           "\t{" + sides + "," + prompt + "}",
       }) {
    CAPTURE(line);
    const PairMarks marks = marks_of(line);
    known += marks.known();
    if (!marks.known()) continue;
    for (const bool flipped : {false, true})
      for (const bool voted : {false, true}) {
        PreferencePair changed = pair_of(line);
        if (flipped) swap_sides(changed);
        if (voted) changed.strength = -0.1, changed.strengths = {0.25, 2};
        std::string written;
        append_changed(written, line, marks, flipped, voted ? changed.strength : std::nullopt,
                       std::vector{0.25, 2.0});
        CAPTURE(written);
        CHECK(pair_of(written) == changed);
      }
  }
  CHECK(known == 7);
}

}  // namespace dt2it
