// SPDX-License-Identifier: Apache-2.0
#include "plugins/mllms/local/answer_text.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "dt2it/rng.hpp"
#include "tests/plugins/mllms/scripted_backbone.hpp"
#include "tests/plugins/trainers/tiny_models.hpp"

using namespace dt2it;
using dt2it::local::AnswerText;
using dt2it::testing::ScriptedBackbone;

namespace {

// The text after each byte of `bytes`, up to the first stop.
std::vector<std::string> texts(const std::string& bytes,
                               const std::vector<std::string>& stops = {}) {
  const ScriptedBackbone backbone(ScriptedBackbone::echo);
  AnswerText answer(backbone, stops);
  std::vector<std::string> all;
  for (const char c : bytes) {
    const bool over = answer.add(static_cast<unsigned char>(c));
    all.push_back(answer.text());
    if (over) break;
  }
  return all;
}

}  // namespace

TEST_CASE("A text never ends within a character") {
  const std::string bytes = "a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x99\x82!";
  const std::vector<std::string> expected{"a",    "a",    "aé",   "aé",     "aé",     "aé中",
                                          "aé中", "aé中", "aé中", "aé中🙂", "aé中🙂!"};
  CHECK(texts(bytes) == expected);
  // What turns out to be no character is shown once something follows.
  CHECK(texts("a\xe4\xb8z").back() == "a\xef\xbf\xbd\xef\xbf\xbdz");
  CHECK(texts("a\xff\xff\xff\xff\xff").back() == "a\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(texts("\xff\xff\xff\xff\xe4\xb8\xad").back() ==
        "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd中");
}

TEST_CASE("A text token by token is the text of all tokens") {
  const ScriptedBackbone backbone(ScriptedBackbone::echo);
  Rng rng(2);
  const std::vector<std::string> pieces{"a", "é", "中", "🙂", "\xff", "\xe4\xb8", "\xf0\x9f", " "};
  for (int round = 0; round < 200; ++round) {
    std::string bytes;
    for (int i = 0; i < 12; ++i) bytes += pieces[rng.below(pieces.size())];
    bytes += '.';
    const auto ids = backbone.tokenize(bytes);
    CHECK(texts(bytes).back() == backbone.detokenize(ids));
  }
}

TEST_CASE("Stop strings end a text before them, also across tokens") {
  CHECK(texts("one END two", {"END"}).back() == "one ");
  CHECK(texts("one END two", {"END"}).size() == 7);
  CHECK(texts("EEEND", {"END"}).back() == "EE");
  CHECK(texts("abcd", {"cd", "bcd"}).back() == "a");  // the one that begins first
  CHECK(texts("ab中c", {"中"}).back() == "ab");
  CHECK(texts("abc", {"abcd", "x"}).back() == "abc");
  CHECK(texts("stop", {"stop"}).back().empty());
}

TEST_CASE("A word-level tokenizer's words stay apart, and special tokens unseen") {
  dt2it::testing::FakeContext context;
  dt2it::testing::add_backbone(context);
  const auto backbone = context.component<Backbone>("base");
  const auto ids = backbone->tokenize("There is a red ring.<|im_end|>yes.");
  const std::vector<std::string> none;
  AnswerText answer(*backbone, none);
  for (const auto id : ids) CHECK_FALSE(answer.add(id));
  CHECK(answer.text() == backbone->detokenize(ids));
  CHECK(answer.text().find('<') == std::string::npos);
  CHECK(std::count(answer.text().begin(), answer.text().end(), ' ') > 4);

  const std::vector<std::string> stops{"red ring"};
  AnswerText stopped(*backbone, stops);
  bool over = false;
  for (std::size_t i = 0; i < ids.size() && !over; ++i) over = stopped.add(ids[i]);
  CHECK(over);
  CHECK(stopped.text() == backbone->detokenize(backbone->tokenize("There is a")) + " ");
}
