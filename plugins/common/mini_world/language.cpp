// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/mini_world/language.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include "plugins/common/mini_world/phrases.hpp"

namespace dt2it::mini_world {
namespace {

using namespace phrases;

// Replaces the slots @ in turn.
std::string fill(std::string_view frame, std::initializer_list<std::string> values) {
  std::string text;
  auto value = values.begin();
  for (char c : frame) {
    if (c == '@' && value != values.end())
      text += *value++;
    else
      text += c;
  }
  return text;
}

void append(std::string& text, std::string_view piece) {
  if (piece.empty()) return;
  if (!text.empty()) text += ' ';
  text += piece;
}

std::string claims_text(const std::vector<Phrase>& claims) {
  if (claims.empty()) return {};
  std::string text(kClaimsStart);
  text += ' ';
  text += caption_text(claims);
  return text + '.';
}

// "the ring ring um shows": one word, its repetition, a filled pause.
std::string stutter(const std::string& text, Rng& rng) {
  std::vector<std::string> words;
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = std::min(text.find(' ', start), text.size());
    words.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  std::vector<std::size_t> spoken;  // not the dashes of a list
  for (std::size_t i = 0; i < words.size(); ++i)
    if (std::isalnum(static_cast<unsigned char>(words[i][0]))) spoken.push_back(i);
  if (spoken.empty()) return text;
  std::string& word = words[spoken[rng.below(spoken.size())]];
  std::size_t length = 0;
  while (length < word.size() && std::isalnum(static_cast<unsigned char>(word[length]))) ++length;
  const std::string core = word.substr(0, length);
  word = core + ' ' + core + " um" + word.substr(length);
  std::string result;
  for (const std::string& piece : words) append(result, piece);
  return result;
}

template <std::size_t N>
std::string_view one_of(const std::array<std::string_view, N>& texts, Rng& rng) {
  return texts[rng.below(N)];
}

}  // namespace

std::optional<Style> style_named(std::string_view name) {
  const auto at = std::find(kStyleNames.begin(), kStyleNames.end(), name);
  if (at == kStyleNames.end()) return std::nullopt;
  return static_cast<Style>(at - kStyleNames.begin());
}

std::string phrase_text(const Phrase& phrase) {
  std::string text;
  if (phrase.colour != kAny)
    text = std::string(kColours[static_cast<std::size_t>(phrase.colour)]) + ' ';
  return text += phrase.noun == kAny ? "object" : kNouns[static_cast<std::size_t>(phrase.noun)];
}

std::string plural_text(const Phrase& phrase) {
  std::string text;
  if (phrase.colour != kAny)
    text = std::string(kColours[static_cast<std::size_t>(phrase.colour)]) + ' ';
  return text += phrase.noun == kAny ? "objects" : kPlurals[static_cast<std::size_t>(phrase.noun)];
}

std::string caption_text(const std::vector<Phrase>& phrases) {
  std::string text;
  for (const Phrase& phrase : phrases) {
    if (!text.empty()) text += " and ";
    text += "a " + phrase_text(phrase);
  }
  return text;
}

std::string question_text(const Question& question) {
  const Phrase first = question.phrases.empty() ? Phrase{} : question.phrases[0];
  const auto verb = static_cast<std::size_t>(question.verb);
  switch (question.kind) {
    case Kind::colour: return fill(kColourQuestion, {phrase_text(first)});
    case Kind::shape: return fill(kShapeQuestion, {phrase_text(first)});
    case Kind::exist: return fill(kExistQuestion, {phrase_text(first)});
    case Kind::count: return fill(kCountQuestion, {plural_text(first)});
    case Kind::arithmetic:
      return fill(kArithmeticQuestion, {plural_text(first), std::to_string(question.addend)});
    case Kind::compare:
      return fill(kCompareQuestion, {plural_text(first), plural_text(question.phrases.at(1))});
    case Kind::caption: return std::string(kCaptionQuestion);
    case Kind::safety:
      return fill(kActionQuestion, {std::string(kHarmfulVerbs.at(verb)), phrase_text(first)});
    case Kind::benign:
      return fill(kActionQuestion, {std::string(kHarmlessVerbs.at(verb)), phrase_text(first)});
    case Kind::match: return fill(kMatchQuestion, {caption_text(question.phrases)});
    case Kind::has: return fill(kHasQuestion, {phrase_text(first)});
    case Kind::more: return fill(kMoreQuestion, {plural_text(first)});
  }
  return {};
}

Statement right_statement(const Question& question, std::span<const Scene> scenes, Rng& rng) {
  Statement statement;
  statement.answer = question.kind == Kind::caption && !scenes.empty()
                         ? caption_text({true_claim(scenes[0], rng)})
                         : right_answer(question, scenes);
  return statement;
}

std::string response_text(const Statement& statement, Style style, Rng& rng) {
  const StylePhrases& own = kStyles[static_cast<std::size_t>(style)];
  const bool refuses = statement.answer == kRefuse;
  std::string text;
  if (refuses || statement.answer == kComply) {
    text = one_of(own.talk_opening, rng);
    const auto& choices = refuses ? kRefusals : kAdvice;
    std::string sentence(choices[rng.below(choices.size())].text);
    if (text.empty() || text.back() == '.' || text.back() == '!')
      sentence[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(sentence[0])));
    append(text, sentence);
    append(text, claims_text(statement.claims));
  } else {
    std::string claims = claims_text(statement.claims);
    if (!claims.empty() && !own.before_claims.empty())
      claims = std::string(own.before_claims) + ' ' + claims;
    // Without an answer its frame would be an unfinished sentence, and so would an opening that
    // leads to it.
    const bool answers = !statement.answer.empty();
    const std::string answer = answers ? fill(own.frame, {statement.answer}) : std::string();
    const std::string_view opening = one_of(own.opening, rng);
    if (answers || (!opening.empty() && (opening.back() == '.' || opening.back() == '!')))
      text = opening;
    append(text, own.claims_first ? claims : answer);
    append(text, own.claims_first ? answer : claims);
  }
  append(text, one_of(own.closing, rng));
  return statement.garbled ? stutter(text, rng) : text;
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> pieces;
  const auto kind = [](char c) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 0x80)
      return 3;  // a foreign letter: the bytes of it stay together with their neighbours
    if (std::isalpha(u)) return 1;
    if (std::isdigit(u)) return 2;
    return std::isspace(u) || std::iscntrl(u) ? 0 : 4;
  };
  for (std::size_t i = 0; i < text.size();) {
    const int own = kind(text[i]);
    std::size_t end = i + 1;
    while (own != 4 && end < text.size() && kind(text[end]) == own) ++end;
    if (own != 0) pieces.emplace_back(text.substr(i, end - i));
    i = end;
  }
  return pieces;
}

const std::vector<std::string>& vocabulary() {
  static const std::vector<std::string> words = [] {
    std::set<std::string> seen;
    std::vector<std::string> alpha, marks;
    const auto add = [&](std::string_view text) {
      for (std::string& piece : split_words(text)) {
        if (piece == "@" || !seen.insert(piece).second) continue;
        const bool word = std::isalnum(static_cast<unsigned char>(piece[0])) != 0;
        (word ? alpha : marks).push_back(std::move(piece));
      }
    };
    for (const auto& list :
         {std::span<const std::string_view>(kColours), std::span<const std::string_view>(kNouns),
          std::span<const std::string_view>(kPlurals),
          std::span<const std::string_view>(kHarmfulVerbs),
          std::span<const std::string_view>(kHarmlessVerbs)})
      for (std::string_view word : list) add(word);
    for (int n = 0; n <= 20; ++n) add(std::to_string(n));
    for (std::string_view text :
         {kColourQuestion, kShapeQuestion, kExistQuestion, kCountQuestion, kArithmeticQuestion,
          kCompareQuestion, kCaptionQuestion, kActionQuestion, kMatchQuestion, kHasQuestion,
          kMoreQuestion, kClaimsStart, kFirstIsBetter, kSecondIsBetter, kTrainingWords,
          std::string_view("objects and um")})
      add(text);
    for (const StylePhrases& style : kStyles) {
      for (const auto& list : {style.opening, style.talk_opening, style.closing})
        for (std::string_view text : list) add(text);
      add(style.frame);
      add(style.before_claims);
    }
    for (const auto& list : {kRefusals, kAdvice})
      for (const TalkPhrase& phrase : list) {
        add(phrase.text);
        std::string capital(phrase.text);
        capital[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(capital[0])));
        add(capital);
      }
    alpha.insert(alpha.end(), marks.begin(), marks.end());
    return alpha;
  }();
  return words;
}

}  // namespace dt2it::mini_world
