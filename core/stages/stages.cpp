// SPDX-License-Identifier: Apache-2.0
#include "core/stages/stages.hpp"

namespace dt2it {

StageTypes all_stages() {
  StageTypes types;
  for (auto make :
       {collect_stage,    collect_pairs_stage, candidates_stage,  score_stage,     diversify_stage,
        pair_stage,       distil_stage,        reformulate_stage, mix_stage,       vote_stage,
        curate_stage,     audit_stage,         bias_stage,        train_stage,     iterate_stage,
        early_stop_stage, evaluate_stage,      answers_stage,     grade_stage,     reward_stage,
        prefer_stage,     answer_table_stage,  best_of_n_stage,   offline_rl_stage}) {
    StageType type = make();
    types.emplace(type.description.name, type);
  }
  return types;
}

}  // namespace dt2it
