// SPDX-License-Identifier: Apache-2.0
#include "core/report/analyses.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace dt2it::report {
namespace {

constexpr std::size_t kColumns = 3;  // intercept, length, Markdown
using Row = std::array<double, kColumns>;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double signed_log(double x) { return std::copysign(std::log1p(std::abs(x)), x); }

// Solves a * x = b of three unknowns by elimination with pivots; false where a is singular.
bool solve(std::array<Row, kColumns> a, Row b, Row& x) {
  for (std::size_t c = 0; c < kColumns; ++c) {
    std::size_t pivot = c;
    for (std::size_t r = c + 1; r < kColumns; ++r)
      if (std::abs(a[r][c]) > std::abs(a[pivot][c])) pivot = r;
    if (std::abs(a[pivot][c]) < 1e-12) return false;
    std::swap(a[c], a[pivot]);
    std::swap(b[c], b[pivot]);
    for (std::size_t r = 0; r < kColumns; ++r) {
      if (r == c) continue;
      const double factor = a[r][c] / a[c][c];
      for (std::size_t k = c; k < kColumns; ++k) a[r][k] -= factor * a[c][k];
      b[r] -= factor * b[c];
    }
  }
  for (std::size_t c = 0; c < kColumns; ++c) x[c] = b[c] / a[c][c];
  return true;
}

}  // namespace

std::optional<double> BalancedAccuracy::value() const {
  if (longer == 0 || shorter == 0) return std::nullopt;
  return (static_cast<double>(longer_correct) / static_cast<double>(longer) +
          static_cast<double>(shorter_correct) / static_cast<double>(shorter)) /
         2;
}

BalancedAccuracy balanced_accuracy(std::span<const Answer> answers) {
  BalancedAccuracy result;
  for (const Answer& answer : answers) {
    if (!answer.styled || answer.longer == 0) continue;
    ++(answer.longer > 0 ? result.longer : result.shorter);
    (answer.longer > 0 ? result.longer_correct : result.shorter_correct) += answer.correct();
  }
  return result;
}

std::optional<double> controlled_accuracy(std::span<const Answer> answers) {
  constexpr double kPenalty = 1e-4;
  constexpr int kSteps = 50;
  std::vector<Row> rows;
  std::vector<double> labels;
  double correct = 0;
  for (const Answer& answer : answers) {
    if (!answer.styled) continue;
    rows.push_back({1, signed_log(answer.longer), signed_log(answer.marked)});
    labels.push_back(answer.correct() ? 1 : 0);
    correct += labels.back();
  }
  if (rows.empty()) return std::nullopt;
  const auto count = static_cast<double>(rows.size());
  if (correct == 0 || correct == count) return correct / count;
  for (std::size_t c = 1; c < kColumns; ++c) {
    double squares = 0;
    for (const Row& row : rows) squares += row[c] * row[c];
    const double scale = squares > 0 ? std::sqrt(squares / count) : 1;
    for (Row& row : rows) row[c] /= scale;
  }
  Row weights{std::log(correct / (count - correct)), 0, 0};
  for (int step = 0; step < kSteps; ++step) {
    Row gradient{};
    std::array<Row, kColumns> hessian{};
    for (std::size_t i = 0; i < rows.size(); ++i) {
      double sum = 0;
      for (std::size_t c = 0; c < kColumns; ++c) sum += weights[c] * rows[i][c];
      const double p = sigmoid(sum);
      for (std::size_t c = 0; c < kColumns; ++c) {
        gradient[c] += (labels[i] - p) * rows[i][c] / count;
        for (std::size_t k = 0; k < kColumns; ++k)
          hessian[c][k] += p * (1 - p) * rows[i][c] * rows[i][k] / count;
      }
    }
    for (std::size_t c = 1; c < kColumns; ++c) {
      gradient[c] -= kPenalty * weights[c];
      hessian[c][c] += kPenalty;
    }
    Row change{};
    if (!solve(hessian, gradient, change)) break;
    double largest = 0;
    for (std::size_t c = 0; c < kColumns; ++c) {
      weights[c] +=
          std::clamp(change[c], -2.0, 2.0);  // far from the optimum Newton's steps overshoot
      largest = std::max(largest, std::abs(change[c]));
    }
    if (largest < 1e-10) break;
  }
  return sigmoid(weights[0]);
}

Calibration calibration(std::span<const Answer> answers, int bins) {
  Calibration result;
  const auto many = static_cast<std::size_t>(std::max(1, bins));
  for (std::size_t b = 0; b < many; ++b)
    result.bins.push_back({0.5 + 0.5 * static_cast<double>(b) / static_cast<double>(many),
                           0.5 + 0.5 * static_cast<double>(b + 1) / static_cast<double>(many), 0, 0,
                           0});
  for (const Answer& answer : answers) {
    if (!answer.answered) continue;
    const double confidence = sigmoid(std::abs(answer.margin));
    const auto at = static_cast<std::size_t>((confidence - 0.5) * 2 * static_cast<double>(many));
    CalibrationBin& bin = result.bins[std::min(at, many - 1)];
    ++bin.count;
    bin.confidence += confidence;
    bin.accuracy += answer.margin > 0 ? 1 : answer.margin == 0 ? 0.5 : 0;
    const double miss = 1 - sigmoid(answer.margin);
    result.brier += miss * miss;
    ++result.count;
  }
  if (result.count == 0) return result;
  for (CalibrationBin& bin : result.bins) {
    if (bin.count == 0) continue;
    result.error += std::abs(bin.accuracy - bin.confidence);
    bin.confidence /= static_cast<double>(bin.count);
    bin.accuracy /= static_cast<double>(bin.count);
  }
  result.error /= static_cast<double>(result.count);
  result.brier /= static_cast<double>(result.count);
  return result;
}

Agreement agreement(std::span<const Answer> one, std::span<const Answer> other) {
  Agreement result;
  const std::size_t count = std::min(one.size(), other.size());
  double first = 0, second = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (one[i].benchmark != other[i].benchmark) continue;
    const bool a = one[i].correct(), b = other[i].correct();
    ++result.items;
    result.same += a == b;
    result.both_wrong += !a && !b;
    first += a;
    second += b;
  }
  if (result.items == 0) return result;
  const auto items = static_cast<double>(result.items);
  const double by_chance =
      first / items * (second / items) + (1 - first / items) * (1 - second / items);
  const double seen = static_cast<double>(result.same) / items;
  result.kappa = by_chance < 1 ? (seen - by_chance) / (1 - by_chance) : 0;
  return result;
}

}  // namespace dt2it::report
