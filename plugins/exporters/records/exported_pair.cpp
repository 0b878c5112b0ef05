// SPDX-License-Identifier: Apache-2.0
#include "plugins/exporters/records/exported_pair.hpp"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "dt2it/error.hpp"

namespace dt2it::exported {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kMark = "<image>";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

bool is_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

// Length of the character at `at`; 0 when the bytes there are none.
std::size_t character_length(std::string_view text, std::size_t at) {
  for (std::size_t length = 1; length <= 4 && at + length <= text.size(); ++length)
    if (is_utf8(text.substr(at, length))) return length;
  return 0;
}

// The number of a lone surrogate, which readers give as three bytes (WTF-8); 0 when there is none.
unsigned surrogate(std::string_view text, std::size_t at) {
  if (at + 3 > text.size()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  if (byte(0) != 0xED || byte(1) < 0xA0 || byte(1) > 0xBF || (byte(2) & 0xC0) != 0x80) return 0;
  return 0xD000u | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
}

void append_escape(std::string& out, unsigned unit) {
  char code[16];
  std::snprintf(code, sizeof code, "\\u%04x", unit);
  out += code;
}

// The number of a \uXXXX escape at `at`; -1 when there is none.
int escape_at(std::string_view json, std::size_t at) {
  if (json.size() < at + 6 || json[at] != '\\' || json[at + 1] != 'u') return -1;
  int unit = -1;
  std::from_chars(json.data() + at + 2, json.data() + at + 6, unit, 16);
  return unit;
}

// Escapes of lone surrogates become U+FFFD, for of JSON that has one our readers keep nothing.
std::string without_lone_surrogates(std::string json) {
  for (std::size_t at = 0; (at = json.find('\\', at)) != std::string::npos;) {
    const int unit = escape_at(json, at), next = escape_at(json, at + 6);
    if (unit < 0xD800 || unit > 0xDFFF) {
      at += 2;
    } else if (unit < 0xDC00 && next >= 0xDC00 && next <= 0xDFFF) {
      at += 12;
    } else {
      json.replace(at + 2, 4, "fffd");
      at += 6;
    }
  }
  return json;
}

// Members of an object, in order; empty texts are left out.
class Object {
 public:
  Object& text(std::string_view key, std::string_view value) {
    if (value.empty()) return *this;
    begin(key);
    append_json(out_, value);
    return *this;
  }
  Object& number(std::string_view key, double value) {
    begin(key);
    if (!std::isfinite(value)) return out_ += "null", *this;
    char digits[40];
    out_.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
    return *this;
  }
  Object& raw(std::string_view key, std::string_view json) {
    if (json.empty() || json == "{}") return *this;
    begin(key);
    out_ += json;
    return *this;
  }
  std::string close() { return out_ + "}"; }

 private:
  void begin(std::string_view key) {
    if (out_.size() > 1) out_ += ',';
    append_json(out_, key);
    out_ += ':';
  }
  std::string out_ = "{";
};

std::string media_json(const Media& media) {
  if (media.id.empty() && media.source.empty()) return {};
  Object json;
  json.text("id", media.id).text("mime", media.mime).text("source", media.source);
  if (media.width > 0) json.number("width", media.width).number("height", media.height);
  return json.close();
}

std::string response_json(const Response& response) {
  return Object()
      .text("id", response.id)
      .text("mllm", response.mllm)
      .text("origin", response.origin)
      .text("finish_reason", response.finish_reason)
      .raw("noised_image", media_json(response.noised_image))
      .raw("extra", response.extra)
      .close();
}

std::string prompt_json(const Prompt& prompt) {
  Object json;
  json.text("id", prompt.id)
      .text("reference", prompt.reference)
      .text("source", prompt.source)
      .text("domain", prompt.domain);
  json.raw("extra", prompt.extra);
  std::string sources;  // of the images: where they once came from
  for (const Media* image : images_of(prompt)) {
    sources += sources.empty() ? "[" : ",";
    append_json(sources, image->source);
  }
  if (!sources.empty()) json.raw("image_sources", sources + "]");
  return json.close();
}

}  // namespace

void append_json(std::string& out, std::string_view text) {
  const bool valid = is_utf8(text);
  out += '"';
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20) {
      append_escape(out, byte);
    } else if (valid || byte < 0x80) {
      out += c;
    } else if (const std::size_t length = character_length(text, at)) {
      out += text.substr(at, length);
      at += length - 1;
    } else if (const unsigned unit = surrogate(text, at)) {
      append_escape(out, unit);
      at += 2;
    } else {
      out += kReplacement;
    }
  }
  out += '"';
}

std::string valid_utf8(std::string_view text) {
  if (is_utf8(text)) return std::string(text);
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = character_length(text, at);
    out += length > 0 ? text.substr(at, length) : kReplacement;
    at += length > 0 ? length : surrogate(text, at) ? 3 : 1;
  }
  return out;
}

std::string provenance(const PreferencePair& pair) {
  Object json;
  json.text("id", pair.id).text("source", pair.source).text("group", pair.group);
  json.raw("prompt", prompt_json(pair.prompt));
  if (pair.rejected_prompt) json.raw("rejected_prompt", prompt_json(*pair.rejected_prompt));
  json.raw("chosen", response_json(pair.chosen)).raw("rejected", response_json(pair.rejected));
  if (pair.strength) json.number("strength", *pair.strength);
  if (!pair.strengths.empty()) {
    std::string list = "[";
    for (const double strength : pair.strengths) {
      if (list.size() > 1) list += ',';
      char digits[40];
      if (std::isfinite(strength))
        list.append(digits, std::to_chars(digits, digits + sizeof digits, strength).ptr);
      else
        list += "null";
    }
    json.raw("strengths", list + "]");
  }
  json.raw("extra", pair.extra);
  return without_lone_surrogates(json.close());
}

std::vector<const Media*> images_of(const Prompt& prompt) {
  std::vector<const Media*> images;
  for (const Message& message : prompt.messages)
    for (const Part& part : message.content)
      if (part.kind != Part::Kind::text) images.push_back(&part.media);
  return images;
}

std::string objection(const PreferencePair& pair) {
  for (const Prompt* prompt :
       {&pair.prompt, pair.rejected_prompt ? &*pair.rejected_prompt : nullptr}) {
    if (!prompt) continue;
    for (const Message& message : prompt->messages)
      for (const Part& part : message.content) {
        if (part.kind == Part::Kind::video || !part.media.frames.empty()) return "has a video";
        if (part.kind == Part::Kind::image && part.media.id.empty()) return "an image is absent";
      }
  }
  return {};
}

std::string mark_in_text(const PreferencePair& pair) {
  const auto found = [](std::string_view text, std::size_t images) -> std::string {
    for (const std::string_view mark :
         {kMark, std::string_view("<video>"), std::string_view("<audio>")}) {
      std::size_t count = 0;
      for (std::size_t at = 0; (at = text.find(mark, at)) != std::string_view::npos; ++at) ++count;
      if (count != (mark == kMark ? images : 0))
        return "a text has the mark " + std::string(mark) + " in it";
    }
    return {};
  };
  std::string problem = found(pair.chosen.text, 0);
  if (problem.empty()) problem = found(pair.rejected.text, 0);
  for (const Prompt* prompt :
       {&pair.prompt, pair.rejected_prompt ? &*pair.rejected_prompt : nullptr}) {
    if (!prompt) continue;
    for (const Message& message : prompt->messages) {
      if (!problem.empty()) return problem;
      // As it is written: a mark may also come about where two parts meet.
      problem = found(
          marked_text(message),
          static_cast<std::size_t>(std::ranges::count_if(
              message.content, [](const Part& part) { return part.kind != Part::Kind::text; })));
    }
  }
  return problem;
}

std::string marked_text(const Message& message) {
  std::string text;
  for (const Part& part : message.content)
    text += part.kind == Part::Kind::text ? part.text : std::string(kMark);
  return text;
}

std::string_view ending_of(const Media& media) {
  for (const auto& [mime, ending] : {std::pair{"image/jpeg", "jpg"},
                                     {"image/png", "png"},
                                     {"image/webp", "webp"},
                                     {"image/gif", "gif"},
                                     {"image/bmp", "bmp"},
                                     {"image/tiff", "tiff"},
                                     {"image/avif", "avif"},
                                     {"image/heic", "heic"}})
    if (media.mime == mime) return ending;
  return "bin";
}

std::string write_image(const Media& media, const fs::path& folder, MediaStore& store) {
  const std::string name = "images/" + media.id + "." + std::string(ending_of(media));
  if (media.id.find_first_not_of("0123456789abcdef") != std::string::npos)
    throw DataError("'" + media.id + "' is no media id");
  const fs::path file = folder / name;
  if (fs::exists(file)) return name;
  fs::create_directories(file.parent_path());
  const Bytes bytes = store.bytes(media);
  TextFile out(file);
  out.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  out.close();
  return name;
}

TextFile::TextFile(fs::path file)
    : file_(std::move(file)), stream_(std::fopen(file_.c_str(), "wbx")) {
  if (!stream_) throw Error(file_.string() + ": cannot be written: " + std::strerror(errno));
}

TextFile::~TextFile() {
  if (stream_) std::fclose(stream_);
}

void TextFile::write(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stream_) != text.size())
    throw Error(file_.string() + ": cannot be written: " + std::strerror(errno));
}

void TextFile::close() {
  const bool good = std::fclose(stream_) == 0;
  stream_ = nullptr;
  if (!good) throw Error(file_.string() + ": cannot be written: " + std::strerror(errno));
}

}  // namespace dt2it::exported
