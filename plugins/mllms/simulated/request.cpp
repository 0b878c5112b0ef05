// SPDX-License-Identifier: Apache-2.0
#include "plugins/mllms/simulated/request.hpp"

#include "dt2it/rng.hpp"

namespace dt2it::simulated {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t start = text.find_first_not_of(kSpace);
  if (start == std::string_view::npos) return {};
  return text.substr(start, text.find_last_not_of(kSpace) - start + 1);
}

// The text between `open` and `close`, looked for from `from`; moves `from` behind it.
std::optional<std::string_view> block(std::string_view text, std::string_view open,
                                      std::string_view close, std::size_t& from) {
  const std::size_t start = text.find(open, from);
  if (start == std::string_view::npos) return std::nullopt;
  const std::size_t end = text.find(close, start + open.size());
  if (end == std::string_view::npos) return std::nullopt;
  from = end + close.size();
  return trimmed(text.substr(start + open.size(), end - start - open.size()));
}

Task task_named(std::string_view name) {
  if (name == "listwise") return Task::listwise;
  if (name == "pointwise") return Task::pointwise;
  if (name == "pairwise") return Task::pairwise;
  if (name == "answers") return Task::answers;
  if (name == "brackets") return Task::brackets;
  if (name == "critique") return Task::critique;
  return Task::answer;
}

}  // namespace

Request read_request(const ChatRequest& chat) {
  Request request;
  request.hash = stable_hash("request", static_cast<std::uint64_t>(chat.sampling.sample));
  std::string last_user;
  for (const Message& message : chat.messages) {
    std::string text;
    for (const Part& part : message.content) {
      if (part.kind == Part::Kind::text) {
        if (!text.empty()) text += '\n';
        text += part.text;
        continue;
      }
      request.media.push_back(part.media);
      request.hash = stable_hash(part.media.id, request.hash);
      for (const std::string& frame : part.media.frames)
        request.hash = stable_hash(frame, request.hash);
    }
    request.characters += text.size();
    request.hash = stable_hash(text, request.hash ^ static_cast<std::uint64_t>(message.role));
    if (message.role == Message::Role::user) last_user = std::move(text);
  }

  // The rubric's words speak of blocks too when they stand in front; the material begins at its
  // task line.
  std::size_t at = 0;
  while (request.task == Task::answer) {
    const auto task = block(last_user, "<task>", "</task>", at);
    if (!task) break;
    request.task = task_named(*task);
  }
  if (request.task == Task::answer) at = 0;
  std::size_t from = at;
  if (const auto question = block(last_user, "<question>", "</question>", from)) {
    request.question = *question;
    // Earlier turns stand before the last question.
    if (const std::size_t turn = request.question.rfind("</turn>"); turn != std::string::npos)
      request.question = trimmed(std::string_view(request.question).substr(turn + 7));
  } else {
    request.question = last_user;
  }
  from = at;
  if (const auto reference = block(last_user, "<reference_answer>", "</reference_answer>", from))
    request.reference = *reference;
  if (request.task == Task::answer) return request;

  from = at;
  for (std::size_t id = 1;; ++id) {
    const auto response =
        block(last_user, "<response id=\"" + std::to_string(id) + "\">", "</response>", from);
    if (!response) break;
    request.responses.emplace_back(*response);
  }
  return request;
}

}  // namespace dt2it::simulated
