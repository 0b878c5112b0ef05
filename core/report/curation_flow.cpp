// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/report/curation.hpp"
#include "core/report/run_summary.hpp"

namespace dt2it::report {

namespace {

// "train.curated_2" -> "2"; empty when the name ends in no number.
std::string round_of(const std::string& stage) {
  const std::size_t at = stage.find_last_not_of("0123456789");
  return at != stage.npos && stage[at] == '_' ? stage.substr(at + 1) : std::string();
}

// What the mix put to the pairs of `first`, by source; nothing when it left some of them out.
std::optional<std::map<std::string, std::int64_t>> added(const Curation& first,
                                                         const Curation& second) {
  std::map<std::string, std::int64_t> rest;
  for (const auto& [source, counts] : second.sources) rest[source] = counts.whole.seen;
  for (const auto& [source, counts] : first.sources) rest[source] -= counts.whole.left_over();
  for (const auto& [source, count] : rest)
    if (count < 0) return std::nullopt;
  return rest;
}

Flow joined(const Curation& first, const StageSummary& mix, const Curation& second,
            const std::map<std::string, std::int64_t>& rest) {
  Flow flow = first.flow;
  const int middle = static_cast<int>(first.flow.columns.size()) - 1;
  std::size_t merged = flow.nodes.size();
  for (std::size_t i = 0; i < flow.nodes.size(); ++i)
    if (flow.nodes[i].kind == FlowNode::Kind::data) merged = i;
  if (merged == flow.nodes.size()) flow.nodes.push_back({middle, {}, FlowNode::Kind::data});
  flow.nodes[merged].label = mix.name;
  flow.columns[static_cast<std::size_t>(middle)] = "merged";

  std::vector<std::string> others;
  for (const std::string& input : mix.inputs)
    if (input != first.stage) others.push_back(input);
  if (!others.empty()) {
    flow.nodes.push_back({std::max(0, middle - 1), fmt::format("{}", fmt::join(others, ", ")),
                          FlowNode::Kind::source});
    for (const auto& [source, count] : rest)
      if (count > 0) flow.links.push_back({flow.nodes.size() - 1, merged, source, count});
  }

  std::vector<std::size_t> place;  // of the nodes of the second
  for (const FlowNode& node : second.flow.nodes) {
    place.push_back(node.column == 0 ? merged : flow.nodes.size());
    if (node.column > 0) {
      flow.nodes.push_back(node);
      flow.nodes.back().column += middle;
    }
  }
  for (const FlowLink& link : second.flow.links)
    flow.links.push_back({place[link.from], place[link.to], link.source, link.count});
  flow.columns.insert(flow.columns.end(), second.flow.columns.begin() + 1,
                      second.flow.columns.end());
  const std::string round = round_of(first.stage);
  flow.title =
      fmt::format("{}{} → {} → {}",
                  !round.empty() && round == round_of(second.stage) ? "Round " + round + ": " : "",
                  first.stage, mix.name, second.stage);
  return flow;
}

}  // namespace

std::vector<Flow> curation_flows(const RunSummary& run) {
  std::vector<Flow> flows;
  std::set<std::string> shown;
  for (const Curation& first : run.curations) {
    if (!shown.insert(first.stage).second) continue;
    bool found = false;
    for (const Curation& second : run.curations) {
      const StageSummary* mix = second.inputs.size() == 1 ? run.stage(second.inputs[0]) : nullptr;
      if (found || !mix || mix->type != "mix" || shown.contains(second.stage) ||
          std::find(mix->inputs.begin(), mix->inputs.end(), first.stage) == mix->inputs.end())
        continue;
      const auto rest = added(first, second);
      if (!rest) continue;
      flows.push_back(joined(first, *mix, second, *rest));
      shown.insert(second.stage);
      found = true;
    }
    if (!found) flows.push_back(first.flow);
  }
  return flows;
}

}  // namespace dt2it::report
