// SPDX-License-Identifier: Apache-2.0
#define PCRE2_CODE_UNIT_WIDTH 8
#include "plugins/common/judging/verdict_reading.hpp"

#include <pcre2.h>
#include <simdjson.h>

#include <memory>

#include "dt2it/error.hpp"

namespace dt2it::judging {
namespace {

using Code = std::unique_ptr<pcre2_code, void (*)(pcre2_code*)>;

const pcre2_code* judgement() {
  static const Code code = [] {
    // A word that opens the judgement, anything up to the last "Answer N is better" behind it.
    // White space, digits and case as in Python, where texts are Unicode.
    constexpr char kPattern[] =
        R"((?:overall judgment|therefore).*answer\s*(\d+)\s*is\s*(?:the\s*)?(?:slightly\s*)?better)";
    int error = 0;
    PCRE2_SIZE offset = 0;
    const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
        pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    Code made(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPattern), PCRE2_ZERO_TERMINATED,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS, &error, &offset, context.get()),
              pcre2_code_free);
    if (!made) throw PluginError("the pattern of verdicts does not compile");
    return made;
  }();
  return code.get();
}

bool first_of(const JudgedSample& sample, Verdict::Winner winner) {
  return (winner == Verdict::Winner::first) == sample.chosen_first;
}

}  // namespace

std::optional<int> answer_number(std::string_view reply) {
  std::string text;
  for (const char c : reply)
    if (c != '\n' && c != '*') text += c;
  if (!simdjson::validate_utf8(text))  // nothing matches across bytes that are no text
    for (char& c : text)
      if ((c & 0x80) != 0) c = '?';
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> match(
      pcre2_match_data_create_from_pattern(judgement(), nullptr), pcre2_match_data_free);
  const int groups = pcre2_match(judgement(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                 text.size(), 0, 0, match.get(), nullptr);
  if (groups < 2) return std::nullopt;
  const PCRE2_SIZE* places = pcre2_get_ovector_pointer(match.get());
  std::string_view number = std::string_view(text).substr(places[2], places[3] - places[2]);
  while (number.size() > 1 && number.front() == '0') number.remove_prefix(1);
  return number == "1" ? 1 : number == "2" ? 2 : -1;
}

char bracket_letter(std::string_view reply) {
  if (reply.find("[[A]]") != reply.npos) return 'A';
  return reply.find("[[B]]") != reply.npos ? 'B' : '\0';
}

Said what_it_says(const JudgedSample& sample, bool odd_numbers_agree) {
  const Verdict& verdict = sample.verdict;
  if (sample.form == "answers" && !verdict.reply.empty()) {
    const auto number = answer_number(verdict.reply);
    if (!number) return Said::nothing;
    const int chosen = sample.chosen_first ? 1 : 2;
    return *number == chosen || (odd_numbers_agree && *number == -1) ? Said::chosen
                                                                     : Said::rejected;
  }
  if (sample.form == "brackets" && !verdict.reply.empty()) {
    const char letter = bracket_letter(verdict.reply);
    if (!letter) return Said::nothing;
    return (letter == 'A') == sample.chosen_first ? Said::chosen : Said::rejected;
  }
  if (!verdict.ok() || verdict.winner == Verdict::Winner::tie) return Said::nothing;
  return first_of(sample, verdict.winner) ? Said::chosen : Said::rejected;
}

bool chosen_first_in_file(const JudgedItem& item) {
  if (item.extra.empty()) return true;
  simdjson::dom::parser parser;
  simdjson::dom::element extra;
  if (parser.parse(simdjson::padded_string(item.extra)).get(extra)) return true;
  std::string_view text;
  if (!extra["Better"].get(text)) return text != "Output2";
  simdjson::dom::element ranking;
  if (extra["human_ranking"].get(ranking) && extra["answer"].get(ranking)) return true;
  std::string digits = ranking.get(text) ? simdjson::minify(ranking) : std::string(text);
  std::erase(digits, ' ');
  return digits != "[1,0]";
}

const JudgedSample* sample_shown(const JudgedItem& item, bool chosen_first) {
  for (const JudgedSample& sample : item.samples)
    if (sample.chosen_first == chosen_first) return &sample;
  return item.samples.empty() ? nullptr : &item.samples.front();
}

}  // namespace dt2it::judging
