// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "dt2it/verdict_model.hpp"

namespace dt2it::judging {

// The N of the judgement "Answer N is better" as VL-RewardBench's script and lmms-eval's task find it: behind "Overall Judgment"
// or "Therefore", in the reply without its line breaks and asterisks, the last one that fits. Empty: nothing fits; -1: a number
// that is no answer's.
std::optional<int> answer_number(std::string_view reply);

// 'A' or 'B' as Multimodal RewardBench's script reads it: "[[A]]" anywhere comes before "[[B]]". 0: neither.
char bracket_letter(std::string_view reply);

enum class Said { nothing, chosen, rejected };

// Which side a sample is for, by the form it was asked in. A form of the judge's own counts as the judge read it; a tie is
// nothing. `odd_numbers_agree`: "Answer 3 is better" is for the chosen side, as VL-RewardBench's script has it (it only compares
// with the rejected one's number).
Said what_it_says(const JudgedSample& sample, bool odd_numbers_agree);

// Was the chosen response the first of the two in the suite's file? By human_ranking or Better in the pair's extra; records
// that have neither name it first.
bool chosen_first_in_file(const JudgedItem& item);

// The sample shown in this order, else the first; null when there is none.
const JudgedSample* sample_shown(const JudgedItem& item, bool chosen_first);

}  // namespace dt2it::judging
