// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <iostream>
#include <map>

#include "core/cli/plan_volumes.hpp"
#include "core/cli/verbs.hpp"
#include "core/run/graph.hpp"
#include "core/run/layout.hpp"
#include "core/run/store.hpp"
#include "core/stages/call_estimate.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;

namespace {

std::string thousands(std::int64_t number) {
  if (number >= 10'000'000) return fmt::format("{:.1f}M", static_cast<double>(number) / 1e6);
  if (number >= 10'000) return fmt::format("{:.0f}K", static_cast<double>(number) / 1e3);
  return std::to_string(number);
}

void print_calls(const CallEstimates& estimates) {
  if (estimates.lines.empty() && estimates.unknown.empty()) return;
  std::cout << fmt::format(
      "  calls of remote models, estimated from a sample:\n  {:<22} {:<22} {:<12} {:>8} {:>8} "
      "{:>8} {:>8} {:>10}\n",
      "stage", "model", "purpose", "calls", "sent", "cached", "answered", "cost");
  CallEstimate sum;
  bool priced = true;
  for (const CallEstimate& line : estimates.lines) {
    std::string notes;
    if (line.at_most) notes += "  at most";
    if (line.batch) notes += "  in batches";
    if (!line.from_answers) notes += "  answers' length assumed";
    if (!line.price_date.empty()) notes += "  prices of " + line.price_date;
    priced = priced && !line.price_date.empty();
    std::cout << fmt::format(
        "  {:<22} {:<22} {:<12} {:>8} {:>8} {:>8} {:>8} {:>10}{}\n", line.stage, line.model,
        line.purpose, thousands(line.calls), thousands(line.prompt_tokens),
        thousands(line.cached_tokens), thousands(line.completion_tokens),
        line.price_date.empty() ? "no prices" : fmt::format("{:.2f}", line.cost), notes);
    sum.calls += line.calls;
    sum.prompt_tokens += line.prompt_tokens;
    sum.cached_tokens += line.cached_tokens;
    sum.completion_tokens += line.completion_tokens;
    sum.cost += line.cost;
  }
  std::cout << fmt::format("  {:<22} {:<22} {:<12} {:>8} {:>8} {:>8} {:>8} {:>10}\n", "all", "", "",
                           thousands(sum.calls), thousands(sum.prompt_tokens),
                           thousands(sum.cached_tokens), thousands(sum.completion_tokens),
                           fmt::format("{}{:.2f}", priced ? "" : "> ", sum.cost));
  for (const IterationEstimate& one : estimates.iterations)
    std::cout << fmt::format(
        "  {}: full re-distillation, with every pair judged in every pass: at most {} calls; where "
        "{:.0f} % of the pairs come to the "
        "judges ({}): {}, {:.0f} % saved; judging each of the {} pairs of its sets just once: {}\n",
        one.stage, thousands(one.full), 100 * one.share,
        one.measured ? "as in finished stages" : "assumed", thousands(one.expected),
        100 * (1 - one.share), thousands(one.pairs), thousands(one.once));
  for (const std::string& stage : estimates.unknown)
    std::cout << "  cannot be told beforehand: " << stage << '\n';
}

}  // namespace

int plan(const Arguments& arguments) {
  CommonOptions common;
  std::vector<std::string> files;
  po::options_description options("options");
  options.add_options()("files", po::value(&files), "experiment files");
  add_common(options, common);
  if (!parse(arguments, options, "files", "usage: dt2it plan FILE... [options]")) return 0;

  Installation installation(common);
  const StageStore store(common.runs);
  std::map<std::string, std::string> first_user;  // key -> experiment
  Fingerprints fingerprints;
  const bool path =
      common.profile.find('/') != std::string::npos || common.profile.ends_with(".toml");
  const std::filesystem::path profile =
      path ? std::filesystem::path(common.profile)
           : find_profiles(files.empty() ? "." : files.front()) / (common.profile + ".toml");
  // First, for it says what is wrong with files and profiles.
  const std::vector<Experiment> experiments = load_all(files, common, installation.registry);
  const PlanFacts facts = std::filesystem::exists(profile) ? PlanFacts::read(profile) : PlanFacts();
  VolumeReport volumes(facts);
  std::size_t stages = 0;
  std::size_t done = 0;
  for (const Experiment& experiment : experiments) {
    std::cout << fmt::format("{} ({})\n", experiment.name, experiment.profile);
    const StageGraph graph =
        plan_stages(experiment, installation.stages, installation.registry, &fingerprints);
    for (const PlannedStage& stage : graph.stages) {
      const bool complete = store.complete(stage.folder());
      const auto [it, first] = first_user.emplace(stage.key, experiment.name);
      if (first) {
        ++stages;
        done += complete;
      }
      const std::string state = complete ? "done" : !first ? "shared with " + it->second : "to do";
      std::cout << fmt::format(
          "  {:<28} {:<13} {}  {}{}\n", stage.config.name, stage.config.type,
          stage.key.substr(0, 16), state,
          stage.inputs.empty() ? "" : fmt::format("  <- {}", fmt::join(stage.inputs, ", ")));
    }
    print_calls(estimate_calls(experiment, graph, installation.registry, store,
                               layout::call_store(common.runs)));
    if (!facts.empty()) volumes.add(experiment.name, graph, std::cout);
  }
  volumes.print_sums(std::cout);
  std::cout << fmt::format("{} stages, {} done, {} to do\n", stages, done, stages - done);
  return 0;
}

}  // namespace dt2it::cli
