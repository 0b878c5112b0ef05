// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace dt2it {

// Levenshtein distance in bytes, a swap of neighbours counted as one.
std::size_t edit_distance(std::string_view a, std::string_view b);

// What to add to "unknown X": " (did you mean 'judge'? allowed: judge, retries)", or without the guess
// when nothing is near. `allowed` is listed in the order given.
std::string allowed_text(std::string_view wrong, const std::vector<std::string>& allowed);

// The same without a guess: " (allowed: a, b)"; " (there are none)" for an empty list.
std::string allowed_text(const std::vector<std::string>& allowed);

// What to add after it where a plugin's type is unknown: it may be one of a folder that was not given.
inline constexpr std::string_view kPluginsElsewhere =
    "; plugins elsewhere: --plugin-path DIR or DT2IT_PLUGIN_PATH";

}  // namespace dt2it
