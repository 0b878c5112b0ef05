// SPDX-License-Identifier: Apache-2.0
#pragma once

// A name for "this answer to this prompt", by content: what a stored reward is found by, whatever
// the ids, the order of the data and the labels are.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "dt2it/types.hpp"

namespace dt2it {

using ResponseKey = std::array<std::uint64_t, 2>;

// Text that is equal for prompts which show a model the same. Media count by content, absent ones
// by name; lengths keep texts from running into each other.
inline std::string prompt_text_for_key(const Prompt& prompt) {
  std::string text;
  const auto append = [&text](std::string_view part) {
    text += std::to_string(part.size());
    text += ':';
    text += part;
  };
  for (const Message& message : prompt.messages) {
    text += 'm';
    text += static_cast<char>('0' + static_cast<int>(message.role));
    for (const Part& part : message.content) {
      text += part.kind == Part::Kind::text ? 't' : part.kind == Part::Kind::image ? 'i' : 'v';
      if (part.kind == Part::Kind::text) {
        append(part.text);
        continue;
      }
      const Media& media = part.media;
      append(media.present() ? std::string_view(media.id) : std::string_view(media.source));
      for (const std::string& frame : media.frames) append(frame);
    }
  }
  return text;
}

// Eight bytes at a time: keys are made of whole data sets. Not what Rng streams are named by, and
// of no cryptographic use.
inline std::uint64_t content_hash(std::string_view text, std::uint64_t seed) {
  const auto mix = [](std::uint64_t a, std::uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  };
  std::uint64_t hash = mix(seed ^ 0x9e3779b97f4a7c15ULL, text.size() ^ 0xe7037ed1a0b428dbULL);
  while (!text.empty()) {
    const std::size_t size = std::min<std::size_t>(8, text.size());
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < size; ++i)
      word |= static_cast<std::uint64_t>(static_cast<unsigned char>(text[i])) << (8 * i);
    hash = mix(hash ^ word, 0x8ebc6af09c88c6e3ULL) ^ (hash >> 29);
    text.remove_prefix(size);
  }
  return mix(hash, 0x589965cc75374cc3ULL);
}

inline ResponseKey response_key(std::string_view prompt_text, std::string_view response) {
  return {content_hash(response, content_hash(prompt_text, 1)),
          content_hash(response, content_hash(prompt_text, 2))};
}
inline ResponseKey response_key(const Prompt& prompt, const Response& response) {
  return response_key(prompt_text_for_key(prompt), response.text);
}

}  // namespace dt2it
