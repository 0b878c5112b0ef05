// SPDX-License-Identifier: Apache-2.0
#pragma once

// Contract suites: datasets, reformulators, curators, benchmarks.

#include <cmath>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dt2it/benchmark.hpp"
#include "dt2it/context.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/reformulator.hpp"
#include "dt2it/testing/contract_checks.hpp"
#include "dt2it/testing/fakes.hpp"

namespace dt2it::testing {

// Every picture that claims to be present must be in the store.
inline void check_media(const std::vector<Message>& messages, Context& context) {
  for (const Message& message : messages)
    for (const Part& part : message.content) {
      if (part.kind == Part::Kind::text || !part.media.present()) continue;
      std::vector<std::string> ids = part.media.frames;
      if (!part.media.id.empty()) ids.push_back(part.media.id);
      for (const std::string& id : ids) {
        Media media;
        media.id = id;
        CHECK_NOTHROW(context.media().bytes(media));
      }
    }
}

inline void check_prompt(const Prompt& prompt, Context& context) {
  CHECK_FALSE(prompt.id.empty());
  REQUIRE_FALSE(prompt.messages.empty());
  CHECK(prompt.messages.back().role == Message::Role::user);
  check_media(prompt.messages, context);
}

namespace detail {

// Reads a stream whole, in part, and again: every call starts at the first record with the same ones.
template <class Record>
std::vector<Record> check_restarts(const std::function<std::unique_ptr<Stream<Record>>()>& open) {
  const auto read = [&](std::size_t limit) {
    const auto stream = open();
    REQUIRE(stream);
    return drain(*stream, limit);
  };
  const std::vector<Record> all = read(static_cast<std::size_t>(-1));
  REQUIRE_FALSE(all.empty());
  CHECK(read(1).front() == all.front());
  CHECK(read(static_cast<std::size_t>(-1)) == all);
  const auto one = open(), two = open();  // two streams at once do not disturb each other
  Record first, second;
  REQUIRE(one->next(first));
  REQUIRE(two->next(second));
  CHECK(first == all.front());
  CHECK(second == all.front());
  return all;
}

// Nothing when the data set does not offer this stream, which it says by DataError at once.
template <class Record>
std::optional<std::vector<Record>> check_stream(
    const std::function<std::unique_ptr<Stream<Record>>()>& open) {
  try {
    open();
  } catch (const DataError&) {
    return std::nullopt;
  }
  return check_restarts<Record>(open);
}

}  // namespace detail

// `context` is the one the data set was made with.
inline void check_dataset_contract(Dataset& dataset, Context& context) {
  bool offers = false;
  if (const auto prompts = detail::check_stream<Prompt>([&] { return dataset.prompts(); })) {
    offers = true;
    std::set<std::string> ids;
    for (const Prompt& prompt : *prompts) {
      INFO("prompt " << prompt.id);
      check_prompt(prompt, context);
      CHECK(ids.insert(prompt.id).second);
      CHECK_FALSE(prompt.source.empty());
    }
  }
  if (const auto pairs = detail::check_stream<PreferencePair>([&] { return dataset.pairs(); })) {
    offers = true;
    for (const PreferencePair& pair : *pairs) {
      INFO("pair " << pair.id);
      CHECK_FALSE(pair.id.empty());
      CHECK_FALSE(pair.source.empty());
      check_prompt(pair.prompt, context);
      if (pair.rejected_prompt) check_prompt(*pair.rejected_prompt, context);
    }
  }
  if (const auto images =
          detail::check_stream<ImagePreference>([&] { return dataset.image_preferences(); })) {
    offers = true;
    for (const ImagePreference& preference : *images) {
      INFO("text-to-image preference " << preference.id);
      CHECK_FALSE(preference.id.empty());
      CHECK_FALSE(preference.text.empty());
      CHECK_FALSE(preference.source.empty());
    }
  }
  INFO("a data set offers at least one of the three streams");
  CHECK(offers);
}

inline void check_reformulator_contract(Reformulator& reformulator,
                                        const ImagePreference& preference, Context& context) {
  const ImagePreference before = preference;
  const PreferencePair pair = reformulator.reformulate(preference);
  CHECK_FALSE(pair.id.empty());
  CHECK(pair.source == preference.source);
  check_prompt(pair.prompt, context);
  const Prompt& other = pair.rejected_prompt ? *pair.rejected_prompt : pair.prompt;
  check_prompt(other, context);
  INFO("the two sides differ in text or in picture");
  CHECK((pair.chosen.text != pair.rejected.text || !(other == pair.prompt)));
  std::set<std::string> pictures;
  for (const Prompt* prompt : std::initializer_list<const Prompt*>{&pair.prompt, &other})
    for (const Message& message : prompt->messages)
      for (const Part& part : message.content)
        if (part.kind == Part::Kind::image) pictures.insert(part.media.id);
  CHECK(pictures.contains(preference.better.id));
  CHECK(pictures.contains(preference.worse.id));
  CHECK(reformulator.reformulate(preference) == pair);
  check_from_threads<PreferencePair>([&] { return reformulator.reformulate(preference); }, pair);
  CHECK(preference == before);

  // Which picture comes first must not give the answer away: both orders occur over many items.
  if (!pair.rejected_prompt) {
    std::set<std::string> first_pictures, chosen_texts;
    for (int i = 0; i < 64; ++i) {
      ImagePreference one = preference;
      one.id = "contract-" + std::to_string(i);
      const PreferencePair made = reformulator.reformulate(one);
      chosen_texts.insert(made.chosen.text);
      for (const Message& message : made.prompt.messages)
        for (const Part& part : message.content)
          if (part.kind == Part::Kind::image) {
            first_pictures.insert(part.media.id);
            goto next;
          }
    next:;
    }
    CHECK((first_pictures.size() == 2 || chosen_texts.size() > 1));
  }
}

inline bool same(const Decision& a, const Decision& b) {
  return a.action == b.action && a.settled == b.settled && a.reason == b.reason &&
         a.strength == b.strength && a.strengths == b.strengths &&
         a.votes_chosen == b.votes_chosen && a.votes_rejected == b.votes_rejected &&
         a.detail == b.detail;
}

inline void check_curator_contract(Curator& curator, const std::vector<PreferencePair>& pairs) {
  const std::vector<PreferencePair> before = pairs;
  const std::vector<Decision> decisions = curator.review(pairs);
  REQUIRE(decisions.size() == pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const Decision& decision = decisions[i];
    INFO("pair " << pairs[i].id << ", reason '" << decision.reason << "'");
    CHECK_FALSE(decision.reason.empty());
    CHECK(decision.reason.find('\n') == std::string::npos);
    if (decision.action == Decision::Action::keep || decision.action == Decision::Action::discard)
      CHECK(decision.settled);
    if (decision.strength && !decision.strengths.empty()) {
      double sum = 0;
      for (double strength : decision.strengths) sum += strength;
      CHECK(*decision.strength ==
            Approx(sum / static_cast<double>(decision.strengths.size())).margin(1e-9));
    }
  }
  const std::vector<Decision> again = curator.review(pairs);
  REQUIRE(again.size() == decisions.size());
  for (std::size_t i = 0; i < again.size(); ++i) CHECK(same(again[i], decisions[i]));
  CHECK(pairs == before);
  CHECK(curator.review({}).empty());

  // In parts, as the host asks: the same decisions.
  const std::span<const PreferencePair> all(pairs);
  const std::size_t half = (pairs.size() + 1) / 2;
  std::vector<Decision> parts;
  const auto take = [&](std::vector<Decision> some) {
    for (Decision& decision : some) parts.push_back(std::move(decision));
  };
  if (auto* surveying = dynamic_cast<SurveyingCurator*>(&curator)) {
    const auto survey = surveying->survey(pairs.empty() ? "" : pairs.front().source);
    do {
      survey->add(all.first(half));
      survey->add(all.subspan(half));
    } while (survey->again());
    const std::vector<Decision> last =
        survey->decide(all.subspan(half), half);  // as a resumed run does
    take(survey->decide(all.first(half), 0));
    take(last);
  } else {
    take(curator.review(all.first(half)));
    take(curator.review(all.subspan(half)));
  }
  REQUIRE(parts.size() == decisions.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    INFO("pair " << pairs[i].id << ": '" << decisions[i].reason << "' in parts is '"
                 << parts[i].reason << "'");
    CHECK(same(parts[i], decisions[i]));
  }
}

namespace detail {

inline bool is_accuracy(const Metric& metric) {
  // Shares of ties and of failures have counts too.
  if (metric.name == "ties" || metric.name.starts_with("failed")) return false;
  return metric.total.has_value() || metric.name.find("acc") != std::string::npos;
}

inline void check_metrics(const std::vector<Metric>& metrics) {
  REQUIRE_FALSE(metrics.empty());
  std::set<std::string> names;
  for (const Metric& metric : metrics) {
    INFO("metric " << metric.name);
    CHECK_FALSE(metric.name.empty());
    CHECK(names.insert(metric.name).second);
    CHECK(std::isfinite(metric.value));
    CHECK(metric.correct.has_value() == metric.total.has_value());
    if (metric.total && metric.correct && *metric.total > 0) {
      CHECK(*metric.correct >= 0);
      CHECK(*metric.correct <= *metric.total);
      CHECK(metric.value ==
            Approx(static_cast<double>(*metric.correct) / static_cast<double>(*metric.total))
                .margin(1e-12));
    }
  }
}

}  // namespace detail

// `context` is the one the benchmark was made with.
inline void check_benchmark_contract(Benchmark& benchmark, Context& context) {
  const auto items = detail::check_restarts<PreferencePair>([&] { return benchmark.items(); });
  for (const PreferencePair& item : items) {
    INFO("item " << item.id);
    CHECK_FALSE(item.id.empty());
    check_prompt(item.prompt, context);
  }
  const auto outcomes = [&](double chosen, double rejected, Status status = Status::ok) {
    std::vector<Outcome> result;
    for (std::size_t row = 0; row < items.size(); ++row)
      result.push_back({row, items[row].id, items[row].group, status, chosen, rejected});
    return result;
  };
  const auto all_accuracies = [&](const std::vector<Outcome>& given, double expected) {
    const std::vector<Metric> metrics = benchmark.summarise(given);
    detail::check_metrics(metrics);
    for (const Metric& metric : metrics) {
      INFO("metric " << metric.name);
      if (detail::is_accuracy(metric)) CHECK(metric.value == Approx(expected).margin(1e-12));
    }
  };
  const auto constant = outcomes(0.5, 0.5);
  for (const Outcome& outcome : constant) CHECK((outcome.tie() && !outcome.correct()));
  all_accuracies(constant, 0);  // strict >: a constant scorer is right nowhere
  all_accuracies(outcomes(1, 0), 1);
  all_accuracies(outcomes(0, 1), 0);
  all_accuracies(outcomes(1, 0, Status::unavailable), 0);  // no reward is no success
  all_accuracies(outcomes(1 + 1e-12, 1), 1);               // however small the margin
  CHECK_FALSE(benchmark.edition(constant).empty());
  std::vector<Metric> none;
  REQUIRE_NOTHROW(none = benchmark.summarise({}));
  for (const Metric& metric : none) CHECK(std::isfinite(metric.value));
}

}  // namespace dt2it::testing
