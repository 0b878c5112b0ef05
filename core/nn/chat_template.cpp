// SPDX-License-Identifier: Apache-2.0
#include "core/nn/chat_template.hpp"

#include <fmt/format.h>

#include "dt2it/error.hpp"

namespace dt2it::nn {

ChatTemplate chat_template_named(std::string_view name) {
  if (name == "qwen3_vl_nothink") return ChatTemplate::qwen3_vl_nothink;
  if (name == "qwen2_vl") return ChatTemplate::qwen2_vl;
  if (name == "qwen3_vl") return ChatTemplate::qwen3_vl;
  throw ConfigError(fmt::format("there is no chat template '{}' (qwen3_vl_nothink, qwen3_vl)", name));
}

std::vector<Segment> render_prompt(const Prompt& prompt) {
  std::vector<Segment> segments(1);
  for (const Message& message : prompt.messages) {
    const bool assistant = message.role == Message::Role::assistant;
    segments.back().text += assistant                                ? "<|im_start|>assistant\n"
                            : message.role == Message::Role::system ? "<|im_start|>system\n"
                                                                     : "<|im_start|>user\n";
    for (const Part& part : message.content) {
      if (part.kind == Part::Kind::text) {
        segments.back().text += part.text;
        continue;
      }
      segments.back().text += "<|vision_start|>";
      segments.push_back({{}, &part.media});
      segments.push_back({"<|vision_end|>", nullptr});
    }
    segments.back().text += "<|im_end|>\n";
  }
  segments.back().text += "<|im_start|>assistant\n";
  return segments;
}

std::string render_response(std::string_view response, ChatTemplate form) {
  return fmt::format("{}{}<|im_end|>\n", form == ChatTemplate::qwen3_vl ? "<think>\n\n</think>\n\n" : "", response);
}

}  // namespace dt2it::nn
