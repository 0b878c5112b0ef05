// SPDX-License-Identifier: Apache-2.0
#include "core/report/paper_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/report/answer_results.hpp"

namespace dt2it::report {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct Mean {
  double value = kNone;
  std::optional<double> deviation;  // sample
  int count = 0;
};

Mean mean_of(const std::vector<double>& values) {
  Mean result{0, {}, static_cast<int>(values.size())};
  if (values.empty()) return {};
  for (const double value : values) result.value += value / static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - result.value) * (value - result.value);
  if (values.size() > 1)
    result.deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return result;
}

// Student's t, 97.5 %.
double quantile(int freedom) {
  constexpr std::array<double, 15> kTable{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                          2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131};
  return freedom <= static_cast<int>(kTable.size()) ? kTable[static_cast<std::size_t>(freedom - 1)]
                                                    : 1.96;
}

// As the paper prints it: per cent, or a rating as it is (its figures are below 10, while no accuracy is).
bool rating_column(const std::string& figure) { return figure.ends_with("mmhal_bench"); }

// On the paper's scale.
std::optional<double> printed(const RunSummary& run, const std::string& figure) {
  const auto value = figure_of(run, figure);
  if (!value || std::isnan(*value)) return std::nullopt;
  // The mini world's stand-in for a rated benchmark is no rating: it stays a fraction, in per cent.
  return rating_column(figure) && *value > 1 ? *value : 100 * *value;
}

std::string number(double value, bool rating) {
  return std::isnan(value)      ? "?"
         : rating && value < 10 ? fmt::format("{:.2f}", value)
                                : fmt::format("{:.1f}", value);
}

bool unfinished(const RunSummary& run) {
  return std::ranges::any_of(run.stages, [](const StageSummary& stage) { return !stage.complete; });
}

}  // namespace

TextTable side_by_side(const PaperTable& table, std::span<const RowRuns> runs) {
  TextTable result;
  result.title = table.title + ": paper | ours, mean over seeds (standard deviation)";
  result.header = {"Row", "#Data", "Seeds"};
  result.header.insert(result.header.end(), table.columns.begin(), table.columns.end());
  std::string corrected, absent, begun;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const PaperRow& row = table.rows[r];
    std::vector<std::string> texts{row.name};
    std::vector<double> values{kNone};
    std::string data = row.data;
    for (const RunSummary& run : runs[r])
      if (!run.evaluations.empty() && run.evaluations.back().pairs) {
        data += fmt::format("{}| {}", data.empty() ? "" : " ",
                            data_size(*run.evaluations.back().pairs));
        break;
      }
    texts.push_back(data);
    values.push_back(kNone);
    texts.push_back(runs[r].empty() ? "" : std::to_string(runs[r].size()));
    values.push_back(static_cast<double>(runs[r].size()));
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      std::vector<double> ours;
      for (const RunSummary& run : runs[r])
        if (const auto value = printed(run, table.figures[c])) ours.push_back(*value);
      const bool rating = rating_column(table.figures[c]);
      const Mean mean = mean_of(ours);
      std::string cell = number(row.values[c], rating) + " | ";
      cell += !ours.empty()                              ? number(mean.value, rating)
              : std::ranges::any_of(runs[r], unfinished) ? "unfinished"
                                                         : "-";
      if (mean.deviation) cell += fmt::format(" ({})", number(*mean.deviation, false));
      texts.push_back(std::move(cell));
      values.push_back(ours.empty() ? kNone : mean.value / 100);
    }
    for (const std::string& column : row.corrected)
      corrected += fmt::format("{}{}, {}", corrected.empty() ? "" : "; ", row.name, column);
    for (const RunSummary& run : runs[r])
      if (unfinished(run)) begun += fmt::format("{}{}", begun.empty() ? "" : ", ", run.label);
    if (runs[r].empty())
      absent +=
          fmt::format("{}{}", absent.empty() ? "" : ", ", row.run.empty() ? row.name : row.run);
    result.rows.push_back(std::move(texts));
    result.values.push_back(std::move(values));
  }
  if (!corrected.empty())
    result.notes.push_back("Read wrongly in the paper's text and set right: " + corrected);
  if (!begun.empty())
    result.notes.push_back("Unfinished, that is at work or stopped before the end: " + begun);
  if (!absent.empty()) result.notes.push_back("Not run: " + absent);
  return result;
}

std::vector<Ordering> orderings(const PaperTable& table, std::span<const RowRuns> runs) {
  std::vector<Ordering> result;
  for (const std::string& column : table.orderings) {
    const auto c =
        static_cast<std::size_t>(std::ranges::find(table.columns, column) - table.columns.begin());
    for (std::size_t a = 0; a < table.rows.size(); ++a)
      for (std::size_t b = a + 1; b < table.rows.size(); ++b) {
        if (table.rows[a].group != table.rows[b].group) continue;
        const double gap = table.rows[b].values[c] - table.rows[a].values[c];
        if (std::isnan(gap) || gap == 0) continue;
        const std::size_t better = gap > 0 ? b : a, worse = gap > 0 ? a : b;
        Ordering one{
            column, table.rows[better].name, table.rows[worse].name, std::abs(gap), kNone, {},
            0,      Ordering::State::not_run};
        std::vector<double> differences;
        for (const RunSummary& mine : runs[better])
          for (const RunSummary& other : runs[worse]) {
            if (mine.seed != other.seed) continue;
            const auto high = printed(mine, table.figures[c]),
                       low = printed(other, table.figures[c]);
            if (high && low) differences.push_back(*high - *low);
          }
        const Mean mean = mean_of(differences);
        one.seeds = mean.count;
        one.ours = mean.value;
        if (mean.deviation)
          one.half_width = quantile(mean.count - 1) * *mean.deviation / std::sqrt(mean.count);
        if (mean.count > 0)
          one.state = !one.half_width || std::abs(mean.value) <= *one.half_width
                          ? Ordering::State::not_resolved
                      : mean.value > 0 ? Ordering::State::holds
                                       : Ordering::State::fails;
        result.push_back(std::move(one));
      }
  }
  return result;
}

TextTable orderings_table(const PaperTable& table, std::span<const Ordering> orderings) {
  TextTable result;
  result.title = table.title + ": orderings of the paper in our runs";
  result.header = {
      "Better by the paper", "Worse", "Column", "Paper", "Ours", "95 %", "Seeds", "State"};
  std::array<int, 4> counts{};
  int right_sign = 0;
  for (const Ordering& one : orderings) {
    ++counts[static_cast<std::size_t>(one.state)];
    right_sign += one.state != Ordering::State::not_run && one.ours > 0;
    if (one.state == Ordering::State::not_run) continue;
    constexpr std::array<const char*, 4> kNames{"holds", "not resolved", "does not hold",
                                                "not run"};
    std::string state = kNames[static_cast<std::size_t>(one.state)];
    if (one.state == Ordering::State::not_resolved)
      state += one.ours > 0 ? " (same sign)" : " (other sign)";
    result.rows.push_back({one.better, one.worse, one.column, fmt::format("{:+.1f}", one.paper),
                           fmt::format("{:+.1f}", one.ours),
                           one.half_width ? fmt::format("± {:.1f}", *one.half_width) : "",
                           std::to_string(one.seeds), state});
    result.values.push_back({kNone, kNone, kNone, one.paper / 100, one.ours / 100, kNone,
                             static_cast<double>(one.seeds), kNone});
  }
  result.notes.push_back(
      fmt::format("Of {} orderings {} hold, {} do not, {} are not resolved, {} were not run; {} "
                  "have the paper's sign.",
                  orderings.size(), counts[0], counts[2], counts[1], counts[3], right_sign));
  result.notes.push_back(
      "Resolved: the 95 % interval of the mean difference over seeds (Student's t) leaves out 0. "
      "Rows of one group are compared.");
  return result;
}

}  // namespace dt2it::report
