// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/run/stage.hpp"

namespace dt2it {

// Every stage type of the host, in a file of its name (collect_pairs in collect.cpp).
StageTypes all_stages();

StageType collect_stage();        // prompts of a data set
StageType collect_pairs_stage();  // preference pairs of a data set
StageType candidates_stage();     // paper 3.1, step 2
StageType score_stage();          // steps 3 and 5
StageType diversify_stage();      // step 4
StageType pair_stage();           // the agreement rule after step 5
StageType distil_stage();         // composite: the five steps
StageType reformulate_stage();    // paper 3.2
StageType mix_stage();            // several sets of pairs as one
StageType vote_stage();           // paper 3.3: the rewards that curators vote by
StageType curate_stage();         // paper 3.3, the curation pipeline
StageType audit_stage();          // label noise against the truth, where it is known
StageType bias_stage();           // what style tells of the labels
StageType train_stage();          // one checkpoint
StageType iterate_stage();        // composite: paper 3.3, the five steps of a round
StageType early_stop_stage();     // ends iterate where held-out accuracy does
StageType evaluate_stage();       // benchmarks
StageType answers_stage();        // paper 4.5: n answers to each question of a benchmark
StageType grade_stage();          // what the benchmark makes of each of them
StageType reward_stage();         // and what a reward model does
StageType prefer_stage();         // pairs of the best and the worst candidate
StageType answer_table_stage();   // figures of what is picked
StageType best_of_n_stage();      // composite: answers, grade, reward, answer_table
StageType offline_rl_stage();     // composite: paper 4.5, DPO on what a reward model tells apart

}  // namespace dt2it
