// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/record_fields.hpp"

#include <algorithm>
#include <array>
#include <sstream>

#include "dt2it/error.hpp"

namespace dt2it::records {

namespace {

[[noreturn]] void fail(const std::string& where, std::string_view name, const std::string& what) {
  throw DataError(where + ": field '" + std::string(name) + "' " + what);
}

std::optional<std::string> as_text(const simdjson::dom::element& value) {
  std::string_view text;
  if (!value.get(text)) return std::string(text);
  if (value.is_int64() || value.is_uint64()) return simdjson::minify(value);
  return std::nullopt;
}

void write_string(std::ostream& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out << '"';
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') out << '\\';
    if (c < 0x20)
      out << "\\u00" << kHex[c >> 4] << kHex[c & 15];
    else
      out << c;
  }
  out << '"';
}

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](std::string_view prefix) { return text.starts_with(prefix); });
}

Media from_path(std::string_view path, const std::filesystem::path& root, MediaStore& store,
                const std::string& where, std::string_view name) {
  if (path.starts_with("data:")) {
    const std::size_t comma = path.find(',');
    const bool base64 = comma != path.npos && path.substr(0, comma).ends_with(";base64");
    const auto bytes = base64 ? decode_base64(path.substr(comma + 1)) : std::nullopt;
    if (!bytes)
      fail(where, name, "is a data URL that cannot be read (allowed: data:TYPE;base64,...)");
    return store.put(*bytes, "data URL");
  }
  Media absent;
  absent.source = std::string(path);
  // URLs are never fetched behind the user's back; a NUL would cut the path short.
  if (starts_with_any(path, {"http://", "https://"}) || path.find('\0') != path.npos) return absent;
  return store.put_file(root / std::filesystem::path(std::string(path)), path);
}

// This software's own form, as its files hold it.
Media own_media(const simdjson::dom::object& object, const std::string& where) {
  Media media;
  if (optional_text(object, "kind", where) == "video") media.kind = Media::Kind::video;
  media.id = optional_text(object, "id", where);
  media.mime = optional_text(object, "mime", where);
  media.source = optional_text(object, "source", where);
  std::int64_t pixels = 0;
  if (!object["width"].get(pixels)) media.width = static_cast<int>(pixels);
  if (!object["height"].get(pixels)) media.height = static_cast<int>(pixels);
  simdjson::dom::array frames;
  if (!object["frames"].get(frames))
    for (const auto& frame : frames)
      if (std::string_view id; !frame.get(id)) media.frames.emplace_back(id);
  return media;
}

void collect_media(const simdjson::dom::element& value, const std::filesystem::path& root,
                   MediaStore& store, const std::string& where, std::string_view name,
                   std::vector<Media>& result) {
  std::string_view text;
  simdjson::dom::array list;
  simdjson::dom::object object;
  if (value.is_null()) return;
  if (!value.get(text)) {
    if (!text.empty()) result.push_back(from_path(text, root, store, where, name));
  } else if (!value.get(list)) {
    for (const auto& item : list) collect_media(item, root, store, where, name, result);
  } else if (!value.get(object)) {
    if (find(object, "id") || find(object, "frames"))
      return result.push_back(own_media(object, where));
    const std::string path = optional_text(object, "path", where);
    const std::string bytes = optional_text(object, "bytes", where);
    if (!bytes.empty()) {
      const auto decoded = decode_base64(bytes);
      if (!decoded) fail(where, name, "has 'bytes' that are not base64");
      result.push_back(store.put(*decoded, path));
    } else if (!path.empty()) {
      result.push_back(from_path(path, root, store, where, name));
    }
  } else {
    fail(where, name,
         "is no image (allowed: a path, a data URL, {\"bytes\": base64, \"path\": ...}, a list of "
         "these, null)");
  }
}

}  // namespace

std::optional<simdjson::dom::element> find(const simdjson::dom::object& record,
                                           std::string_view name) {
  simdjson::dom::element value;
  if (record.at_key(name).get(value) || value.is_null()) return std::nullopt;
  return value;
}

std::string required_text(const simdjson::dom::object& record, std::string_view name,
                          const std::string& where) {
  const auto value = find(record, name);
  if (!value) fail(where, name, "is missing (a string is expected)");
  const auto text = as_text(*value);
  if (!text) fail(where, name, "is not a string");
  return *text;
}

std::string optional_text(const simdjson::dom::object& record, std::string_view name,
                          const std::string& where) {
  const auto value = find(record, name);
  if (!value) return {};
  const auto text = as_text(*value);
  if (!text) fail(where, name, "is not a string (a string or null is allowed)");
  return *text;
}

std::vector<std::string> text_list(const simdjson::dom::object& record, std::string_view name,
                                   std::size_t count, const std::string& where) {
  const std::string expected = "a list of " + std::to_string(count) + " strings is expected";
  const auto value = find(record, name);
  if (!value) fail(where, name, "is missing (" + expected + ")");
  simdjson::dom::array list;
  if (value->get(list)) fail(where, name, "is not a list (" + expected + ")");
  std::vector<std::string> result;
  for (const auto& item : list) {
    const auto text = as_text(item);
    if (!text) fail(where, name, "has an element that is not a string (" + expected + ")");
    result.push_back(*text);
  }
  if (result.size() != count)
    fail(where, name, "has " + std::to_string(result.size()) + " elements (" + expected + ")");
  return result;
}

std::string strip_image_tokens(std::string_view text) {
  constexpr std::string_view kToken = "<image>";
  std::string result(text);
  for (std::size_t at = result.find(kToken); at != result.npos; at = result.find(kToken, at)) {
    std::size_t end = at + kToken.size();
    if (end < result.size() && result[end] == '\n') {
      ++end;
    } else if (end == result.size() && at > 0 && result[at - 1] == '\n') {
      --at;
    }
    result.erase(at, end - at);
  }
  return result;
}

std::vector<Media> media_field(const simdjson::dom::object& record, std::string_view name,
                               const std::filesystem::path& root, MediaStore& store,
                               const std::string& where) {
  std::vector<Media> result;
  if (const auto value = find(record, name))
    collect_media(*value, root, store, where, name, result);
  return result;
}

std::vector<Media> media_values(const simdjson::dom::element& value, std::string_view name,
                                const std::filesystem::path& root, MediaStore& store,
                                const std::string& where) {
  std::vector<Media> result;
  collect_media(value, root, store, where, name, result);
  return result;
}

Prompt make_prompt(std::string id, std::vector<Media> media, std::string text, std::string source) {
  Prompt prompt;
  prompt.id = std::move(id);
  prompt.source = std::move(source);
  Message message;
  for (Media& one : media) {
    const auto kind = one.kind == Media::Kind::video ? Part::Kind::video : Part::Kind::image;
    message.content.push_back({kind, {}, std::move(one)});
  }
  message.content.push_back(Part::of_text(std::move(text)));
  prompt.messages.push_back(std::move(message));
  return prompt;
}

std::string other_fields(const simdjson::dom::object& record,
                         std::initializer_list<std::string_view> known) {
  std::ostringstream out;
  const char* separator = "{";
  for (const auto& [key, value] : record) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    out << separator;
    write_string(out, key);
    out << ':' << simdjson::minify(value);
    separator = ",";
  }
  std::string text = out.str();
  return text.empty() ? text : text + "}";
}

std::optional<Bytes> decode_base64(std::string_view text) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  static const auto values = [] {
    std::array<int, 256> table;
    table.fill(-1);
    for (std::size_t i = 0; i < kDigits.size(); ++i)
      table[static_cast<unsigned char>(kDigits[i])] = static_cast<int>(i);
    return table;
  }();
  Bytes result;
  std::uint32_t bits = 0;
  int count = 0;
  bool padding = false;
  for (unsigned char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') continue;
    if (c == '=') {
      padding = true;
      continue;
    }
    if (padding || values[c] < 0) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(values[c]);
    if (++count == 4) {
      for (int shift : {16, 8, 0}) result.push_back(static_cast<std::uint8_t>(bits >> shift));
      bits = 0;
      count = 0;
    }
  }
  if (count == 1) return std::nullopt;
  if (count == 2) result.push_back(static_cast<std::uint8_t>(bits >> 4));
  if (count == 3) {
    result.push_back(static_cast<std::uint8_t>(bits >> 10));
    result.push_back(static_cast<std::uint8_t>(bits >> 2));
  }
  return result;
}

}  // namespace dt2it::records
