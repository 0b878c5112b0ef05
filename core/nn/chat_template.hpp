// SPDX-License-Identifier: Apache-2.0
#pragma once

// Conversations as Qwen-VL models are trained on them, in two forms that give the same text but not
// always the same ids:
//   llamafactory  each turn is tokenised by itself, the response too, which matters where it starts
//   with white space; huggingface   the whole conversation is rendered by the checkpoint's own
//   template and tokenised as one text.
// Text stands for itself: "<image>" or "<video>" in it are no placeholders (LLaMA-Factory would
// count them as such), while the strings of added tokens ("<|im_end|>") become those tokens, as in
// both references.

#include <string>
#include <string_view>
#include <vector>

#include "dt2it/types.hpp"

namespace dt2it::nn {

struct ChatTemplate {
  std::string_view default_system;  // for conversations without a system message; empty: none
  bool thinking = false;  // responses begin with an empty thinking block; older turns lose theirs
  bool whole = false;     // Hugging Face's form
};
// LLaMA-Factory's names: qwen2_vl (also Qwen2.5-VL's), qwen3_vl, qwen3_vl_nothink. `form` as above;
// qwen3_vl has no Hugging Face form. Throws ConfigError for other names.
ChatTemplate chat_template_named(std::string_view name, std::string_view form = "llamafactory");

// Text, or one image or video, without the markers around it.
struct Segment {
  std::string text;
  const Media* media = nullptr;
  bool video = false;
  bool apart = false;  // a text that is not tokenised together with what is before it
};

// Up to and including the line that opens the assistant's turn. The media point into `prompt`.
std::vector<Segment> render_prompt(const Prompt& prompt, const ChatTemplate& form);

// With the end of the turn; texts to be tokenised apart.
std::vector<std::string> render_response(std::string_view response, const ChatTemplate& form);

}  // namespace dt2it::nn
