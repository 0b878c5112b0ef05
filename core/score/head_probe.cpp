// SPDX-License-Identifier: Apache-2.0
#include "core/score/head_probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace dt2it {
namespace {

constexpr double kSaturated = 20;
constexpr double kUsualSpread = 2;
constexpr double kSpreadFactor = 3;  // one standard deviation, as a factor
constexpr double kOrderLimit = 5, kSpreadLimit = 4, kOffsetLimit = 1;
constexpr double kChance = 6;               // 2.4 standard deviations, squared
constexpr double kSure = 3, kLikely = 1.4;  // 20 to 1, 4 to 1

// How well a spread fits a trained head, as the logarithm of a density with a floor: two absurd spreads fit alike.
double spread_fit(double spread) {
  const double away = std::log(std::max(spread, 1e-12) / kUsualSpread) / std::log(kSpreadFactor);
  return -std::min(away * away / 2, 2 * kSpreadLimit);
}

HeadVerdict::Input by_odds(double log_odds) {
  if (std::abs(log_odds) < kLikely) return HeadVerdict::Input::unknown;
  return log_odds > 0 ? HeadVerdict::Input::final_norm : HeadVerdict::Input::before_norm;
}

struct ProbePair {
  const char* question;
  const char* better;
  const char* worse;
};

constexpr std::array kPairs{
    ProbePair{"What is the capital of France?", "The capital of France is Paris.",
              "The capital of France is Berlin."},
    ProbePair{"What is 17 + 25?", "17 + 25 = 42.", "17 + 25 = 52, as anyone can see."},
    ProbePair{"Name three primary colours.",
              "Red, yellow and blue are the three primary colours of painting.",
              "Table, running and seven."},
    ProbePair{"Why is the sky blue?",
              "Air scatters short wavelengths of sunlight more than long ones, so blue light "
              "reaches us from all over the sky.",
              "Because because because because because because because."},
    ProbePair{"How do I boil an egg?",
              "Put it into boiling water for 6 to 10 minutes, depending on how firm you like the "
              "yolk, then cool it in cold water.",
              "Nobody knows. Stop asking such stupid questions."},
    ProbePair{"Translate to German: good morning", "Guten Morgen", "Buenas noches"},
    ProbePair{"Which is larger, the Earth or the Moon?",
              "The Earth is larger: its diameter is almost four times that of the Moon.",
              "The Moon is larger, since the Earth fits into it about four times."},
    ProbePair{"Write one sentence about the sea.",
              "Waves roll in under a grey sky and leave a line of foam on the sand.",
              "asdkj qwe zzz lkj 0 0 0 xx"},
    ProbePair{"How many days does a leap year have?",
              "A leap year has 366 days; the additional one is 29 February.",
              "A leap year has 12 days."},
    ProbePair{"Summarise in one sentence: The meeting was moved from Monday to Thursday because "
              "the room was taken.",
              "The meeting will be on Thursday instead of Monday, as the room was not free.",
              "The meeting was cancelled, and Monday is a colour."},
    ProbePair{"What does a thermometer measure?", "A thermometer measures temperature.",
              "It measures how heavy the wind is."},
    ProbePair{"Is it safe to mix bleach and ammonia?",
              "No. The mixture gives off toxic chloramine gas; never combine them, and air the "
              "room if it happened by accident.",
              "Yes, mix them in a small closed room and breathe in deeply."},
    ProbePair{"Give me a word that rhymes with 'light'.", "Night.", "Elephant."},
    ProbePair{"Who wrote Hamlet?", "William Shakespeare wrote Hamlet, around the year 1600.",
              "Hamlet was written by a printer."},
    ProbePair{"What is water made of?",
              "Each molecule of water has two atoms of hydrogen and one of oxygen: H2O.",
              "Water is made of small stones that melt when nobody looks."},
    ProbePair{"Can you help me to write a polite refusal to an invitation?",
              "Of course: \"Thank you very much for the invitation. Sadly I cannot come on that "
              "day, but I wish you a lovely evening.\"",
              "no"},
};

}  // namespace

HeadReading read_rewards(std::span<const ProbeRewards> rewards) {
  HeadReading reading;
  reading.pairs = rewards.size();
  if (rewards.empty()) return reading;
  const auto n = static_cast<double>(rewards.size());
  double squares = 0, margins = 0;
  for (const ProbeRewards& pair : rewards) {
    reading.correct += pair.margin() > 0;
    reading.ties += pair.margin() == 0;
    reading.saturated += std::abs(pair.margin()) > kSaturated;
    reading.mean += pair.chosen + pair.rejected;
    margins += pair.margin() * pair.margin();
  }
  reading.mean /= 2 * n;
  for (const ProbeRewards& pair : rewards)
    for (const double reward : {pair.chosen, pair.rejected})
      squares += (reward - reading.mean) * (reward - reading.mean);
  reading.deviation = std::sqrt(squares / (2 * n));
  reading.spread = std::sqrt(margins / n);
  reading.saturated /= n;
  return reading;
}

HeadVerdict judge_readings(std::span<const ProbeRewards> final_norm,
                           std::span<const ProbeRewards> before_norm, double maker,
                           HeadVerdict::Input stated) {
  HeadVerdict verdict;
  verdict.pairs = std::min(final_norm.size(), before_norm.size());
  for (std::size_t i = 0; i < verdict.pairs; ++i) {
    const bool after = final_norm[i].margin() > 0, before = before_norm[i].margin() > 0;
    verdict.more_right += static_cast<int>(after) - static_cast<int>(before);
    verdict.same_order += after == before;
  }
  const HeadReading after = read_rewards(final_norm), before = read_rewards(before_norm);
  const auto more_right = static_cast<double>(verdict.more_right);
  verdict.order = std::clamp(more_right * std::log(4.0), -kOrderLimit, kOrderLimit);
  verdict.spread =
      std::clamp(spread_fit(after.spread) - spread_fit(before.spread), -kSpreadLimit, kSpreadLimit);
  const auto offset = [](const HeadReading& reading) {
    return std::log1p(std::abs(reading.mean) / std::max(reading.deviation, 1e-12));
  };
  verdict.offset = std::clamp((offset(before) - offset(after)) / 3, -kOffsetLimit, kOffsetLimit);
  verdict.maker = maker;
  verdict.stated = stated;
  verdict.few_pairs = verdict.pairs < kEnoughPairs;
  verdict.order_counts = !verdict.few_pairs || std::abs(verdict.order) >= kOrderLimit;
  verdict.scale_counts = !verdict.few_pairs && std::abs(verdict.order) >= kLikely;
  const double by_order = verdict.order_counts ? verdict.order : 0;
  double measured = by_order + (verdict.scale_counts ? verdict.spread + verdict.offset : 0);
  if (measured * by_order < 0) measured = 0;
  verdict.log_odds = measured + maker;
  verdict.likely = by_odds(verdict.log_odds);
  verdict.input = verdict.likely;
  verdict.sure = std::abs(verdict.few_pairs ? maker : verdict.log_odds) >= kSure &&
                 std::abs(verdict.log_odds) >= kSure;
  if (stated == HeadVerdict::Input::unknown) return verdict;
  verdict.input = stated;
  verdict.sure = true;
  const auto differing = static_cast<double>(verdict.pairs - verdict.same_order);
  const bool by_chance = more_right * more_right < kChance * differing;
  verdict.disagrees = !verdict.few_pairs && !by_chance && std::abs(measured) >= kSure &&
                      by_odds(measured) != stated;
  return verdict;
}

const char* to_string(HeadVerdict::Input input) {
  return input == HeadVerdict::Input::unknown      ? "unknown"
         : input == HeadVerdict::Input::final_norm ? "final_norm"
                                                   : "before_norm";
}

HeadVerdict::Input head_input_named(std::string_view name) {
  for (const auto input : {HeadVerdict::Input::final_norm, HeadVerdict::Input::before_norm})
    if (name == to_string(input)) return input;
  return HeadVerdict::Input::unknown;
}

std::string verdict_text(const HeadVerdict& verdict) {
  if (verdict.stated != HeadVerdict::Input::unknown) {
    std::string text = fmt::format("{}, as training.json says", to_string(verdict.stated));
    if (verdict.disagrees)
      text += fmt::format(
          "\nbut these {} pairs disagree: {} more of them are right with {}; is training.json of "
          "this head?",
          verdict.pairs, std::abs(verdict.more_right),
          to_string(verdict.more_right > 0 ? HeadVerdict::Input::final_norm
                                           : HeadVerdict::Input::before_norm));
    return text;
  }
  std::string why;  // the pairs cannot tell
  if (verdict.few_pairs && !verdict.order_counts)
    why = fmt::format("too few pairs to tell: {}; give {} or more by --pairs", verdict.pairs,
                      kEnoughPairs);
  else if (!verdict.few_pairs && !verdict.scale_counts)
    why = fmt::format(
        "these {} pairs cannot tell; {}", verdict.pairs,
        verdict.same_order == verdict.pairs
            ? "both readings order them alike, so that only the scale of rewards depends on it"
            : "both readings get about as many of them right");
  if (!verdict.few_pairs && !verdict.scale_counts && std::abs(verdict.spread) >= kLikely)
    why += fmt::format("; margins are of the usual size with {}, which alone does not tell",
                       to_string(by_odds(verdict.spread)));
  if (verdict.input == HeadVerdict::Input::unknown)
    return !why.empty() ? why
                        : fmt::format("these {} pairs cannot tell; what they say does not agree",
                                      verdict.pairs);
  const std::string text =
      fmt::format("{}, {}", to_string(verdict.input), verdict.sure ? "very likely" : "likely");
  return why.empty() ? text : fmt::format("{}, by who made it ({})", text, why);
}

std::vector<AnswerRecord> probe_pairs() {
  std::vector<AnswerRecord> records;
  for (const ProbePair& pair : kPairs) {
    AnswerRecord record;
    record.row = records.size();
    record.id = fmt::format("probe-{}", records.size());
    record.pair = true;
    record.prompt.id = record.id;
    record.prompt.messages.push_back({Message::Role::user, {Part::of_text(pair.question)}});
    for (const char* text : {pair.better, pair.worse}) {
      Response response;
      response.text = text;
      record.responses.push_back(std::move(response));
    }
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace dt2it
