// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a chat request wants, read from its text. The blocks are those of plugins/common/judging/material.hpp and
// plugins/diversity/enhance.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/mllm.hpp"

namespace dt2it::simulated {

enum class Task {
  answer,
  listwise,
  pointwise,
  pairwise,
  answers,  // which of two is better, in words: "Answer 1 is better" (plugins/reward_models/verdict)
  brackets,  // the same: "[[A]]"
  critique,  // of one response, without a score (plugins/reward_models/critique)
};

struct Request {
  Task task = Task::answer;
  std::string question;                  // text of the question block, else the last user message
  std::optional<std::string> reference;  // text of the reference_answer block
  std::vector<std::string> responses;    // to be judged, in the order shown
  std::vector<Media> media;              // of all messages, in order of appearance
  std::size_t characters = 0;            // of all texts, for the token estimate
  std::uint64_t hash =
      0;  // of everything that makes the request what it is, with the sample number
};
Request read_request(const ChatRequest& chat);

}  // namespace dt2it::simulated
