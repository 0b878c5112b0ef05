// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace dt2it::llama_factory {

// All throw Error or DataError naming the file.
std::string read_text(const std::filesystem::path& file);
void write_text(const std::filesystem::path& file, std::string_view text);
boost::json::value read_json(const std::filesystem::path& file);

// Empty where `object` is no object or has no text of this name.
std::string text_member(const boost::json::value& object, std::string_view name);

// The last lines of a file, each cut to a screen's width; a line that was overwritten in place
// (progress bars) counts as what it showed last. Empty when there is none.
std::string last_lines(const std::filesystem::path& file, std::size_t count);

}  // namespace dt2it::llama_factory
