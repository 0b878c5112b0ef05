// SPDX-License-Identifier: Apache-2.0
#include "core/nn/bpe.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>
#include <utility>

namespace dt2it::nn {
namespace {

constexpr std::size_t kShort = 64;  // symbols of a word whose merges are looked for by scanning

}  // namespace

std::array<std::string, 256> byte_alphabet() {
  std::array<std::string, 256> alphabet;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
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

BpeMerges::BpeMerges(std::size_t count)
    : slots_(std::bit_ceil(std::max<std::size_t>(count + count / 2, 8))),
      small_(kSmallIds * kSmallIds),
      shift_(64 - std::countr_zero(slots_.size())) {}

void BpeMerges::add(std::int32_t left, std::int32_t right, std::int32_t merged) {
  const Merge merge{next_rank_++, merged};
  if (static_cast<std::uint32_t>(left | right) < kSmallIds) {
    small_[static_cast<std::size_t>(left << 8 | right)] = merge;
    return;
  }
  if (4 * used_ >= 3 * slots_.size()) {
    std::vector<Slot> old(slots_.size() * 2);
    std::swap(old, slots_);
    --shift_;
    for (const Slot& slot : old) {
      if (slot.merge.rank == kNone) continue;
      std::size_t at = home(slot.key);
      while (slots_[at].merge.rank != kNone) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = slot;
    }
  }
  const std::uint64_t wanted = key(left, right);
  std::size_t at = home(wanted);
  while (slots_[at].merge.rank != kNone && slots_[at].key != wanted)
    at = (at + 1) & (slots_.size() - 1);
  used_ += slots_[at].merge.rank == kNone;
  slots_[at] = {wanted, merge};
}

void BpeMerges::apply(std::vector<std::int32_t>& symbols) const {
  if (symbols.size() < 2) return;
  symbols.size() <= kShort ? apply_short(symbols) : apply_long(symbols);
}

void BpeMerges::apply_short(std::vector<std::int32_t>& symbols) const {
  std::array<std::uint32_t, kShort> ranks;  // of the pair that begins here
  std::array<std::int32_t, kShort> merged;
  std::size_t count = symbols.size();
  const auto look = [&](std::size_t at) {
    const Merge merge = find(symbols[at], symbols[at + 1]);
    ranks[at] = merge.rank;
    merged[at] = merge.merged;
  };
  for (std::size_t i = 0; i + 1 < count; ++i) look(i);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == kNone) break;
    symbols[best] = merged[best];
    for (std::size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      merged[i] = merged[i + 1];
    }
    --count;
    if (best > 0) look(best - 1);
    if (best + 1 < count) look(best);
  }
  symbols.resize(count);
}

// A queue of candidates over a linked list.
void BpeMerges::apply_long(std::vector<std::int32_t>& symbols) const {
  struct Place {
    std::uint32_t previous, next;
    Merge
        merge;  // of the pair that begins here; rank kNone where there is none or the place is gone
  };
  const auto count = static_cast<std::uint32_t>(symbols.size());
  std::vector<Place> places(count);
  std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>>
      queue;  // rank, then place
  const auto look = [&](std::uint32_t at) {
    Place& place = places[at];
    place.merge = place.next < count ? find(symbols[at], symbols[place.next]) : Merge{};
    if (place.merge.rank != kNone) queue.push(std::uint64_t{place.merge.rank} << 32 | at);
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    places[i].previous = i ? i - 1 : count;
    places[i].next = i + 1;
  }
  for (std::uint32_t i = 0; i + 1 < count; ++i) look(i);
  while (!queue.empty()) {
    const auto rank = static_cast<std::uint32_t>(queue.top() >> 32),
               at = static_cast<std::uint32_t>(queue.top());
    queue.pop();
    Place& place = places[at];
    if (place.merge.rank != rank) continue;  // its pair has changed since
    Place& gone = places[place.next];
    symbols[at] = place.merge.merged;
    symbols[place.next] = -1;
    gone.merge = {};
    place.next = gone.next;
    if (place.next < count) places[place.next].previous = at;
    if (place.previous < count) look(place.previous);
    look(at);
  }
  std::erase(symbols, -1);
}

}  // namespace dt2it::nn
