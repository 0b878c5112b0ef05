// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the contract suites share. They use Catch2 v2 macros, which are not thread-safe: threads only
// compute, the test's own thread asserts.

#include <catch2/catch.hpp>
#include <cmath>
#include <cstddef>
#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "dt2it/answer_benchmark.hpp"
#include "dt2it/types.hpp"

namespace dt2it::testing {

inline bool same_number(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

inline bool same(const Score& a, const Score& b) {
  return a.status == b.status && same_number(a.overall, b.overall) &&
         a.stated_overall == b.stated_overall && a.criteria == b.criteria &&
         a.judge_reference == b.judge_reference && a.detail == b.detail && a.reply == b.reply;
}
inline bool same(const Verdict& a, const Verdict& b) {
  return a.status == b.status && a.winner == b.winner && a.first_score == b.first_score &&
         a.second_score == b.second_score && a.detail == b.detail && a.reply == b.reply;
}
inline bool same(const Reward& a, const Reward& b) {
  return a.status == b.status && same_number(a.value, b.value);
}
inline bool same(const AnswerGrade& a, const AnswerGrade& b) {
  return a.row == b.row && a.weight == b.weight && a.status == b.status &&
         same_number(a.score, b.score) && a.reference_score == b.reference_score &&
         a.marks == b.marks && a.judge == b.judge && a.model == b.model &&
         a.temperature == b.temperature && a.replies == b.replies && a.detail == b.detail;
}
template <class T>
bool same(const T& a, const T& b)
  requires requires { a == b; }
{
  return a == b;
}
template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!same(a[i], b[i])) return false;
  return true;
}

// Runs `work` in four threads at once, several times each; every result must equal `expected`.
template <class Result>
void check_from_threads(const std::function<Result()>& work, const Result& expected) {
  constexpr int kThreads = 4, kRounds = 3;
  std::vector<std::string> problems(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] {
      try {
        for (int round = 0; round < kRounds; ++round)
          if (!same(work(), expected))
            problems[static_cast<std::size_t>(i)] = "another result than alone";
      } catch (const std::exception& error) {
        problems[static_cast<std::size_t>(i)] = error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& problem : problems) {
    INFO("from several threads at once: " << problem);
    CHECK(problem.empty());
  }
}

// A score is a number from 0 to 10, or a reason why there is none.
inline void check_score(const Score& score) {
  if (score.ok()) {
    CHECK(std::isfinite(score.overall));
    CHECK(score.overall >= 0);
    CHECK(score.overall <= 10);
    if (score.criteria.empty()) return;
    double weights = 0;
    for (const Criterion& criterion : score.criteria) {
      CHECK_FALSE(criterion.name.empty());
      CHECK(criterion.score >= 0);
      CHECK(criterion.score <= 10);
      weights += criterion.weight;
    }
    CHECK(weights == Approx(1).margin(1e-6));
  } else {
    INFO("a failure says why in `detail`");
    CHECK_FALSE(score.detail.empty());
  }
}

}  // namespace dt2it::testing
