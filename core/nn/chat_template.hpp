// SPDX-License-Identifier: Apache-2.0
#pragma once

// Conversations as Qwen-VL models are trained on them (reference: LLaMA-Factory's qwen3_vl templates). No default
// system message; prompt and response are tokenised apart, which matters for a response that starts with a space.

#include <string>
#include <string_view>
#include <vector>

#include "dt2it/types.hpp"

namespace dt2it::nn {

enum class ChatTemplate {
  qwen3_vl_nothink,
  qwen2_vl,  // with Qwen2.5's system message
  qwen3_vl,  // as qwen3_vl_nothink, but each response begins with an empty thinking block
};
// Throws ConfigError for other names.
ChatTemplate chat_template_named(std::string_view name);

// Text, or one image or video.
struct Segment {
  std::string text;
  const Media* media = nullptr;  // not null: this segment is the media, between vision_start and vision_end
};

// Up to and including the line that opens the assistant's turn. The media point into `prompt`. Markers around media
// are in the texts.
std::vector<Segment> render_prompt(const Prompt& prompt);

// With the end of the turn.
std::string render_response(std::string_view response, ChatTemplate form);

}  // namespace dt2it::nn
