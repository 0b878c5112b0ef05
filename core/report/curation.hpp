// SPDX-License-Identifier: Apache-2.0
#pragma once

// What curation did to pairs (paper section 3.3), read back from decisions.jsonl: who kept, turned
// and dropped how many and why, how strengths lie, how far models and judges agree, and, where an
// audit wrote down what is true of the pairs, how right it was.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/report/comparison_statistics.hpp"

namespace dt2it::report {

struct RunSummary;

// Labels by what is true of them.
enum class Truth : std::uint8_t { right, wrong, tie, unknown };

struct TruthCounts {
  std::int64_t right = 0, wrong = 0, tie = 0, unknown = 0;
  void add(Truth truth, std::int64_t count = 1);
  std::int64_t known() const { return right + wrong + tie; }
  // Wrong labels among those that have a better side.
  std::optional<double> noise() const;
  TruthCounts& operator+=(const TruthCounts& other);
};

// What became of the pairs that reached a curator, or a whole chain. Labels are counted as they
// were found, so a flip of a wrong label is a right flip. A tie has no right label: flipping it is
// no right flip, dropping it is right.
struct CurationCounts {
  std::int64_t seen = 0, kept = 0;  // of a whole chain: kept with the label they came with
  std::int64_t flipped = 0;         // and settled
  std::int64_t passed_flipped = 0;  // flipped and handed on
  std::int64_t open = 0;            // handed on as they were
  std::int64_t discarded = 0;
  std::map<std::string, std::int64_t> reasons;  // of discards; numbers in them as N
  TruthCounts found, flips, discards;
  TruthCounts left;  // of all pairs that are not discarded by now, with their labels by now
  std::int64_t left_over() const { return left.known() + left.unknown; }
  std::optional<double> flip_precision() const,
      flip_recall() const;  // wrong labels among flips; flips among wrong labels
  std::optional<double> filter_precision() const,
      filter_recall() const;  // the same of dropping what is wrong or a tie
  CurationCounts& operator+=(const CurationCounts& other);
};

// Pairs on their way through the chain: sources stand in column 0, curators from 1 on, what is left
// in the last.
struct FlowNode {
  enum class Kind : std::uint8_t { source, open, kept, flipped, discarded, data };
  int column = 0;
  std::string label;
  Kind kind = Kind::open;
};
struct FlowLink {
  std::size_t from = 0, to = 0;
  std::string source;
  std::int64_t count = 0;
};
struct Flow {
  std::string title;
  std::vector<std::string> columns;
  std::vector<FlowNode> nodes;
  std::vector<FlowLink> links;
};

// Someone who has an opinion of pairs: a reward model (its margin) or a judge (+1 for the label, -1
// against it, mean of its answers).
struct Voice {
  std::string name;
  bool judge = false;
};
struct VoiceAgreement {
  std::size_t first = 0, second = 0;  // in Curation::voices
  std::int64_t pairs = 0,
               same =
                   0;  // on which both have an opinion; of the same sign (0 is a sign of its own)
  std::optional<double> correlation;  // Pearson
};

// Margins of one model over one source, towards the label the pairs came with.
struct StrengthHistogram {
  std::string source, voice;
  double limit =
      0;  // bins of equal width over -limit ... limit; the outer ones hold what lies beyond
  std::vector<std::int64_t> bins;
  std::int64_t pairs = 0, negative = 0;
};

// One curate stage.
struct Curation {
  std::string stage;
  std::filesystem::path folder;
  std::vector<std::string> inputs;           // stages whose pairs came in, in their order
  std::vector<std::filesystem::path> files;  // of their pairs
  std::vector<std::string> curators;         // the chain
  std::map<std::string, std::vector<std::string>> models;  // that each curator asks, where known
  bool truth_known = false;
  struct Source {
    CurationCounts whole;
    std::vector<CurationCounts> steps;  // by curator
  };
  std::map<std::string, Source> sources;
  Flow flow;
  std::vector<Voice> voices;
  std::vector<VoiceAgreement> agreements;
  std::vector<StrengthHistogram> strengths;
  JudgeComparisons judges;
  std::int64_t judged = 0;       // pairs that judges saw, each once however many curators asked
  std::int64_t comparisons = 0;  // that judges were asked for
  struct Sample {
    std::uint64_t rank = 0;  // drawn by it
    std::size_t row = 0;
    std::string kind;              // "flipped by vote_flip"
    Truth truth = Truth::unknown;  // of the label it came with
  };
  std::vector<Sample>
      samples;  // of pairs whose label was changed, doubted or dropped: a few of each kind

  Source total() const;
};

// Every curate stage of the run that is done, in the run's order.
std::vector<Curation> read_curations(const RunSummary& run);

// The flows of a run, one for each curation; where a mix of curated and other pairs is curated
// again, as in the rounds of `iterate`, both in one.
std::vector<Flow> curation_flows(const RunSummary& run);

}  // namespace dt2it::report
