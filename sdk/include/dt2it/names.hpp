// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "dt2it/types.hpp"

namespace dt2it {

// How enumerations are written in files (docs/file_formats.md), in the order of their values.
inline constexpr std::array<std::string_view, 7> kStatusNames = {
    "ok", "unparsed", "refused", "truncated", "unavailable", "missing_media", "invalid"};
inline constexpr std::array<std::string_view, 3> kRoleNames = {"system", "user", "assistant"};
inline constexpr std::array<std::string_view, 3> kPartNames = {"text", "image", "video"};
inline constexpr std::array<std::string_view, 2> kMediaNames = {"image", "video"};
inline constexpr std::array<std::string_view, 3> kWinnerNames = {"first", "second", "tie"};

template <class Enum, std::size_t N>
constexpr std::string_view name_of(const std::array<std::string_view, N>& names, Enum value) {
  return names[static_cast<std::size_t>(value)];
}

// Nothing for what is none of the names.
template <class Enum, std::size_t N>
constexpr std::optional<Enum> value_named(const std::array<std::string_view, N>& names,
                                          std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

static_assert(name_of(kStatusNames, Status::invalid) == "invalid" &&
              name_of(kRoleNames, Message::Role::assistant) == "assistant" &&
              name_of(kPartNames, Part::Kind::video) == "video" &&
              name_of(kMediaNames, Media::Kind::video) == "video" &&
              name_of(kWinnerNames, Verdict::Winner::tie) == "tie");

}  // namespace dt2it
