// SPDX-License-Identifier: Apache-2.0
#include "request_key.hpp"

#include <fmt/format.h>

#include "dt2it/rng.hpp"

namespace dt2it {

std::string request_key(const ChatRequest& request) {
  std::string text;
  // Lengths in front, so that no two requests can be written alike.
  const auto add = [&text](std::string_view piece) {
    text += fmt::format("{}:{};", piece.size(), piece);
  };
  for (const Message& message : request.messages) {
    add(message.role == Message::Role::system ? "system"
        : message.role == Message::Role::user ? "user"
                                              : "assistant");
    for (const Part& part : message.content) {
      if (part.kind == Part::Kind::text) {
        add("text");
        add(part.text);
        continue;
      }
      add(part.kind == Part::Kind::image ? "image" : "video");
      add(part.media.id);
      for (const std::string& frame : part.media.frames) add(frame);
    }
    add("end");
  }
  const Sampling& sampling = request.sampling;
  add(sampling.temperature ? fmt::format("{}", *sampling.temperature) : "-");
  add(sampling.top_p ? fmt::format("{}", *sampling.top_p) : "-");
  add(sampling.max_tokens ? fmt::format("{}", *sampling.max_tokens) : "-");
  add(fmt::format("{}", sampling.sample));
  add(request.format == ResponseFormat::json ? "json" : "text");
  add(request.json_schema);
  return fmt::format("{:016x}{:016x}", stable_hash(text, 1), stable_hash(text, 2));
}

}  // namespace dt2it
