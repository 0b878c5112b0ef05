// SPDX-License-Identifier: Apache-2.0
// Open preference sets, each with the faults that the literature reports of its model (paper
// section 3.3 and Table 8): what differs is who writes, who judges, and what the judge falls for.
#include <algorithm>
#include <cmath>

#include "plugins/datasets/mini_world/parts.hpp"

namespace dt2it::mini_world {
namespace {

// The six open models that the sets were made with; the same spread of ability and style as the
// pool of section 3.1.
constexpr std::array<std::pair<double, Style>, 6> kModels{{{1.6, Style::verbose},
                                                           {.6, Style::friendly},
                                                           {0, Style::plain},
                                                           {.9, Style::step},
                                                           {-.1, Style::hedge},
                                                           {.8, Style::bullet}}};
Author author(std::size_t model) {
  Author result;
  result.ability = kModels[model].first;
  result.style = kModels[model].second;
  return result;
}

Written written_by(const Author& writer, const Item& item, Rng& rng) {
  return write(item,
               respond(writer, item.question, item.scenes, item.difficulty, std::nullopt, rng),
               writer.style, rng);
}

bool looks_good(Style style) {
  return style == Style::verbose || style == Style::bullet || style == Style::friendly ||
         style == Style::step;
}

// A judge: the deviation of its criterion scores, what it adds to the first and takes from the
// second of two, and how often it takes right for wrong. All zero: the truth.
struct SetJudge {
  double noise, position, misread;
};

double opinion(const Written& response, Kind kind, const SetJudge& judge, double bias, Rng& rng) {
  CriterionValues values = response.quality.scores;
  if (rng.chance(judge.misread)) {
    values[kAccuracy] = values[kAccuracy] > 2 ? 12 - values[kAccuracy] : 10;
    values[kHelpfulness] = 11 - values[kHelpfulness];
  }
  double sum = 0, total = 0;
  for (std::size_t i = 0; i < kCriterionCount; ++i) {
    const double weight = true_weights(kind)[i] * std::exp(rng.normal(0, judge.noise / 10));
    sum += weight * std::clamp(values[i] + bias + rng.normal(0, judge.noise), 0.0, 10.0);
    total += weight;
  }
  return sum / total;
}

// Which of two the judge chooses.
bool chooses_first(const Written& first, const Written& second, Kind kind, const SetJudge& judge,
                   Rng& rng) {
  return opinion(first, kind, judge, judge.position / 2, rng) >
         opinion(second, kind, judge, -judge.position / 2, rng);
}

std::size_t words(const Written& response) {
  return static_cast<std::size_t>(parse_response(response.text).words);
}

LabelledPair order(Item item, Written first, Written second, bool first_chosen) {
  if (!first_chosen) std::swap(first, second);
  return {std::move(item), std::move(first), std::move(second)};
}

// One model, feedback of an open model, hallucination only.
LabelledPair rlaif_v(const Faults& faults, Rng& rng) {
  Item item = random_item(rng, {1, 1, 1.5, .7, 0, 0, 2, 0, 0});
  const Author writer = author(rng.chance(.5) ? 2 : 4);
  Written a = written_by(writer, item, rng);
  Written b = written_by(writer, item, rng);
  const double noise = faults.label_noise;
  const bool first =
      chooses_first(a, b, item.question.kind, {2.2 * noise, 1.0 * noise, .18 * noise}, rng);
  return order(std::move(item), std::move(a), std::move(b), first);
}

// The chosen one is a reference in one house style, the rejected one has an injected error and
// marks of its own.
LabelledPair povid(const Faults& faults, Rng& rng) {
  Item item = random_item(rng, {1, 1, 1, 1, 0, 0, 2, 0, 0});
  const int claims = rng.integer(0, 2);
  Written a = write(item, compose(item.question, item.scenes, true, claims, 0, false, rng),
                    Style::plain, rng);
  const Style marked = rng.chance(.6 * faults.style_bias) ? Style::verbose : Style::plain;
  Written b = write(
      item, compose(item.question, item.scenes, false, std::min(claims + 1, 2), .5, false, rng),
      marked, rng);
  const bool right = !rng.chance(.12 * faults.label_noise);
  return order(std::move(item), std::move(a), std::move(b), right);
}

// Many models, a judge without a reference who misreads, keeps to the order shown and likes long
// answers.
LabelledPair vlfeedback(const Faults& faults, Rng& rng) {
  Item item = random_item(rng, kEverything);
  const auto models = rng.permutation(kModels.size());
  Written a = written_by(author(models[0]), item, rng);
  Written b = written_by(author(models[1]), item, rng);
  const double noise = faults.label_noise;
  bool first =
      chooses_first(a, b, item.question.kind, {1.6 * noise, 2.0 * noise, .20 * noise}, rng);
  if (rng.chance(.25 * faults.style_bias)) first = words(a) > words(b);
  return order(std::move(item), std::move(a), std::move(b), first);
}

// Votes of visitors between two models; good looks count.
LabelledPair wildvision(const Faults& faults, Rng& rng) {
  Item item = random_item(rng, kEverything);
  const auto models = rng.permutation(kModels.size());
  Written a = written_by(author(models[0]), item, rng);
  Written b = written_by(author(models[1]), item, rng);
  const double u = std::clamp(rng.uniform(), 1e-12, 1 - 1e-12);
  const double looks = 1.0 * (int{looks_good(a.style)} - int{looks_good(b.style)});
  const double utility = .45 * (a.quality.overall - b.quality.overall) + faults.style_bias * looks +
                         faults.label_noise * std::log(u / (1 - u));
  return order(std::move(item), std::move(a), std::move(b), utility > 0);
}

// A fixed set of models, careful people; the pairs collected mostly favour the stronger model.
LabelledPair mm_rlhf(const Faults& faults, Rng& rng) {
  constexpr std::size_t kStrong[] = {0, 3, 5};
  for (;;) {
    KindMix mix = kEverything;
    mix[static_cast<std::size_t>(Kind::safety)] = 1.5;
    Item item = random_item(rng, mix);
    Written a = written_by(author(kStrong[rng.below(3)]), item, rng);
    Written b = written_by(author(rng.chance(.5) ? 2 : 4), item, rng);
    const double difference = a.quality.overall - b.quality.overall;
    bool first = difference != 0 ? difference > 0 : rng.chance(.9);
    if (!first && rng.chance(.5 * std::min(1.0, faults.style_bias))) continue;
    if (rng.chance(.04 * faults.label_noise)) first = !first;
    return order(std::move(item), std::move(a), std::move(b), first);
  }
}

// Reasoning, labelled by the answer alone; up to half of the rejected ones go on without the image,
// which shows.
LabelledPair mmpr(const Faults& faults, Rng& rng) {
  Item item = random_item(rng, {0, .5, 0, 1, 1, 1.5, 0, 0, 0});
  constexpr std::size_t kWriters[] = {2, 3, 5};
  const Author writer = author(kWriters[rng.below(3)]);
  Written a =
      write(item, compose(item.question, item.scenes, true, rng.integer(0, 2), .12, false, rng),
            writer.style, rng);
  const Style blind =
      rng.chance(.5 * std::min(1.0, faults.style_bias)) ? Style::hedge : writer.style;
  Written b =
      write(item, compose(item.question, item.scenes, false, rng.integer(0, 2), .3, false, rng),
            blind, rng);
  return {std::move(item), std::move(a), std::move(b)};
}

}  // namespace

Item random_item(Rng& rng, const KindMix& mix) {
  for (;;) {
    const Kind kind = static_cast<Kind>(rng.weighted(mix));
    Scene scene = random_scene(rng);
    if (auto question = random_question(scene, kind, rng))
      return {{std::move(scene)}, std::move(*question), rng.normal(0, kDifficultyDeviation)};
  }
}

Written write(const Item& item, const Statement& statement, Style style, Rng& rng) {
  Written written{response_text(statement, style, rng), {}, style};
  written.quality = grade(item.question, item.scenes, written.text);
  return written;
}

LabelledPair open_set_pair(OpenSet set, const Faults& faults, Rng& rng) {
  switch (set) {
    case OpenSet::rlaif_v: return rlaif_v(faults, rng);
    case OpenSet::povid: return povid(faults, rng);
    case OpenSet::vlfeedback: return vlfeedback(faults, rng);
    case OpenSet::wildvision: return wildvision(faults, rng);
    case OpenSet::mm_rlhf: return mm_rlhf(faults, rng);
    case OpenSet::mmpr: return mmpr(faults, rng);
  }
  return {};
}

}  // namespace dt2it::mini_world
