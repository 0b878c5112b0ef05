// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/judging/material.hpp"

#include <fmt/format.h>

#include <array>
#include <cctype>

namespace dt2it::judging {
namespace {

constexpr std::array<std::string_view, 5> kTags{"task", "question", "reference_answer", "response",
                                                "turn"};

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

// text[at] is '<': does one of our tags follow?
bool looks_like_tag(std::string_view text, std::size_t at) {
  std::size_t i = at + 1;
  while (i < text.size() && (is_space(text[i]) || text[i] == '/')) ++i;
  for (const std::string_view tag : kTags) {
    if (text.size() - i < tag.size()) continue;
    std::size_t same = 0;
    while (same < tag.size() && lower(text[i + same]) == tag[same]) ++same;
    if (same == tag.size() && (i + same == text.size() || !is_word(text[i + same]))) return true;
  }
  return false;
}

std::string_view role_name(Message::Role role) {
  switch (role) {
    case Message::Role::system: return "system";
    case Message::Role::assistant: return "assistant";
    case Message::Role::user: break;
  }
  return "user";
}

// The text of a message, with the places of its media marked when the prompt has several.
std::string message_text(const Message& message, bool mark_media, int& images, int& videos) {
  std::string text;
  const auto add = [&text](std::string_view piece) {
    if (!text.empty() && !piece.empty() && !is_space(text.back()) && !is_space(piece.front()))
      text += '\n';
    text += piece;
  };
  for (const Part& part : message.content) {
    switch (part.kind) {
      case Part::Kind::text: add(part.text); break;
      case Part::Kind::image:
        ++images;
        if (mark_media) add(fmt::format("[image {}]", images));
        break;
      case Part::Kind::video:
        ++videos;
        if (mark_media) add(fmt::format("[video {}]", videos));
        break;
    }
  }
  return text;
}

std::string question_block(const Prompt& prompt, bool mark_media) {
  int images = 0, videos = 0;
  std::string block = "<question>\n";
  for (std::size_t i = 0; i < prompt.messages.size(); ++i) {
    const std::string text =
        escape_blocks(message_text(prompt.messages[i], mark_media, images, videos));
    if (i + 1 < prompt.messages.size())
      block += fmt::format("<turn role=\"{}\">\n{}\n</turn>\n", role_name(prompt.messages[i].role),
                           text);
    else
      block += text + "\n";
  }
  return block + "</question>\n";
}

}  // namespace

std::string escape_blocks(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<' && looks_like_tag(text, i))
      safe += "&lt;";
    else
      safe += text[i];
  }
  return safe;
}

void add_material(Message& user, std::string_view task, const Prompt& prompt,
                  std::span<const Response> responses, bool use_reference,
                  const std::string& closing) {
  std::size_t media = 0;
  for (const Message& message : prompt.messages)
    for (const Part& part : message.content)
      if (part.kind != Part::Kind::text) {
        user.content.push_back(part);
        ++media;
      }

  std::string text = fmt::format("<task>{}</task>\n", task);
  text += question_block(prompt, media > 1);
  if (use_reference && !prompt.reference.empty())
    text += fmt::format("<reference_answer>\n{}\n</reference_answer>\n",
                        escape_blocks(prompt.reference));
  for (std::size_t i = 0; i < responses.size(); ++i)
    text += fmt::format("<response id=\"{}\">\n{}\n</response>\n", i + 1,
                        escape_blocks(responses[i].text));
  user.content.push_back(Part::of_text(text + closing));
}

}  // namespace dt2it::judging
