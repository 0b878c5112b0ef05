// SPDX-License-Identifier: Apache-2.0
#include "core/nn/sampling.hpp"

#include <ATen/core/Tensor.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/nn/safetensors.hpp"
#include "dt2it/error.hpp"
#include "tests/core/nn/golden.hpp"

using namespace dt2it;
using namespace dt2it::nn;

namespace {

template <class T>
std::vector<T> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return {flat.data_ptr<T>(), flat.data_ptr<T>() + flat.numel()};
}

SamplingSettings settings_of(simdjson::dom::element element) {
  SamplingSettings settings;
  (void)element["temperature"].get(settings.temperature);
  (void)element["top_k"].get(settings.top_k);
  (void)element["top_p"].get(settings.top_p);
  (void)element["min_p"].get(settings.min_p);
  (void)element["repetition_penalty"].get(settings.repetition_penalty);
  return settings;
}

std::set<std::int64_t> tokens_of(const std::vector<WeightedToken>& all) {
  std::set<std::int64_t> tokens;
  for (const WeightedToken& one : all) tokens.insert(one.token);
  return tokens;
}

}  // namespace

TEST_CASE("Filters leave the tokens and probabilities that transformers leaves") {
  if (dt2it::testing::golden_absent()) return;
  const auto folder = dt2it::testing::golden_folder() / "generation";
  const SafetensorsFile stored(folder / "filters.safetensors");
  simdjson::dom::parser parser;
  const std::string text = read_text_file(folder / "filters.json");
  simdjson::dom::array rows = parser.parse(text)["rows"];
  int compared = 0, borders = 0;
  for (const auto row : rows) {
    const std::string name{std::string_view(row["logits"])};
    const std::string key = name + "." + std::to_string(std::int64_t(row["index"])) + ".probs";
    CAPTURE(key);
    const auto logits = values_of<float>(stored.load(name + ".logits"));
    const auto history = values_of<std::int64_t>(stored.load(name + ".history"));
    const auto expected = values_of<float>(stored.load(key));
    std::vector<float> ours(logits.size(), 0);
    for (const WeightedToken& one : next_tokens(logits, history, settings_of(row["settings"])))
      ours[static_cast<std::size_t>(one.token)] = one.probability;
    CHECK(std::count_if(ours.begin(), ours.end(), [](float p) { return p > 0; }) ==
          std::int64_t(row["kept"]));
    // Which of equal logits at the border of top_p stay is an accident of sorting there: only their number counts.
    std::map<float, std::pair<std::multiset<float>, std::multiset<float>>> by_logit;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (std::abs(ours[i] - expected[i]) < 1e-6) continue;
      by_logit[logits[i]].first.insert(ours[i]);
      by_logit[logits[i]].second.insert(expected[i]);
    }
    CHECK(by_logit.size() <= (name == "ties" ? 1u : 0u));
    for (const auto& [logit, both] : by_logit) {
      ++borders;
      CHECK(std::equal(both.first.begin(), both.first.end(), both.second.begin(), both.second.end(),
                       [](float a, float b) { return std::abs(a - b) < 1e-6; }));
    }
    ++compared;
  }
  CHECK(compared == 24);
  CHECK(borders <= 8);  // rows of the case with ties
}

TEST_CASE("Among equal tokens the smaller ids stay, however many there are") {
  std::vector<float> logits(3000, 0.f);
  CHECK(next_tokens(logits, {}, {.temperature = 0}).at(0).token == 0);
  const auto half = next_tokens(logits, {}, {.top_p = 0.5});
  REQUIRE(half.size() > 1490);
  REQUIRE(half.size() < 1510);
  for (std::size_t i = 0; i < half.size(); ++i)
    CHECK(half[i].token == static_cast<std::int64_t>(i));
  CHECK(next_tokens(logits, {}, {.top_p = 0}).size() == 1);
  CHECK(next_tokens(logits, {}, {.top_k = 5}).size() == 3000);  // all equal the fifth
}

TEST_CASE("top_p by parts equals top_p by sorting everything") {
  Rng rng(5);
  for (int round = 0; round < 40; ++round) {
    std::vector<float> logits(5000);
    for (float& logit : logits) logit = static_cast<float>(rng.normal(0, round % 4 + 0.2));
    const double top_p = rng.uniform(0.05, 0.999);
    CAPTURE(round, top_p);
    std::vector<std::pair<double, std::int64_t>> sorted;
    double sum = 0;
    for (std::size_t i = 0; i < logits.size(); ++i)
      sorted.emplace_back(std::exp(double{logits[i]}), i);
    for (const auto& [weight, token] : sorted) sum += weight;
    std::sort(sorted.rbegin(), sorted.rend());
    std::set<std::int64_t> expected;
    double seen = 0;
    for (const auto& [weight, token] : sorted) {
      if (seen >= top_p * sum) break;
      expected.insert(token);
      seen += weight;
    }
    const auto ours = tokens_of(next_tokens(logits, {}, {.top_p = top_p}));
    // One token more or less where the sum falls on the border in float32.
    CHECK(std::abs(static_cast<std::int64_t>(ours.size()) -
                   static_cast<std::int64_t>(expected.size())) <= 1);
    const auto& fewer = ours.size() < expected.size() ? ours : expected;
    const auto& more = ours.size() < expected.size() ? expected : ours;
    CHECK(std::includes(more.begin(), more.end(), fewer.begin(), fewer.end()));
  }
}

TEST_CASE("A repeated token is punished once, away from the sign of its logit") {
  const std::vector<float> logits{2, -2, 1, 0};
  const std::vector<std::int64_t> history{0, 0, 1, 99};
  const auto all = next_tokens(logits, history, {.repetition_penalty = 2});
  REQUIRE(all.size() == 4);
  CHECK(all[0].probability == Approx(all[2].probability));
  CHECK(all[1].probability == Approx(all[3].probability * std::exp(-4.)));
}

TEST_CASE("Draws come in the proportions of the probabilities, by seed") {
  const std::vector<float> logits{std::log(1.f), std::log(2.f),
                                  -std::numeric_limits<float>::infinity(), std::log(5.f)};
  Rng rng(8), again(8);
  std::map<std::int64_t, int> counts;
  for (int i = 0; i < 8000; ++i) {
    const auto token = draw_token(logits, {}, {}, rng);
    ++counts[token];
    REQUIRE(draw_token(logits, {}, {}, again) == token);
  }
  CHECK(counts.size() == 3);
  CHECK(std::abs(counts[0] - 1000) < 120);
  CHECK(std::abs(counts[1] - 2000) < 160);
  CHECK(std::abs(counts[3] - 5000) < 180);
  Rng still(8);
  CHECK(draw_token(logits, {}, {.temperature = 0}, still) == 3);
  CHECK(still.next() == Rng(8).next());
}

TEST_CASE("Logits that are no numbers are an error, not a token") {
  std::vector<float> logits{0, std::nanf(""), 1};
  CHECK_THROWS_AS(next_tokens(logits, {}, {}), ModelError);
  CHECK_THROWS_AS(next_tokens(logits, {}, {.temperature = 0}), ModelError);
  std::fill(logits.begin(), logits.end(), -std::numeric_limits<float>::infinity());
  CHECK_THROWS_AS(next_tokens(logits, {}, {}), ModelError);
  CHECK_THROWS_AS(next_tokens({}, {}, {}), ModelError);
}
