// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/exporter.hpp"
#include "dt2it/media.hpp"

namespace dt2it::exported {

// As a JSON string. A lone surrogate (three bytes, as readers give it) becomes its escape again,
// other bytes that are no UTF-8 become U+FFFD.
void append_json(std::string& out, std::string_view text);

// The text, with U+FFFD for lone surrogates and other bytes that are no UTF-8: for what cannot
// escape them.
std::string valid_utf8(std::string_view text);

// What other programs' records have no place for, as a JSON object under the key "dt2it": ids,
// sources, reference answer, strengths, writers, extra. The readers put it back, so that a pair
// survives the way there and back, but for lone surrogates, which become U+FFFD.
std::string provenance(const PreferencePair& pair);

// The images of a prompt in reading order.
std::vector<const Media*> images_of(const Prompt& prompt);

// Why a pair cannot be written in any form; empty: it can.
std::string objection(const PreferencePair& pair);

// Why it cannot be written in a form of texts with "<image>" marks: such a mark is in a text, or
// "<video>" or "<audio>", for which programs look as well. Empty: it can.
std::string mark_in_text(const PreferencePair& pair);

// A message with "<image>" where its images stand. Parts are joined as they are: texts keep their
// bytes.
std::string marked_text(const Message& message);

// "jpg" by the media's type; "bin" where it is not known.
std::string_view ending_of(const Media& media);

// Writes the bytes of an image to folder/images/ID.ENDING, once; returns that path relative to
// `folder`.
std::string write_image(const Media& media, const std::filesystem::path& folder, MediaStore& store);

// A file that is written line by line or piece by piece. Throws Error when that fails.
class TextFile {
 public:
  explicit TextFile(std::filesystem::path file);
  ~TextFile();
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  void write(std::string_view text);
  void close();

 private:
  std::filesystem::path file_;
  std::FILE* stream_;
};

}  // namespace dt2it::exported
