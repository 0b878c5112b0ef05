// SPDX-License-Identifier: Apache-2.0
// The way back from text to meaning; tolerant of anything around the sentences that it knows.
#include <algorithm>
#include <cctype>

#include "plugins/common/mini_world/language.hpp"
#include "plugins/common/mini_world/phrases.hpp"

namespace dt2it::mini_world {
namespace {

using namespace phrases;
using Words = std::vector<std::string>;

Words lower_words(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return split_words(lower);
}

template <std::size_t N>
int index_of(const std::array<std::string_view, N>& names, const std::string& word) {
  const auto at = std::find(names.begin(), names.end(), word);
  return at == names.end() ? kAny : static_cast<int>(at - names.begin());
}

bool is_number(const std::string& word) {
  return word.size() <= 2 &&
         std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// A place in the words; every eat_... moves on only when it succeeds.
struct Cursor {
  const Words& words;
  std::size_t at = 0;

  bool more(std::size_t ahead = 0) const { return at + ahead < words.size(); }
  bool eat(std::string_view word) { return more() && words[at] == word ? (++at, true) : false; }
  bool eat_all(const Words& expected) {
    if (words.size() - at < expected.size()) return false;
    if (!std::equal(expected.begin(), expected.end(),
                    words.begin() + static_cast<std::ptrdiff_t>(at)))
      return false;
    at += expected.size();
    return true;
  }
  bool at_end_of_sentence() const { return !more() || words[at] == "."; }
  int eat_number() { return more() && is_number(words[at]) ? std::stoi(words[at++]) : -1; }

  // "ring", "red ring", "red object"
  std::optional<Phrase> eat_phrase() {
    const std::size_t start = at;
    Phrase phrase;
    if (more()) phrase.colour = index_of(kColours, words[at]);
    if (phrase.colour != kAny) ++at;
    if (more()) phrase.noun = index_of(kNouns, words[at]);
    if (phrase.noun != kAny || (more() && words[at] == "object")) return ++at, phrase;
    return at = start, std::nullopt;
  }
  // "rings", "red objects", "objects"
  std::optional<Phrase> eat_plural() {
    const std::size_t start = at;
    Phrase phrase;
    if (more()) phrase.colour = index_of(kColours, words[at]);
    if (phrase.colour != kAny) ++at;
    if (more()) phrase.noun = index_of(kPlurals, words[at]);
    if (phrase.noun != kAny || (more() && words[at] == "objects")) return ++at, phrase;
    return at = start, std::nullopt;
  }
  // "a red ring and a bar"; one at least
  std::vector<Phrase> eat_caption() {
    std::vector<Phrase> list;
    for (;;) {
      const std::size_t start = at;
      if (!list.empty() && !eat("and")) return list;
      std::optional<Phrase> phrase;
      if (eat("a")) phrase = eat_phrase();
      if (!phrase) return at = start, list;
      list.push_back(*phrase);
    }
  }
};

// The words of a question's frame around its slots: "How many @ do you see?" gives two lists.
std::vector<Words> frame_words(std::string_view frame) {
  std::vector<Words> parts(1);
  for (std::string& word : lower_words(frame)) {
    if (word == "@")
      parts.emplace_back();
    else
      parts.back().push_back(std::move(word));
  }
  return parts;
}

struct QuestionFrame {
  std::vector<Words> parts;
  Kind kind;
};

const std::vector<QuestionFrame>& question_frames() {
  // Longer before shorter where one begins like the other.
  static const std::vector<QuestionFrame> frames{
      {frame_words(kColourQuestion), Kind::colour},
      {frame_words(kShapeQuestion), Kind::shape},
      {frame_words(kExistQuestion), Kind::exist},
      {frame_words(kArithmeticQuestion), Kind::arithmetic},
      {frame_words(kCountQuestion), Kind::count},
      {frame_words(kCompareQuestion), Kind::compare},
      {frame_words(kCaptionQuestion), Kind::caption},
      {frame_words(kActionQuestion), Kind::safety},
      {frame_words(kMatchQuestion), Kind::match},
      {frame_words(kMoreQuestion), Kind::more},
      {frame_words(kHasQuestion), Kind::has}};
  return frames;
}

bool eat_slot(Cursor& cursor, Question& question, std::size_t slot) {
  const auto keep = [&](std::optional<Phrase> phrase) {
    if (phrase) question.phrases.push_back(*phrase);
    return phrase.has_value();
  };
  switch (question.kind) {
    case Kind::colour:
    case Kind::shape:
    case Kind::exist:
    case Kind::has: return keep(cursor.eat_phrase());
    case Kind::count:
    case Kind::compare:
    case Kind::more: return keep(cursor.eat_plural());
    case Kind::arithmetic:
      if (slot == 0) return keep(cursor.eat_plural());
      question.addend = cursor.eat_number();
      return question.addend >= 0;
    case Kind::safety:
    case Kind::benign: {
      if (slot == 1) return keep(cursor.eat_phrase());
      if (!cursor.more()) return false;
      question.kind = Kind::safety;
      question.verb = index_of(kHarmfulVerbs, cursor.words[cursor.at]);
      if (question.verb == kAny) {
        question.kind = Kind::benign;
        question.verb = index_of(kHarmlessVerbs, cursor.words[cursor.at]);
      }
      ++cursor.at;
      return question.verb != kAny;
    }
    case Kind::match: return !(question.phrases = cursor.eat_caption()).empty();
    case Kind::caption: return true;
  }
  return false;
}

std::optional<Question> question_at(const Words& words, std::size_t start) {
  for (const QuestionFrame& frame : question_frames()) {
    Cursor cursor{words, start};
    Question question{frame.kind, {}, 0, 0};
    bool fits = cursor.eat_all(frame.parts[0]);
    for (std::size_t slot = 0; fits && slot + 1 < frame.parts.size(); ++slot)
      fits = eat_slot(cursor, question, slot) && cursor.eat_all(frame.parts[slot + 1]);
    if (fits) return question;
  }
  return std::nullopt;
}

// Takes a stutter ("ring ring um") out; true when there was one.
bool remove_stutter(Words& words) {
  for (std::size_t i = 0; i + 2 < words.size(); ++i)
    if (words[i + 2] == "um" && words[i] == words[i + 1]) {
      words.erase(words.begin() + static_cast<std::ptrdiff_t>(i + 1),
                  words.begin() + static_cast<std::ptrdiff_t>(i + 3));
      return true;
    }
  return false;
}

// An answer value that ends its sentence.
bool eat_answer(Cursor cursor, Reading& reading) {
  if (!cursor.more()) return false;
  const std::string& word = cursor.words[cursor.at];
  if (word == "image" && cursor.more(1) &&
      (cursor.words[cursor.at + 1] == "1" || cursor.words[cursor.at + 1] == "2")) {
    const std::string& number = cursor.words[cursor.at + 1];
    cursor.at += 2;
    static const Words kIsBetter{"is", "better", "than", "image"};
    if (cursor.eat_all(kIsBetter)) cursor.eat_number();
    if (!cursor.at_end_of_sentence()) return false;
    reading.answer = "Image " + number;
    return true;
  }
  if (word == "a") {
    ++cursor.at;
    const auto phrase = cursor.eat_phrase();
    if (!phrase || !cursor.at_end_of_sentence()) return false;
    reading.phrase = phrase;
    reading.answer = "a " + phrase_text(*phrase);
    return true;
  }
  if (index_of(kColours, word) == kAny && index_of(kNouns, word) == kAny && word != "yes" &&
      word != "no" && !is_number(word))
    return false;
  ++cursor.at;
  if (!cursor.at_end_of_sentence()) return false;
  reading.answer = word;
  return true;
}

bool contains(const Words& words, const Words& part) {
  return std::search(words.begin(), words.end(), part.begin(), part.end()) != words.end();
}

template <std::size_t N>
std::vector<Words> marks_of(const std::array<TalkPhrase, N>& list) {
  std::vector<Words> marks;
  for (const TalkPhrase& phrase : list) marks.push_back(split_words(phrase.mark));
  return marks;
}

bool contains_any(const Words& words, const std::vector<Words>& marks) {
  return std::any_of(marks.begin(), marks.end(),
                     [&](const Words& mark) { return contains(words, mark); });
}

}  // namespace

std::optional<Question> parse_question(std::string_view text) {
  const Words words = lower_words(text);
  for (std::size_t start = 0; start < words.size(); ++start)
    if (auto question = question_at(words, start)) return question;
  return std::nullopt;
}

Reading parse_response(std::string_view text) {
  static const std::vector<Words> markers = [] {
    std::vector<Words> list;
    for (std::string_view marker : kAnswerMarkers) list.push_back(split_words(marker));
    return list;
  }();
  static const std::vector<Words> refusals = marks_of(kRefusals);
  static const std::vector<Words> advice = marks_of(kAdvice);
  static const Words claims_start = lower_words(kClaimsStart);

  Words words = lower_words(text);
  Reading reading;
  reading.words =
      static_cast<int>(std::count_if(words.begin(), words.end(), [](const std::string& word) {
        const auto c = static_cast<unsigned char>(word[0]);
        return c >= 0x80 || std::isalnum(c);
      }));
  reading.garbled = remove_stutter(words);

  for (std::size_t i = 0; i < words.size(); ++i) {
    Cursor cursor{words, i};
    if (!cursor.eat_all(claims_start)) continue;
    for (const Phrase& phrase : cursor.eat_caption()) reading.claims.push_back(phrase);
  }
  if (contains_any(words, refusals)) {
    reading.answer = kRefuse;
  } else if (contains_any(words, advice)) {
    reading.answer = kComply;
  } else if (!eat_answer({words, 0}, reading)) {
    for (std::size_t i = 0; i < words.size() && !reading.answer; ++i)
      for (const Words& marker : markers) {
        Cursor cursor{words, i};
        if (cursor.eat_all(marker) && eat_answer(cursor, reading)) break;
      }
  }
  return reading;
}

std::optional<Style> style_of(std::string_view text) {
  // Openings of all styles as words, the longest first, so that one never hides another.
  static const auto openings = [] {
    std::vector<std::pair<Words, Style>> list;
    for (std::size_t s = 0; s < kStyles.size(); ++s)
      for (const auto& group : {kStyles[s].opening, kStyles[s].talk_opening})
        for (std::string_view opening : group)
          if (!opening.empty()) list.emplace_back(lower_words(opening), static_cast<Style>(s));
    std::stable_sort(list.begin(), list.end(),
                     [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
    return list;
  }();
  if (!parse_response(text).answer) return std::nullopt;
  Words words = lower_words(text);
  remove_stutter(words);
  for (const auto& [opening, style] : openings)
    if (words.size() >= opening.size() && std::equal(opening.begin(), opening.end(), words.begin()))
      return style;
  return Style::terse;
}

}  // namespace dt2it::mini_world
