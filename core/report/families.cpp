// SPDX-License-Identifier: Apache-2.0
#include "core/report/families.hpp"

#include "core/report/json_read.hpp"
#include "core/run/layout.hpp"

namespace dt2it::report {

using simdjson::dom::element;

std::string family_of_model(std::string_view model) {
  model.remove_prefix(std::min(model.size(), model.rfind('/') + 1));
  std::string family;
  for (const char c : model) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    if (lower < 'a' || lower > 'z') break;
    family += lower;
  }
  return family == "chatgpt" || family == "o" ? "gpt" : family;  // o3, o4-mini
}

Families::Families(const RunSummary& run) {
  for (const StageSummary& stage : run.stages) {
    simdjson::dom::parser parser;
    element root;
    if (!read_json(stage.folder / layout::kStage, parser, root)) continue;
    simdjson::dom::object components;
    element params;
    if (!root["components"].get(components))
      for (const auto& [name, component] : components) {
        const std::size_t dot = name.find('.');
        if (dot == std::string_view::npos || component["params"].get(params)) continue;
        const std::string_view kind = name.substr(0, dot);
        const std::string own(name.substr(dot + 1));
        const auto note = [&](std::map<std::string, std::string>& names, std::string_view key) {
          if (const std::string value = text_of(params, key); !value.empty()) names[own] = value;
        };
        if (kind == "scorers") note(judges_, "judge");
        if (kind == "judges") note(mllms_, "mllm");
        if (kind == "mllms") note(models_, "model");
      }
    if (!stage.cost || stage.type != "score") continue;
    const std::string scorer = root["params"].get(params) ? "" : text_of(params, "scorer");
    for (const LedgerLine& line : stage.cost->ledger) scorer_costs_[scorer] += line.cost;
  }
}

std::string Families::find(const std::map<std::string, std::string>& names,
                           const std::string& name) {
  const auto found = names.find(name);
  return found == names.end() ? std::string() : found->second;
}

std::string Families::of_writer(const std::string& mllm) const {
  const std::string model = find(models_, mllm);
  return family_of_model(model.empty() ? mllm : model);
}

std::string Families::mllm_of_judge(const std::string& judge) const { return find(mllms_, judge); }

std::string Families::of_judge(const std::string& judge) const {
  const std::string mllm = mllm_of_judge(judge);
  return mllm.empty() ? std::string() : of_writer(mllm);
}

std::string Families::of_scorer(const std::string& scorer) const {
  return of_judge(find(judges_, scorer));
}

double Families::cost_of_scorer(const std::string& scorer) const {
  const auto found = scorer_costs_.find(scorer);
  return found == scorer_costs_.end() ? 0 : found->second;
}

}  // namespace dt2it::report
