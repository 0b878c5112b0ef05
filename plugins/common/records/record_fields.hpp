// SPDX-License-Identifier: Apache-2.0
#pragma once

// Fields of foreign records, and what all benchmarks do with them. Every error is a DataError that
// starts with `where` ("file:line") and says what is allowed.

#include <simdjson.h>

#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/media.hpp"
#include "dt2it/types.hpp"

namespace dt2it::records {

// Absent fields and null are the same: benchmarks use both.
std::optional<simdjson::dom::element> find(const simdjson::dom::object& record,
                                           std::string_view name);

// A string; whole numbers are taken as their digits (ids come both ways).
std::string required_text(const simdjson::dom::object& record, std::string_view name,
                          const std::string& where);
std::string optional_text(const simdjson::dom::object& record, std::string_view name,
                          const std::string& where);

// A list of exactly `count` strings.
std::vector<std::string> text_list(const simdjson::dom::object& record, std::string_view name,
                                   std::size_t count, const std::string& where);

// Removes "<image>" with the line break that sets it off: our prompts hold images as parts of their
// own.
std::string strip_image_tokens(std::string_view text);

// The media in field `name`: a path relative to `root`, a URL or data URL, {"bytes": base64,
// "path": ...}, a list of these, or nothing. What is not there becomes a Media with `source` and no
// id.
std::vector<Media> media_field(const simdjson::dom::object& record, std::string_view name,
                               const std::filesystem::path& root, MediaStore& store,
                               const std::string& where);

// The same of a value by itself, `name` being what messages call it. Media in this software's own form ({"id": ...}) are
// taken as they are.
std::vector<Media> media_values(const simdjson::dom::element& value, std::string_view name,
                                const std::filesystem::path& root, MediaStore& store,
                                const std::string& where);

// A one-turn prompt: the media first, then the text.
Prompt make_prompt(std::string id, std::vector<Media> media, std::string text, std::string source);

// The JSON object text of all fields but `known`; empty when there are none.
std::string other_fields(const simdjson::dom::object& record,
                         std::initializer_list<std::string_view> known);

// Empty when `text` is not base64 (white space is allowed).
std::optional<Bytes> decode_base64(std::string_view text);

}  // namespace dt2it::records
