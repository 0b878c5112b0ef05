// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdlib>

#include "core/report/answer_results.hpp"
#include "core/report/tables.hpp"

namespace dt2it::report {

namespace {

// Among the runs of the same seed and profile.
const RunSummary* find_run(std::span<const RunSummary> runs, const std::string& name,
                           const RunSummary& self) {
  // A short name means the run beside this one, else any.
  const auto beside = std::filesystem::path(self.name).parent_path() / name;
  const RunSummary* found = nullptr;
  int best = 0;
  for (const RunSummary& run : runs) {
    if (run.seed != self.seed || run.profile != self.profile) continue;
    const std::filesystem::path path(run.name);
    const int rank = run.name == name ? 3 : path == beside ? 2 : path.filename() == name ? 1 : 0;
    if (rank > best) {
      best = rank;
      found = &run;
    }
  }
  return found;
}

Expectation check(std::span<const RunSummary> runs, const RunSummary& run, const std::string& name,
                  const std::string& relation) {
  Expectation result{run.label, name + " " + relation, Expectation::State::unknown, {}};
  const std::size_t space = relation.find_first_not_of("<>=");
  const std::string op = relation.substr(0, space);
  const std::size_t start = relation.find_first_not_of(' ', op.size());
  const std::string target = start == relation.npos ? "" : relation.substr(start);
  if ((op != ">=" && op != ">" && op != "<=" && op != "<" && op != "==") || target.empty()) {
    result.detail =
        "not understood (allowed: >=, >, <=, < or ==, then a number or the name of a run)";
    return result;
  }
  const std::optional<double> ours = figure_of(run, name);
  if (!ours) {
    result.detail = "this run has no such figure";
    return result;
  }
  char* end = nullptr;
  double theirs = std::strtod(target.c_str(), &end);
  if (end == target.c_str() || *end != '\0') {  // a row, perhaps with "+ NUMBER" or "- NUMBER"
    const std::string row = target.substr(0, target.find_first_of(" \t"));
    const RunSummary* other = find_run(runs, row, run);
    const std::optional<double> value = other ? figure_of(*other, name) : std::nullopt;
    if (!value) {
      result.detail =
          other ? "'" + row + "' has no such figure" : "the run '" + row + "' is not among these";
      return result;
    }
    theirs = *value;
    if (const std::size_t sign = target.find_first_of("+-", row.size()); sign != target.npos) {
      const double offset = std::strtod(target.c_str() + sign + 1, nullptr);
      theirs += target[sign] == '-' ? -offset : offset;
    }
  }
  const bool holds = op == ">="   ? *ours >= theirs
                     : op == ">"  ? *ours > theirs
                     : op == "<=" ? *ours <= theirs
                     : op == "<"  ? *ours < theirs
                                  : *ours == theirs;
  result.state = holds ? Expectation::State::holds : Expectation::State::fails;
  result.detail = fmt::format("{} % against {} %", percent(*ours), percent(theirs));
  return result;
}

}  // namespace

std::vector<Expectation> check_expectations(std::span<const RunSummary> runs) {
  std::vector<Expectation> results;
  for (const RunSummary& run : runs)
    for (const auto& [name, relation] : run.expect)
      results.push_back(check(runs, run, name, relation));
  return results;
}

}  // namespace dt2it::report
