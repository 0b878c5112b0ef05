// SPDX-License-Identifier: Apache-2.0
#include "core/cli/plan_volumes.hpp"

#include <fmt/format.h>

namespace dt2it::cli {
namespace {

std::string short_number(double number) {
  if (number == 0) return "-";
  if (number >= 1e9) return fmt::format("{:.2f}G", number / 1e9);
  if (number >= 1e6) return fmt::format("{:.1f}M", number / 1e6);
  if (number >= 1e4) return fmt::format("{:.0f}K", number / 1e3);
  return fmt::format("{:.0f}", number);
}

std::string hours(double number) {
  return number == 0   ? "-"
         : number < 10 ? fmt::format("{:.1f}", number)
                       : fmt::format("{:.0f}", number);
}

std::string gigabytes(double bytes) {
  return bytes < 5e7 ? "-" : fmt::format("{:.1f}", bytes / 1e9);
}

}  // namespace

std::string VolumeReport::money(const VolumeEstimate& estimate) const {
  if (estimate.cost == 0) return estimate.unpriced ? "no price" : "-";
  return fmt::format("{}{:.0f}", estimate.unpriced ? "> " : "", estimate.cost);
}

void VolumeReport::print_line(const std::string& name, const VolumeEstimate& one,
                              const std::string& note, std::ostream& out) const {
  out << fmt::format("  {:<34} {:>18} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8}{}\n", name, one.what,
                     short_number(one.calls), short_number(one.sent), short_number(one.answered),
                     money(one), hours(one.gpu_hours), gigabytes(one.disk), note);
}

void VolumeReport::add(const std::string& name, const StageGraph& graph, std::ostream& out) {
  out << fmt::format(
      "  from the sizes that [plan] of the profile states:\n  {:<34} {:>18} {:>8} {:>8} {:>9} "
      "{:>9} {:>8} {:>8}\n",
      "stage", "makes", "calls", "sent", "answered", facts_.text("currency"), "GPU h", "disk GB");
  Row row{name, graph.stages.size(), {}};
  for (const VolumeEstimate& one : estimate_volumes(graph, facts_)) {
    const bool fresh = keys_.insert(one.key).second;
    row.sum.add(one);
    if (fresh) {
      together_.sum.add(one);
      ++together_.stages;
    }
    if (!one.what.empty() || one.calls > 0 || one.gpu_hours > 0)
      print_line(one.stage, one, fresh ? "" : "  shared", out);
  }
  print_line("all, alone", row.sum, "", out);
  rows_.push_back(std::move(row));
}

void VolumeReport::print_sums(std::ostream& out) const {
  if (rows_.empty()) return;
  const double gpus = facts_.number("gpus");
  out << fmt::format(
      "\nForetold for {} {}, prices of {} (docs/running_the_paper.md says how):\n  {:<40} {:>7} "
      "{:>8} {:>8} {:>9} {:>9} {:>8} {:>8} {:>8}\n",
      gpus, facts_.text("gpu"), facts_.text("as_of"), "row", "stages", "calls", "sent", "answered",
      facts_.text("currency"), "GPU h", "days", "disk GB");
  const auto line = [&](const std::string& name, const Row& row) {
    out << fmt::format("  {:<40} {:>7} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8.1f} {:>8}\n", name,
                       row.stages, short_number(row.sum.calls), short_number(row.sum.sent),
                       short_number(row.sum.answered), money(row.sum), hours(row.sum.gpu_hours),
                       row.sum.gpu_hours / gpus / 24, gigabytes(row.sum.disk));
  };
  Row apart{"", 0, {}};
  for (const Row& row : rows_) {
    line(row.name, row);
    apart.stages += row.stages;
    apart.sum.add(row.sum);
  }
  if (rows_.size() == 1) return;
  line("each by itself, sum", apart);
  line("together, stages shared", together_);
  const auto saved = [](double all, double part) { return all > 0 ? 100 * (1 - part / all) : 0; };
  out << fmt::format(
      "  sharing saves {:.0f} % of the stages, {:.0f} % of the money, {:.0f} % of the GPU hours, "
      "{:.0f} % of the disk\n",
      saved(static_cast<double>(apart.stages), static_cast<double>(together_.stages)),
      saved(apart.sum.cost, together_.sum.cost),
      saved(apart.sum.gpu_hours, together_.sum.gpu_hours),
      saved(apart.sum.disk, together_.sum.disk));
}

}  // namespace dt2it::cli
