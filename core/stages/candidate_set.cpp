// SPDX-License-Identifier: Apache-2.0
#include "core/stages/candidate_set.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>

#include "core/data/records.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"

namespace dt2it {
namespace {

constexpr std::array<std::string_view, 4> kSetKeys = {"prompt", "candidates", "scores", "shown"};

// As set_from, where the text is as we write it; `set` is unspecified when it is not.
bool read_quickly(QuickReader& reader, std::string_view text, CandidateSet& set) {
  using Value = QuickReader::Value;
  bool has_prompt = false, has_candidates = false;
  const auto positions = [&](std::string_view scorer, Value& list) {
    std::vector<std::size_t>& order = set.shown[std::string(scorer)];
    return QuickReader::items(list, [&](Value& item) {
      std::uint64_t index = 0;
      if (item.get_uint64().get(index)) return false;
      order.push_back(index);
      return index < set.candidates.size();
    });
  };
  const auto scores = [&](std::string_view scorer, Value& list) {
    std::vector<Score>& given = set.scores[std::string(scorer)];
    return QuickReader::items(list,
                              [&](Value& item) { return reader.read(item, given.emplace_back()); });
  };
  const auto known = [&](std::size_t key, Value& part) {
    switch (key) {
      case 0: return has_prompt = reader.read(part, set.prompt);
      case 1:
        return has_candidates = QuickReader::items(part, [&](Value& item) {
                 return reader.read(item, set.candidates.emplace_back());
               });
      case 2: return QuickReader::each_member(part, scores);
      default: return QuickReader::each_member(part, positions);
    }
  };
  return reader.record(text,
                       [&](Value root) {
                         return QuickReader::members(
                             root, kSetKeys, known, [](std::string_view, Value&) { return false; });
                       }) &&
         has_prompt && has_candidates;
}

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
  throw ConfigError(
      fmt::format("scorer '{}' has scored {} of the {} candidates of prompt '{}' (put a stage of "
                  "type 'score' with this "
                  "scorer before)",
                  scorer, it == set.scores.end() ? 0 : it->second.size(), set.candidates.size(),
                  set.prompt.id));
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

CandidateSet CandidateFile::read(std::size_t index) const {
  const std::string line = lines_.line(index);
  const auto reader = readers_.take();
  CandidateSet set;
  if (read_quickly(*reader, line, set)) return set;
  JsonParser parser;
  const std::string where = lines_.where(index);
  return set_from(parser.parse(line, where), where);
}

std::vector<CandidateSet> read_candidate_sets(const std::filesystem::path& file) {
  const CandidateFile lines(file);
  std::vector<CandidateSet> sets;
  for (std::size_t i = 0; i < lines.size(); ++i) sets.push_back(lines.read(i));
  return sets;
}

namespace {

// Lower-case words, without what stands between them. Bytes beyond ASCII are letters.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool within = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = byte >= 0x80 || std::isalnum(byte);
    if (letter) {
      if (!within) words.emplace_back();
      words.back() += byte < 0x80 ? static_cast<char>(std::tolower(byte)) : c;
    }
    within = letter;
  }
  return words;
}

std::vector<std::uint64_t> triples_of(const std::vector<std::string>& words) {
  std::vector<std::uint64_t> triples;
  for (std::size_t i = 0; i + 2 < words.size(); ++i)
    triples.push_back(stable_hash(words[i + 2], stable_hash(words[i + 1], stable_hash(words[i]))));
  std::sort(triples.begin(), triples.end());
  triples.erase(std::unique(triples.begin(), triples.end()), triples.end());
  return triples;
}

bool near_identical(const std::vector<std::string>& one, const std::vector<std::string>& other,
                    double similarity) {
  if (one == other) return !one.empty();
  if (similarity >= 1) return false;
  const auto a = triples_of(one), b = triples_of(other);
  if (a.empty() || b.empty()) return false;
  std::vector<std::uint64_t> common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
  const double all = static_cast<double>(a.size() + b.size() - common.size());
  return static_cast<double>(common.size()) >= similarity * all;
}

}  // namespace

bool near_identical(std::string_view one, std::string_view other, double similarity) {
  // Nothing but signs ("+", "<"): the texts themselves.
  const auto a = words_of(one), b = words_of(other);
  return a.empty() && b.empty() ? one == other : near_identical(a, b, similarity);
}

std::size_t merge_candidates(CandidateSet& set, double similarity) {
  std::vector<Response> kept;
  std::vector<std::vector<std::string>> merged;
  for (Response& candidate : set.candidates) {
    std::size_t same = kept.size();
    if (candidate.status == Status::ok)
      for (std::size_t i = 0; i < kept.size() && same == kept.size(); ++i)
        if (kept[i].status == Status::ok &&
            near_identical(kept[i].text, candidate.text, similarity))
          same = i;
    if (same < kept.size()) {
      merged[same].push_back(candidate.id);
    } else {
      kept.push_back(std::move(candidate));
      merged.emplace_back();
    }
  }
  const std::size_t gone = set.candidates.size() - kept.size();
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (merged[i].empty()) continue;
    JsonWriter json;
    json.begin_object().key("merged").begin_array();
    for (const std::string& id : merged[i]) json.value(id);
    json.end_array().end_object();
    kept[i].extra = json.text();
  }
  set.candidates = std::move(kept);
  return gone;
}

Prompt without_extra(const Prompt& prompt) {
  Prompt copy = prompt;
  copy.extra.clear();
  return copy;
}

}  // namespace dt2it
