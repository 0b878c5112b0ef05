// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/data/quick_reader.hpp"
#include "core/util/line_file.hpp"
#include "core/util/pool.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// A prompt with its candidates and the scores that each scorer gave: what flows between the steps of the
// distillation (paper section 3.1). One line of candidates.jsonl:
// {"prompt":{...},"candidates":[...],"scores":{"listwise":[...]},"shown":{"listwise":[2,0,1]}}
struct CandidateSet {
  Prompt prompt;
  std::vector<Response> candidates;
  std::map<std::string, std::vector<Score>>
      scores;  // per scorer; the first scores.size() candidates
  // The order in which the judge saw the candidates (indices), where it saw them together.
  std::map<std::string, std::vector<std::size_t>> shown;

  // True when every candidate has an entry of this scorer (whatever its status).
  bool scored_by(const std::string& scorer) const;
};

// Throws ConfigError, which says what is missing, when this scorer has not scored every candidate.
void require_scores(const CandidateSet& set, const std::string& scorer);

std::string to_line(const CandidateSet& set);

// The sets of a candidates.jsonl, read when they are asked for: memory is eight bytes a set, and a parser for each of the threads
// that read at the same moment. Thread-safe.
class CandidateFile {
 public:
  explicit CandidateFile(const std::filesystem::path& file) : lines_(file) {}
  std::size_t size() const { return lines_.size(); }
  CandidateSet read(std::size_t index) const;  // DataError when the line is not one

 private:
  LineFile lines_;
  mutable Pool<QuickReader> readers_;
};

std::vector<CandidateSet> read_candidate_sets(
    const std::filesystem::path& file);  // all of them: for small files

// Whether two answers say the same: equal but for case, spaces and punctuation, or, where `similarity` is below 1, at least
// that share of their words in a row of three in common (Jaccard).
bool near_identical(std::string_view one, std::string_view other, double similarity);

// Leaves one of candidates that are near-identical, the first; its `extra` lists the ids of the others under "merged". Only answers
// with status ok. Returns how many went. Not for sets that have scores.
std::size_t merge_candidates(CandidateSet& set, double similarity);

// The prompt as plugins that talk to models may see it: without `extra`, where truth may be.
Prompt without_extra(const Prompt& prompt);

}  // namespace dt2it
