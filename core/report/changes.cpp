// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/report/decision_rows.hpp"
#include "core/report/gallery_pair.hpp"
#include "core/run/layout.hpp"

namespace dt2it::report {

namespace {

using simdjson::dom::element;

void add(std::string& text, const std::string& part) { text += (text.empty() ? "" : " · ") + part; }

std::string opinions_in(const element& line, const std::vector<std::string>& models) {
  std::string text;
  simdjson::dom::array list;
  double value = 0, other = 0;
  std::size_t at = 0;
  if (!line["strengths"].get(list))
    for (const element item : list) {
      if (!item.get(value))
        add(text,
            fmt::format("{} {:.3g}",
                        at < models.size() ? models[at] : fmt::format("model {}", at + 1), value));
      ++at;
    }
  if (!line["strength"].get(value)) add(text, fmt::format("strength {:.3g}", value));
  element detail;
  if (!line["detail"].get(detail)) {
    if (!detail["chosen_reward"].get(value) && !detail["rejected_reward"].get(other))
      add(text, fmt::format("rewards {:.3g} and {:.3g}", value, other));
    if (!detail["verdicts"].get(list)) {
      std::map<std::string, std::string> answers;
      for (const element verdict : list) {
        const std::string better = text_of(verdict, "better");
        std::string& one = answers[text_of(verdict, "judge")];
        one += (one.empty() ? " " : ", ") + (better.empty() ? text_of(verdict, "status") : better);
      }
      for (const auto& [judge, answer] : answers) add(text, judge + answer);
    }
  }
  if (!line["votes_chosen"].get(value) && !line["votes_rejected"].get(other))
    add(text, fmt::format("votes {} to {}", value, other));
  return text;
}

const char* name_of(Truth truth) {
  switch (truth) {
    case Truth::right: return "right";
    case Truth::wrong: return "wrong";
    case Truth::tie: return "tie";
    case Truth::unknown: break;
  }
  return "";
}

// Fills in the pairs and what was decided on them.
void read_changes(const Curation& curation, const std::map<std::size_t, LabelChange*>& wanted,
                  MediaStore* media) {
  DecisionRows rows(curation.files);
  for_each_line(curation.folder / layout::kDecisions, [&](std::size_t, const element& line) {
    const auto found = wanted.find(rows.of(line));
    if (found == wanted.end()) return;
    const std::string curator = text_of(line, "curator"), action = text_of(line, "action");
    const auto models = curation.models.find(curator);
    found->second->steps.push_back(
        {curator, action, text_of(line, "reason"),
         opinions_in(
             line, models == curation.models.end() ? std::vector<std::string>{} : models->second)});
  });
  std::size_t row = 0;
  for (const auto& file : curation.files)
    for_each_line(file, [&](std::size_t, const element& line) {
      const auto found = wanted.find(row++);
      if (found != wanted.end()) found->second->pair = read_gallery_pair(line, media);
    });
}

}  // namespace

std::vector<LabelChange> make_changes(const RunSummary& run, std::size_t count, MediaStore* media) {
  // Of each stage and kind the first, then the second of each, and so on.
  std::vector<std::tuple<std::size_t, std::size_t, const Curation::Sample*>>
      candidates;  // place in its kind, curation
  for (std::size_t c = 0; c < run.curations.size(); ++c) {
    std::map<std::string, std::size_t> places;
    for (const Curation::Sample& sample : run.curations[c].samples)
      candidates.emplace_back(places[sample.kind]++, c, &sample);
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return std::get<0>(a) < std::get<0>(b); });
  std::vector<std::pair<std::size_t, const Curation::Sample*>> picked;
  std::set<std::pair<std::size_t, std::size_t>> taken;
  for (const auto& [place, c, sample] : candidates)
    if (picked.size() < count && taken.insert({c, sample->row}).second)
      picked.emplace_back(c, sample);
  std::stable_sort(picked.begin(), picked.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second->kind) < std::pair(b.first, b.second->kind);
  });

  std::vector<LabelChange> changes(picked.size());
  for (std::size_t c = 0; c < run.curations.size(); ++c) {
    std::map<std::size_t, LabelChange*> wanted;  // by row
    for (std::size_t i = 0; i < picked.size(); ++i) {
      if (picked[i].first != c) continue;
      const Curation::Sample& sample = *picked[i].second;
      changes[i].stage = run.curations[c].stage;
      changes[i].kind = sample.kind;
      changes[i].label = name_of(sample.truth);
      wanted[sample.row] = &changes[i];
    }
    if (!wanted.empty()) read_changes(run.curations[c], wanted, media);
  }
  return changes;
}

}  // namespace dt2it::report
