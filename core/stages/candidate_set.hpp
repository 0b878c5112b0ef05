// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "dt2it/types.hpp"

namespace dt2it {

// A prompt with its candidates and the scores that each scorer gave: what flows between the steps of the
// distillation (paper section 3.1). One line of candidates.jsonl:
// {"prompt":{...},"candidates":[...],"scores":{"listwise":[...]},"shown":{"listwise":[2,0,1]}}
struct CandidateSet {
  Prompt prompt;
  std::vector<Response> candidates;
  std::map<std::string, std::vector<Score>> scores;  // per scorer; the first scores.size() candidates
  // The order in which the judge saw the candidates (indices), where it saw them together.
  std::map<std::string, std::vector<std::size_t>> shown;

  // True when every candidate has an entry of this scorer (whatever its status).
  bool scored_by(const std::string& scorer) const;
};

// Throws ConfigError, which says what is missing, when this scorer has not scored every candidate.
void require_scores(const CandidateSet& set, const std::string& scorer);

std::string to_line(const CandidateSet& set);
std::vector<CandidateSet> read_candidate_sets(const std::filesystem::path& file);

// The prompt as plugins that talk to models may see it: without `extra`, where truth may be.
Prompt without_extra(const Prompt& prompt);

}  // namespace dt2it
