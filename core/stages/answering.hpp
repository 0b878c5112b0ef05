// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/run/stage.hpp"
#include "core/stages/candidate_set.hpp"
#include "dt2it/mllm.hpp"

namespace dt2it {

// Appends `count` answers of one MLLM to the prompt of `set`; they differ in Sampling::sample.
void draw_candidates(CandidateSet& set, const std::string& mllm, std::int64_t count,
                     Sampling sampling, const std::string& purpose, StageRun& stage);

// Writes funnel.json for the candidates.jsonl of this stage: how many of `drawn` were merged, and why others are no answers.
void write_candidate_funnel(const StageRun& stage, std::size_t prompts, std::size_t drawn,
                            bool merged);

// An answer that can be read: also one that was cut at the token limit.
inline bool is_answer(const Response& response) {
  return (response.status == Status::ok || response.status == Status::truncated) &&
         !response.text.empty();
}

}  // namespace dt2it
