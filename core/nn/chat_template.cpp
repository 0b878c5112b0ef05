// SPDX-License-Identifier: Apache-2.0
#include "core/nn/chat_template.hpp"

#include <fmt/format.h>

#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

constexpr std::string_view kThinkOpen = "<think>", kThinkClose = "</think>";
constexpr std::string_view kNoThought = "<think>\n\n</think>\n\n";
constexpr std::string_view kEnd = "<|im_end|>\n";

// Cuts out "<think>\n...\n</think>\n\n".
std::string without_thoughts(std::string_view text) {
  constexpr std::string_view open = "<think>\n", close = "\n</think>\n\n";
  std::string kept;
  for (;;) {
    const std::size_t begin = text.find(open);
    const std::size_t end = begin == text.npos ? begin : text.find(close, begin + open.size());
    if (end == text.npos) return kept.append(text);
    kept.append(text.substr(0, begin));
    text.remove_prefix(end + close.size());
  }
}

std::string_view name_of(Message::Role role) {
  return role == Message::Role::assistant ? "assistant"
         : role == Message::Role::system  ? "system"
                                          : "user";
}

}  // namespace

ChatTemplate chat_template_named(std::string_view name, std::string_view form) {
  if (form != "llamafactory" && form != "huggingface")
    throw ConfigError(fmt::format("there is no chat form '{}' (llamafactory, huggingface)", form));
  ChatTemplate made;
  made.whole = form == "huggingface";
  if (name == "qwen3_vl_nothink") return made;
  if (name == "qwen3_vl") {
    if (made.whole)
      throw ConfigError(
          "qwen3_vl puts empty thinking blocks into responses, which no Hugging Face template "
          "does: "
          "use qwen3_vl_nothink with the form 'huggingface'");
    made.thinking = true;
    return made;
  }
  if (name == "qwen2_vl") {
    made.default_system = "You are a helpful assistant.";
    return made;
  }
  throw ConfigError(
      fmt::format("there is no chat template '{}' (qwen2_vl, qwen3_vl, qwen3_vl_nothink)", name));
}

std::vector<Segment> render_prompt(const Prompt& prompt, const ChatTemplate& form) {
  std::vector<Segment> segments;
  bool apart = false;  // the next text begins a new segment
  const auto add = [&](std::string_view text) {
    if (segments.empty() || segments.back().media || apart)
      segments.push_back({{}, nullptr, false, apart});
    segments.back().text += text;
    apart = false;
  };
  const bool has_system =
      !prompt.messages.empty() && prompt.messages.front().role == Message::Role::system;
  // LLaMA-Factory takes an empty system message for none.
  const auto empty = [](const Message& message) {
    for (const Part& part : message.content)
      if (part.kind != Part::Kind::text || !part.text.empty()) return false;
    return true;
  };
  const bool ignored = has_system && !form.whole && empty(prompt.messages.front());
  if ((!has_system || ignored) && !form.default_system.empty())
    add(fmt::format("<|im_start|>system\n{}{}", form.default_system, kEnd));

  for (std::size_t i = ignored ? 1 : 0; i < prompt.messages.size(); ++i) {
    const Message& message = prompt.messages[i];
    const bool assistant = message.role == Message::Role::assistant;
    add(fmt::format("<|im_start|>{}\n", name_of(message.role)));
    apart = assistant && !form.whole;
    bool first = true;
    for (const Part& part : message.content) {
      if (part.kind != Part::Kind::text) {
        if (apart) add("");
        segments.push_back({{}, &part.media, part.kind == Part::Kind::video, false});
      } else if (assistant && form.thinking) {
        const std::string text = without_thoughts(part.text);
        add(std::string_view(text).substr(
            first ? std::min(text.find_first_not_of('\n'), text.size()) : 0));
      } else {
        add(part.text);
      }
      first = false;
    }
    add(kEnd);
  }
  add("<|im_start|>assistant\n");
  return segments;
}

std::vector<std::string> render_response(std::string_view response, const ChatTemplate& form) {
  std::vector<std::string> texts;
  if (form.thinking && response.find(kThinkOpen) == response.npos &&
      response.find(kThinkClose) == response.npos)
    texts.emplace_back(kNoThought);
  texts.push_back(fmt::format("{}{}", response, kEnd));
  return texts;
}

}  // namespace dt2it::nn
