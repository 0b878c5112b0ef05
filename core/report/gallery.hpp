// SPDX-License-Identifier: Apache-2.0
#pragma once

// A few pairs of a run, with pictures and with the candidates and scores that they came from.

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/report/run_summary.hpp"
#include "dt2it/media.hpp"

namespace dt2it::report {

struct GalleryPicture {
  std::string caption;  // "image 1", "noised", what is missing
  std::string
      data_url;  // empty when the picture is absent, too large, or of a type that pages cannot show
};

struct GalleryCandidate {
  std::string id, text, mllm, origin, status;
  std::map<std::string, std::string>
      scores;  // scorer: the score's JSON without the judge's raw reply
};

struct GalleryPair {
  std::string id, source, group, question, reference;
  std::string chosen, rejected, chosen_id, rejected_id;
  std::optional<double> strength;
  std::string truth;  // JSON of the known truth; empty when there is none
  std::vector<GalleryPicture> pictures;
  std::vector<GalleryPicture>
      rejected_pictures;                     // of a pair whose rejected response has its own prompt
  std::vector<GalleryCandidate> candidates;  // empty when the pair was not made of candidates
};

// The stage whose pairs show best what the run made: the last one that has pairs. Null when none
// has.
const StageSummary* pair_stage(const RunSummary& run);
// The last stage that has candidates, with the scores of all scorers so far. Null when none has.
const StageSummary* candidate_stage(const RunSummary& run);

// At most `count` pairs, evenly spread over the file, in its order. `media` may be null: no
// pictures.
std::vector<GalleryPair> make_gallery(const RunSummary& run, std::size_t count, MediaStore* media);

// A pair that curation changed, doubted or dropped, as it came in.
struct LabelChange {
  GalleryPair pair;
  std::string stage, kind;  // "train.curated_1", "flipped by vote_flip"
  std::string label;        // "right", "wrong", "tie"; empty where the truth is not known
  struct Step {
    std::string curator, action, reason, opinions;  // "voter_1 -0.31 · voter_2 0.05"
  };
  std::vector<Step> steps;
};

// At most `count` over all curations of the run, of each kind in turn; a pair once in a stage.
std::vector<LabelChange> make_changes(const RunSummary& run, std::size_t count, MediaStore* media);

// An item of a benchmark that a model got wrong.
struct GalleryError {
  GalleryPair pair;
  std::string benchmark, status;
  std::optional<double> chosen_reward, rejected_reward;
};

// At most `count` errors of the last evaluate stage with its own pictures: of each benchmark and group in turn the one with the
// largest margin for the wrong side, failures last.
std::vector<GalleryError> make_errors(const RunSummary& run, std::size_t count, MediaStore* media);

}  // namespace dt2it::report
