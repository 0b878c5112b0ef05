// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

namespace dt2it {

// How enumerations are written in files, in the order of their values.
inline constexpr std::array<std::string_view, 7> kStatusNames = {
    "ok", "unparsed", "refused", "truncated", "unavailable", "missing_media", "invalid"};
inline constexpr std::array<std::string_view, 4> kActionNames = {"keep", "flip", "discard", "undecided"};
inline constexpr std::array<std::string_view, 3> kRoleNames = {"system", "user", "assistant"};
inline constexpr std::array<std::string_view, 3> kPartNames = {"text", "image", "video"};
inline constexpr std::array<std::string_view, 2> kMediaNames = {"image", "video"};

}  // namespace dt2it
