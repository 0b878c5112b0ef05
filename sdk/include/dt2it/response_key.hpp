// SPDX-License-Identifier: Apache-2.0
#pragma once

// A name for "this answer to this prompt", by content: what a stored reward is found by, whatever
// the ids, the order of the data and the labels are.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "dt2it/types.hpp"

namespace dt2it {

using ResponseKey = std::array<std::uint64_t, 2>;

namespace detail {
// Lengths keep texts from running into each other.
inline void add_key_text(std::string& key, std::string_view text) {
  key += std::to_string(text.size());
  key += ':';
  key += text;
}
}  // namespace detail

// Text that is equal for media which show a model the same: by content, absent ones by name.
inline std::string media_text_for_key(const Media& media) {
  std::string key(media.kind == Media::Kind::video ? "v" : "i");
  detail::add_key_text(key, media.present() ? media.id : "?" + media.source);
  for (const std::string& frame : media.frames) detail::add_key_text(key, frame);
  return key;
}

// Likewise for prompts.
inline std::string prompt_text_for_key(const Prompt& prompt) {
  std::string key;
  for (const Message& message : prompt.messages) {
    key += 'm';
    key += static_cast<char>('0' + static_cast<int>(message.role));
    for (const Part& part : message.content) {
      if (part.kind != Part::Kind::text) {
        key += media_text_for_key(part.media);
        continue;
      }
      key += 't';
      detail::add_key_text(key, part.text);
    }
  }
  return key;
}

// Eight bytes at a time, with two seeds at once: keys are made of whole data sets. Not what Rng streams are named by, and
// of no cryptographic use.
inline ResponseKey content_hashes(std::string_view text, const ResponseKey& seeds) {
  const auto mix = [](std::uint64_t a, std::uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  };
  const std::uint64_t size = text.size() ^ 0xe7037ed1a0b428dbULL;
  ResponseKey hashes{mix(seeds[0] ^ 0x9e3779b97f4a7c15ULL, size),
                     mix(seeds[1] ^ 0x9e3779b97f4a7c15ULL, size)};
  const auto add = [&](std::uint64_t word) {
    for (std::uint64_t& hash : hashes)
      hash = mix(hash ^ word, 0x8ebc6af09c88c6e3ULL) ^ (hash >> 29);
  };
  for (; text.size() >= 8; text.remove_prefix(8)) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), 8);
    if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
    add(word);
  }
  if (!text.empty()) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < text.size(); ++i)
      word |= static_cast<std::uint64_t>(static_cast<unsigned char>(text[i])) << (8 * i);
    add(word);
  }
  for (std::uint64_t& hash : hashes) hash = mix(hash, 0x589965cc75374cc3ULL);
  return hashes;
}

// For several answers to one prompt: what their keys begin with.
inline ResponseKey prompt_key(std::string_view prompt_text) {
  return content_hashes(prompt_text, {1, 2});
}
inline ResponseKey response_key(const ResponseKey& prompt, std::string_view response) {
  return content_hashes(response, prompt);
}
inline ResponseKey response_key(std::string_view prompt_text, std::string_view response) {
  return response_key(prompt_key(prompt_text), response);
}
inline ResponseKey response_key(const Prompt& prompt, const Response& response) {
  return response_key(prompt_text_for_key(prompt), response.text);
}

}  // namespace dt2it
