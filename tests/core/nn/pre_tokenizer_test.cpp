// SPDX-License-Identifier: Apache-2.0
#include "core/nn/pre_tokenizer.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/nn/normalizer.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"

using namespace dt2it;
using namespace dt2it::nn;

namespace {

std::vector<std::string> words(const Splitter& splitter, std::string_view text) {
  std::vector<std::string> found;
  splitter.split(text, [&](std::string_view word) { found.emplace_back(word); });
  return found;
}

// Code points whose classes in PCRE2, whose Unicode may be older or newer, are ours.
std::vector<char32_t> undisputed() {
  const Pattern letter("\\p{L}"), number("\\p{N}"), space("\\s");
  std::vector<char32_t> codes;
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xd800 && code < 0xe000) continue;
    std::string text;
    append_code(text, code);
    const auto is = [&](const Pattern& pattern) {
      std::size_t begin = 0, end = 0;
      return pattern.find(text, 0, begin, end);
    };
    const int theirs = (is(letter) ? kLetterClass : 0) | (is(number) ? kNumberClass : 0) |
                       (is(space) ? kSpaceClass : 0);
    if (theirs == (unicode_classes()[code] & (kLetterClass | kNumberClass | kSpaceClass)))
      codes.push_back(code);
  }
  return codes;
}

}  // namespace

TEST_CASE("The Qwen pattern by hand cuts as the regular expression does") {
  const Splitter by_hand(kQwenPattern, true);
  const Splitter by_pcre2("(?:" + std::string(kQwenPattern) + ")",
                          true);  // not recognised, so PCRE2 does it
  const std::vector<char32_t> codes = undisputed();
  REQUIRE(codes.size() > 1'090'000);
  const std::vector<std::string_view> snippets{"'s",
                                               "'S",
                                               "'t",
                                               "'re",
                                               "'RE",
                                               "'ve",
                                               "'Ve",
                                               "'m",
                                               "'ll",
                                               "'lL",
                                               "'d",
                                               "'\u017f",
                                               "'l",
                                               "'r",
                                               "'",
                                               "''",
                                               " ",
                                               "  ",
                                               "\n",
                                               "\r\n",
                                               "\r",
                                               "\t",
                                               "\v",
                                               "\f",
                                               "\u00a0",
                                               "\u0085",
                                               "\u180e",
                                               "\u2028",
                                               "\u3000",
                                               "\u200b",
                                               "a",
                                               "Z",
                                               "hello",
                                               "0",
                                               "42",
                                               "\u0663",
                                               "\u00bd",
                                               "\u2163",
                                               ".",
                                               ",",
                                               "!?",
                                               "\u4e2d\u6587",
                                               "\u0301",
                                               "\u00e9",
                                               "\U0001f469\u200d\U0001f4bb",
                                               "_",
                                               "<|",
                                               "|>",
                                               "\u0915\u094d\u0937",
                                               std::string_view("\0", 1),
                                               "\x7f"};
  Rng rng(7);
  std::size_t count = 0, pieces = 0;
  for (int round = 0; round < 60'000; ++round) {
    std::string text;
    for (int length = rng.integer(1, 14); length > 0; --length) {
      if (rng.below(4))
        text += snippets[rng.below(snippets.size())];
      else
        append_code(text, rng.below(3) ? codes[rng.below(0x3000)] : codes[rng.below(codes.size())]);
    }
    const auto expected = words(by_pcre2, text), found = words(by_hand, text);
    std::string joined;
    for (const std::string& word : found) joined += word;
    if (found != expected || joined != text) {
      CAPTURE(text, round);
      CHECK(joined == text);
      REQUIRE(found == expected);
    }
    ++count;
    pieces += found.size();
  }
  CHECK(count == 60'000);
  CHECK(pieces > 200'000);
}

TEST_CASE("A pattern keeps or drops what lies between its matches, and an empty match is no word") {
  using Words = std::vector<std::string>;
  CHECK(words(Splitter("[0-9]+", true), "ab12c3") == Words{"ab", "12", "c", "3"});
  CHECK(words(Splitter("[0-9]+", false), "ab12c3") == Words{"12", "3"});
  CHECK(words(Splitter("x*", true), "\u00e9xxa") == Words{"\u00e9", "xx", "a"});
  CHECK(words(Splitter("\\b", true), "one two") == Words{"one two"});
  CHECK(words(Splitter("\\s", true), "a\u180e\u3000b") == Words{"a\u180e", "\u3000", "b"});
  CHECK(words(Splitter("a", true), "").empty());
}

TEST_CASE("A pattern that would run for ever, or that is wrong, is an error") {
  using Catch::Matchers::Contains;
  const std::string text = std::string(4000, 'a') + "!";
  for (const char* hostile :
       {"(a+)+[xyz]", "(?:a|a)*[xyz]", "(a*)*\\1b", "(?:(?:a?){30}){30}b", "(?R)?a|(?R)b"}) {
    CAPTURE(hostile);
    std::string outcome;
    try {
      const Splitter splitter(hostile, true);
      words(splitter, text);
      outcome = "splits";
    } catch (const ModelError& error) {
      outcome = error.what();
      CHECK_THAT(outcome, Contains(hostile));
    }
    CHECK(!outcome.empty());
  }
  const Splitter exponential("(a+)+[xyz]", true);
  CHECK_THROWS_AS(words(exponential, text), ModelError);
  CHECK_THROWS_AS(Pattern("(a"), ModelError);
  CHECK_THROWS_AS(Pattern("\\C"), ModelError);  // half a character
  CHECK_THROWS_AS(Pattern(std::string(1000, '(') + std::string(1000, ')')), ModelError);
}

TEST_CASE("Very long words of one class are one word") {
  const Splitter splitter(kQwenPattern, true);
  for (const std::string_view unit : {"a", "\u4e2d", " ", ".", "\n"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    CHECK(words(splitter, text).size() == 1);
  }
}

TEST_CASE("Composing is NFC, looks at marks only, and orders long runs of them quickly") {
  const Normalizer nfc{Normalizer::Type::compose, {}, {}};
  std::string buffer;
  const auto composed = [&](std::string_view text) { return std::string(nfc.apply(text, buffer)); };
  const std::string_view plain = "Gr\u00fc\u00dfe \u4e2d\u6587 \uac00";
  CHECK(nfc.apply(plain, buffer).data() == plain.data());
  CHECK(composed("e\u0301 A\u030a\u0323") == "\u00e9 \u1ea0\u030a");
  CHECK(composed("\u212b\u2126") == "\u00c5\u03a9");
  CHECK(composed("\u1100\u1161\u11a8x") == "\uac01x");
  CHECK(composed("\u0301a\u0301") == "\u0301\u00e1");
  CHECK(composed("\u0958") == "\u0915\u093c");  // excluded from composition
  CHECK(composed("a\u0315\u07fd\u0334e\u07fd\u0301") ==
        "a\u0315\u07fd\u0334e\u07fd\u0301");  // a late mark
  std::string marks = "a", sorted = "a";
  for (int i = 0; i < 200'000; ++i) marks += i % 2 ? "\u0316" : "\u0315";
  for (int i = 0; i < 200'000; ++i) sorted += i < 100'000 ? "\u0316" : "\u0315";
  CHECK(composed(marks) == sorted);
}

TEST_CASE("Broken UTF-8 is repaired part by part") {
  CHECK(is_utf8("caf\u00e9 \U0001f642"));
  for (const auto& [broken, repaired] : std::vector<std::pair<std::string, std::string>>{
           {"\xe4\xbd", "\ufffd"},
           {"\xe4\xbd!", "\ufffd!"},
           {"\xff\xfe", "\ufffd\ufffd"},
           {"\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
           {"\xf0\x9f\x99", "\ufffd"},
           {"\xc0\xaf", "\ufffd\ufffd"},
           {"a\x80z", "a\ufffdz"},
           {"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"}}) {
    CHECK_FALSE(is_utf8(broken));
    CHECK(repaired_utf8(broken) == repaired);
  }
}
