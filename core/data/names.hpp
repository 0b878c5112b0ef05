// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

#include "dt2it/names.hpp"

namespace dt2it {

// Of Decision::Action, as the other names. For statuses and roles, which are written most, there are to_string and status_from of
// records.hpp.
inline constexpr std::array<std::string_view, 4> kActionNames = {"keep", "flip", "discard",
                                                                 "undecided"};

// The keys of records, in the order in which readers number them.
inline constexpr std::array<std::string_view, 7> kMediaKeys = {"kind",   "id",     "mime",  "width",
                                                               "height", "source", "frames"};
inline constexpr std::array<std::string_view, 4> kPartKeys = {"type", "text", "image", "video"};
inline constexpr std::array<std::string_view, 2> kMessageKeys = {"role", "content"};
inline constexpr std::array<std::string_view, 5> kPromptKeys = {"id", "messages", "reference",
                                                                "source", "domain"};
inline constexpr std::array<std::string_view, 7> kResponseKeys = {
    "id", "text", "mllm", "origin", "status", "finish_reason", "noised_image"};
inline constexpr std::array<std::string_view, 7> kScoreKeys = {
    "status", "overall", "stated_overall", "criteria", "judge_reference", "detail", "reply"};
inline constexpr std::array<std::string_view, 4> kCriterionKeys = {"name", "weight", "score",
                                                                   "analysis"};
inline constexpr std::array<std::string_view, 9> kPairKeys = {
    "id",     "prompt", "rejected_prompt", "chosen",   "rejected",
    "source", "group",  "strength",        "strengths"};
inline constexpr std::array<std::string_view, 5> kPreferenceKeys = {"id", "text", "better", "worse",
                                                                    "source"};

}  // namespace dt2it
