// SPDX-License-Identifier: Apache-2.0
#pragma once

// The ids of the words that this thread met last. Most words of a text occur over and over, and
// finding one here costs a tenth of merging its bytes.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <tuple>

namespace dt2it::nn {

static_assert(std::endian::native == std::endian::little);

class WordCache {
 public:
  static constexpr std::size_t kLongestWord = 31;

  // One for each thread, shared by all tokenizers: an entry carries its tokenizer's number.
  static WordCache& of_this_thread() {
    thread_local WordCache cache;
    return cache;
  }

  struct Key {
    std::array<std::uint64_t, 4> words;  // the text, zeros behind it, its length in the last byte
  };
  // `word` has 1 to kLongestWord bytes; bytes up to `readable` may be read.
  static Key key(std::string_view word, const char* readable) {
    Key key{};
    if (readable - word.data() >= 32) {
      std::memcpy(key.words.data(), word.data(), 32);
      for (std::size_t i = 0; i < 4; ++i) key.words[i] &= kMasks[word.size()][i];
    } else {
      std::memcpy(key.words.data(), word.data(), word.size());
    }
    key.words[3] |= std::uint64_t{word.size()} << 56;
    return key;
  }

  // Empty when it is not there.
  std::span<const std::int32_t> find(const Key& key, std::uint32_t tokenizer) const {
    const std::size_t first = home(key, tokenizer);
    for (const std::size_t at : {first, first ^ 1}) {
      const Entry& entry = entries_[at];
      if (entry.key.words == key.words && entry.tokenizer == tokenizer)
        return {entry.ids.data(), entry.count};
    }
    return {};
  }

  // Takes the place of the older of two entries; lists of more than six ids are not kept.
  void put(const Key& key, std::uint32_t tokenizer, std::span<const std::int32_t> ids) {
    if (ids.empty() || ids.size() > std::tuple_size_v<decltype(Entry::ids)>) return;
    const std::size_t first = home(key, tokenizer);
    Entry& entry = entries_[first];
    entries_[first ^ 1] = entry;
    entry.key = key;
    entry.tokenizer = tokenizer;
    entry.count = static_cast<std::uint32_t>(ids.size());
    std::copy(ids.begin(), ids.end(), entry.ids.begin());
  }

 private:
  static constexpr int kBits = 15;  // 2 MiB
  struct alignas(64) Entry {
    Key key{};
    std::uint32_t tokenizer = 0, count = 0;
    std::array<std::int32_t, 6> ids{};
  };
  static_assert(sizeof(Entry) == 64);

  static constexpr auto kMasks = [] {
    std::array<std::array<std::uint64_t, 4>, kLongestWord + 1> masks{};
    for (std::size_t length = 0; length < masks.size(); ++length)
      for (std::size_t byte = 0; byte < length; ++byte)
        masks[length][byte / 8] |= std::uint64_t{0xff} << (byte % 8 * 8);
    return masks;
  }();

  static std::size_t home(const Key& key, std::uint32_t tokenizer) {
    const auto& w = key.words;
    const std::uint64_t a = (w[0] ^ tokenizer) * 0x9e3779b97f4a7c15u + w[2] * 0xc2b2ae3d27d4eb4fu;
    const std::uint64_t b =
        (w[1] + 0x165667b19e3779f9u) * 0xd6e8feb86659fd93u + w[3] * 0xff51afd7ed558ccdu;
    std::uint64_t mixed = a ^ (b >> 32 | b << 32);
    mixed ^= mixed >> 29;
    return static_cast<std::size_t>(mixed * 0xbf58476d1ce4e5b9u >> (64 - kBits));
  }

  std::unique_ptr<Entry[]> entries_ = std::make_unique<Entry[]>(std::size_t{1} << kBits);
};

}  // namespace dt2it::nn
