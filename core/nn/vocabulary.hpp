// SPDX-License-Identifier: Apache-2.0
#pragma once

// Texts to ids: a flat table over one string, many times quicker to fill than a map of strings.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dt2it::nn {

class Vocabulary {
 public:
  struct Entry {
    std::size_t offset, length;
    std::int32_t id;
  };

  // Replaces the id of a text that is there already.
  void set(std::string_view text, std::int32_t id) {
    if (3 * entries_.size() >= 2 * slots_.size()) grow();
    std::uint32_t& slot = slots_[place(text)];
    if (slot) {
      entries_[slot - 1].id = id;
      return;
    }
    entries_.push_back({texts_.size(), text.size(), id});
    texts_ += text;
    slot = static_cast<std::uint32_t>(entries_.size());
  }

  std::optional<std::int32_t> find(std::string_view text) const {
    if (entries_.empty()) return std::nullopt;
    const std::uint32_t slot = slots_[place(text)];
    return slot ? std::optional(entries_[slot - 1].id) : std::nullopt;
  }

  const std::vector<Entry>& entries() const { return entries_; }
  std::string_view text(const Entry& entry) const {
    return std::string_view(texts_).substr(entry.offset, entry.length);
  }

 private:
  // The slot of this text, or the free one where it belongs.
  std::size_t place(std::string_view text) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = std::hash<std::string_view>{}(text)&mask;
    while (slots_[at] && this->text(entries_[slots_[at] - 1]) != text) at = (at + 1) & mask;
    return at;
  }
  void grow() {
    slots_.assign(slots_.empty() ? 1024 : slots_.size() * 2, 0);
    for (std::size_t i = 0; i < entries_.size(); ++i)
      slots_[place(text(entries_[i]))] = static_cast<std::uint32_t>(i + 1);
  }

  std::string texts_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> slots_;  // entry + 1, or 0; a power of two
};

}  // namespace dt2it::nn
