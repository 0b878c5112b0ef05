// SPDX-License-Identifier: Apache-2.0
#include "core/stages/candidate_set.hpp"

#include <fmt/format.h>

#include "core/data/records.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

CandidateSet set_from(const JsonRef& json, const std::string& where) {
  CandidateSet set;
  const auto prompt = json.member("prompt");
  const auto candidates = json.member("candidates");
  if (!prompt || !candidates || !candidates->is_array())
    throw DataError(where + ": a candidate set must be an object with 'prompt' and 'candidates'");
  set.prompt = prompt_from(*prompt, where);
  for (const JsonRef& candidate : candidates->items())
    set.candidates.push_back(response_from(candidate, where));
  if (const auto scores = json.member("scores"))
    for (const auto& [scorer, list] : scores->members()) {
      if (!list.is_array()) throw DataError(where + ": the scores of a scorer must be a list");
      std::vector<Score>& given = set.scores[scorer];
      for (const JsonRef& item : list.items()) given.push_back(score_from(item, where));
    }
  if (const auto shown = json.member("shown"))
    for (const auto& [scorer, list] : shown->members()) {
      std::vector<std::size_t>& order = set.shown[scorer];
      for (const JsonRef& item : list.items()) {
        std::uint64_t index = 0;
        if (item.element.get(index) != simdjson::SUCCESS || index >= set.candidates.size())
          throw DataError(where + ": 'shown' must hold positions of candidates");
        order.push_back(index);
      }
    }
  return set;
}

}  // namespace

bool CandidateSet::scored_by(const std::string& scorer) const {
  const auto it = scores.find(scorer);
  return it != scores.end() && it->second.size() == candidates.size();
}

void require_scores(const CandidateSet& set, const std::string& scorer) {
  if (set.scored_by(scorer)) return;
  const auto it = set.scores.find(scorer);
  throw ConfigError(fmt::format(
      "scorer '{}' has scored {} of the {} candidates of prompt '{}' (put a stage of type 'score' with this "
      "scorer before)",
      scorer, it == set.scores.end() ? 0 : it->second.size(), set.candidates.size(), set.prompt.id));
}

std::string to_line(const CandidateSet& set) {
  JsonWriter json;
  json.begin_object().key("prompt").raw(to_json(set.prompt));
  json.key("candidates").begin_array();
  for (const Response& response : set.candidates) json.raw(to_json(response));
  json.end_array();
  if (!set.scores.empty()) {
    json.key("scores").begin_object();
    for (const auto& [scorer, scores] : set.scores) {
      json.key(scorer).begin_array();
      for (const Score& score : scores) json.raw(to_json(score));
      json.end_array();
    }
    json.end_object();
  }
  if (!set.shown.empty()) {
    json.key("shown").begin_object();
    for (const auto& [scorer, order] : set.shown) {
      json.key(scorer).begin_array();
      for (const std::size_t index : order) json.value(index);
      json.end_array();
    }
    json.end_object();
  }
  json.end_object();
  return json.text();
}

std::vector<CandidateSet> read_candidate_sets(const std::filesystem::path& file) {
  std::vector<CandidateSet> sets;
  JsonLineReader lines(file);
  for (JsonRef line; lines.next(line);) sets.push_back(set_from(line, lines.where()));
  return sets;
}

Prompt without_extra(const Prompt& prompt) {
  Prompt copy = prompt;
  copy.extra.clear();
  return copy;
}

}  // namespace dt2it
