// SPDX-License-Identifier: Apache-2.0
#include "plugins/mllms/simulated/judging.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace dt2it::simulated {
namespace {

using namespace mini_world;

bool looks_good(std::optional<Style> style) {
  return style == Style::verbose || style == Style::bullet || style == Style::friendly ||
         style == Style::step;
}

// What the judge takes the response to be worth before noise.
CriterionValues perceive(const Request& request, const std::optional<Question>& question,
                         std::span<const Scene> scenes, const std::string& response,
                         const JudgeTraits& traits, std::uint64_t identity) {
  CriterionValues values;
  if (!question) {  // a question from outside the mini world: no opinion
    values.fill(5);
    return values;
  }
  const Reading reading = parse_response(response);
  values = grade(*question, scenes, reading).scores;
  Rng own(stable_hash(response, stable_hash(request.question, identity)));
  if (own.chance(traits.misread)) {  // takes right for wrong or wrong for right
    values[kAccuracy] = values[kAccuracy] > 2 ? 12 - values[kAccuracy] : 10;
    values[kHelpfulness] = 11 - values[kHelpfulness];
  }
  const double liking = looks_good(style_of(response)) ? traits.style_liking : 0;
  for (double& value : values) value = std::clamp(value, 0.0, 10.0) + liking;
  return values;
}

std::string_view remark(int criterion, int score) {
  static constexpr std::array<std::array<std::string_view, 3>, kCriterionCount> kRemarks{
      {{"What it says contradicts the image.", "Partly supported by the image.",
        "Agrees with the image."},
       {"Does not give the user what was asked.", "Helps only in part.", "Gives what was asked."},
       {"Much is left out.", "The main point is there, details are few.",
        "Nothing of weight is missing."},
       {"Hard to read.", "Readable, with slips.", "Clear and fluent."},
       {"Flat where ideas were wanted.", "Some ideas.", "No invention was called for."},
       {"Ignores a danger.", "Careless in places.", "Nothing harmful."}}};
  return kRemarks[static_cast<std::size_t>(criterion)][score < 4 ? 0 : score < 8 ? 1 : 2];
}

double bias_at(Task task, std::size_t index, std::size_t count, double bias) {
  if (task == Task::pointwise || count < 2) return 0;
  if (task != Task::listwise) bias /= 2;
  return bias - 2 * bias * static_cast<double>(index) / static_cast<double>(count - 1);
}

struct Graded {
  std::array<int, kCriterionCount> scores{};
  double overall = 0;
};

// All responses, in the order shown.
std::vector<Graded> grade_all(const Request& request, const std::optional<Question>& question,
                              std::span<const Scene> scenes, const JudgeTraits& traits,
                              std::uint64_t identity, const CriterionValues& weights, Rng& rng) {
  std::vector<Graded> all;
  const std::size_t count = request.responses.size();
  for (std::size_t r = 0; r < count; ++r) {
    const CriterionValues values =
        perceive(request, question, scenes, request.responses[r], traits, identity);
    const double bias = bias_at(request.task, r, count, traits.position_bias);
    Graded& graded = all.emplace_back();
    double total = 0;
    for (std::size_t i = 0; i < kCriterionCount; ++i) {
      graded.scores[i] = static_cast<int>(
          std::clamp(std::round(values[i] + bias + rng.normal(0, traits.noise)), 0.0, 10.0));
      graded.overall += weights[i] * graded.scores[i];
      total += weights[i];
    }
    graded.overall = std::round(1e4 * graded.overall / total) / 1e4;
  }
  return all;
}

std::string remarks(const Graded& graded) {
  std::string text;
  for (std::size_t i = 0; i < kCriterionCount; ++i)
    text += fmt::format("{}{}", i ? " " : "", remark(static_cast<int>(i), graded.scores[i]));
  return text;
}

// In words. It has to say one of two: of equal ones the first, as models do.
std::string plain_reply(Task task, const std::vector<Graded>& all) {
  if (task == Task::critique) return remarks(all.front());
  const bool second = all.size() > 1 && all[1].overall > all[0].overall;
  if (task == Task::brackets)
    return fmt::format("Assistant A: {}\nAssistant B: {}\n\n[[{}]]", remarks(all.front()),
                       remarks(all.back()), second ? 'B' : 'A');
  return fmt::format("Answer 1: {}\nAnswer 2: {}\n\nOverall Judgment: Answer {} is better.",
                     remarks(all.front()), remarks(all.back()), second ? 2 : 1);
}

}  // namespace

std::string judge(const Request& request, const std::optional<Question>& question,
                  std::span<const Scene> scenes, const JudgeTraits& traits, std::uint64_t identity,
                  Rng& rng) {
  CriterionValues weights = true_weights(question ? question->kind : Kind::caption);
  double sum = 0;
  for (double& weight : weights) sum += weight *= std::exp(rng.normal(0, .16));
  for (double& weight : weights) weight = std::max(.01, std::round(100 * weight / sum) / 100);

  const bool in_words = request.task == Task::answers || request.task == Task::brackets ||
                        request.task == Task::critique;
  if (in_words && !request.responses.empty()) {
    std::string reply = plain_reply(
        request.task, grade_all(request, question, scenes, traits, identity, weights, rng));
    if (rng.chance(traits.break_json)) reply.resize(1 + rng.below(reply.size() - 1));
    return reply;
  }

  std::string own_answer;
  if (question)
    own_answer = response_text(right_statement(*question, scenes, rng), Style::terse, rng);
  auto out = fmt::memory_buffer();
  const auto write = [&](fmt::string_view format, const auto&... values) {
    fmt::vformat_to(std::back_inserter(out), format, fmt::make_format_args(values...));
  };
  write("{{\"reference_answer\": \"{}\", \"weights\": {{", own_answer);
  for (std::size_t i = 0; i < kCriterionCount; ++i)
    write("{}\"{}\": {:.2f}", i ? ", " : "", kCriteria[i], weights[i]);
  write("}}, \"responses\": [");

  const std::vector<Graded> all =
      grade_all(request, question, scenes, traits, identity, weights, rng);
  const std::size_t count = all.size();
  for (std::size_t r = 0; r < count; ++r) {
    const std::array<int, kCriterionCount>& scores = all[r].scores;
    write("{}{{\"id\": {}, \"analysis\": {{", r ? ", " : "", r + 1);
    for (int i = 0; i < kCriterionCount; ++i)
      write("{}\"{}\": \"{}\"", i ? ", " : "", kCriteria[static_cast<std::size_t>(i)],
            remark(i, scores[static_cast<std::size_t>(i)]));
    write("}}, \"scores\": {{");
    for (std::size_t i = 0; i < kCriterionCount; ++i)
      write("{}\"{}\": {}", i ? ", " : "", kCriteria[i], scores[i]);
    write("}}, \"overall\": {:.2f}}}", all[r].overall);
  }
  write("]");
  if (request.task == Task::pairwise && count == 2)
    write(", \"better\": \"{}\"", all[0].overall > all[1].overall   ? "1"
                                  : all[0].overall < all[1].overall ? "2"
                                                                    : "tie");
  write("}}");

  std::string reply = fmt::to_string(out);
  // Somewhere after the opening brace the answer stops, as answers of real models do.
  if (rng.chance(traits.break_json)) reply.resize(1 + rng.below(reply.size() - 1));
  return reply;
}

}  // namespace dt2it::simulated
