// SPDX-License-Identifier: Apache-2.0
#include "core/nn/bpe.hpp"

#include <queue>
#include <tuple>

namespace dt2it::nn {

std::array<std::string, 256> byte_alphabet() {
  std::array<std::string, 256> alphabet;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const int code = printable ? byte : next++;
    std::string& text = alphabet[static_cast<std::size_t>(byte)];
    if (code < 0x80) {
      text = static_cast<char>(code);
    } else {
      text = static_cast<char>(0xc0 | code >> 6);
      text += static_cast<char>(0x80 | (code & 0x3f));
    }
  }
  return alphabet;
}

void BpeMerges::add(std::int32_t left, std::int32_t right, std::int32_t merged) {
  const auto rank = static_cast<std::int32_t>(merges_.size());
  merges_.try_emplace(key(left, right), Merge{rank, merged});
}

// A queue of candidate merges over a linked list, so that a word of n bytes costs n log n: texts without spaces can be
// very long words.
void BpeMerges::apply(std::vector<std::int32_t>& symbols) const {
  const auto n = static_cast<std::int32_t>(symbols.size());
  if (n < 2) return;
  std::vector<std::int32_t> next(symbols.size()), previous(symbols.size());
  for (std::int32_t i = 0; i < n; ++i) {
    next[static_cast<std::size_t>(i)] = i + 1 < n ? i + 1 : -1;
    previous[static_cast<std::size_t>(i)] = i - 1;
  }
  // rank, place of the left symbol, merged id, and both symbols as they were when it was queued
  using Candidate = std::tuple<std::int32_t, std::int32_t, std::int32_t, std::int32_t, std::int32_t>;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](std::int32_t at) {
    if (at < 0 || next[static_cast<std::size_t>(at)] < 0) return;
    const std::int32_t left = symbols[static_cast<std::size_t>(at)];
    const std::int32_t right = symbols[static_cast<std::size_t>(next[static_cast<std::size_t>(at)])];
    const auto found = merges_.find(key(left, right));
    if (found != merges_.end()) queue.emplace(found->second.rank, at, found->second.merged, left, right);
  };
  for (std::int32_t i = 0; i + 1 < n; ++i) consider(i);
  while (!queue.empty()) {
    const auto [rank, at, merged, left, right] = queue.top();
    queue.pop();
    const auto here = static_cast<std::size_t>(at);
    const std::int32_t after = next[here];
    if (symbols[here] != left || after < 0 || symbols[static_cast<std::size_t>(after)] != right) continue;
    const auto gone = static_cast<std::size_t>(after);
    symbols[here] = merged;
    symbols[gone] = -1;
    next[here] = next[gone];
    if (next[here] >= 0) previous[static_cast<std::size_t>(next[here])] = at;
    consider(previous[here]);
    consider(at);
  }
  std::erase(symbols, -1);
}

}  // namespace dt2it::nn
