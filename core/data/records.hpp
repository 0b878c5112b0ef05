// SPDX-License-Identifier: Apache-2.0
#pragma once

// The records of types.hpp as JSON lines: keys are the members' names, empty members are left out, unknown
// keys are kept byte for byte in `extra` and written back behind the known ones. Reading is strict about
// types: DataError names file, line, key and what is allowed.

#include <simdjson.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/data/quick_reader.hpp"
#include "core/util/jsonl.hpp"
#include "dt2it/benchmark.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/stream.hpp"
#include "dt2it/trainer.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

std::string_view to_string(Status status);
std::string_view to_string(Decision::Action action);
Status status_from(std::string_view name, const std::string& where);

std::string to_json(const Media& media);
std::string to_json(const Prompt& prompt);
std::string to_json(const Response& response);
std::string to_json(const Score& score);
std::string to_json(const PreferencePair& pair);
std::string to_json(const ImagePreference& preference);
std::string to_json(const Outcome& outcome);
std::string to_json(const Metric& metric);
// What is the same each time.
std::string to_json(const TrainStep& step);
// What is not: seconds, rates, memory.
std::string timing_json(const TrainStep& step);

// A parsed value together with the bytes it was written with, which unknown keys are kept as. From an element
// alone: its unknown keys are written anew (same values, perhaps 1.0 for 1.00).
struct JsonRef {
  simdjson::dom::element element;
  std::string_view raw;
  bool simplified = false;  // texts are to be read from `raw`: the parser could not hold them

  JsonRef() = default;
  JsonRef(const simdjson::dom::element& element) : element(element) {}  // NOLINT: meant to convert
  JsonRef(const simdjson::dom::element& element, std::string_view raw, bool simplified)
      : element(element), raw(raw), simplified(simplified) {}

  bool is_object() const { return element.is_object(); }
  bool is_array() const { return element.is_array(); }
  std::optional<JsonRef> member(
      std::string_view key) const;  // the last of that name; none: nullopt
  // (key, value) of an object, values of an array, in order. Empty for anything else.
  std::vector<std::pair<std::string, JsonRef>> members() const;
  std::vector<JsonRef> items() const;
};

// `where` ("file:line") starts every message. Known keys that are null count as absent.
Prompt prompt_from(const JsonRef& json, const std::string& where);
Response response_from(const JsonRef& json, const std::string& where);
Score score_from(const JsonRef& json, const std::string& where);
PreferencePair pair_from(const JsonRef& json, const std::string& where);
ImagePreference image_preference_from(const JsonRef& json, const std::string& where);

// Parses one text after the other. What it gives is valid until the next call, and as long as the text is. Not thread-safe.
class JsonParser {
 public:
  JsonRef parse(std::string_view text, const std::string& where);  // DataError when it is no JSON

 private:
  simdjson::dom::parser parser_;
  std::string simplified_;
};

// One JSON value a line.
class JsonLineReader {
 public:
  explicit JsonLineReader(std::filesystem::path file) : lines_(std::move(file)) {}
  // False at the end. Empty lines are skipped; anything that is no JSON is a DataError. What is given is valid
  // until the next call. Text may hold NUL and lone surrogates; only the JsonRef form gives the latter as
  // they are (as three bytes), the other as U+FFFD.
  bool next(JsonRef& json);
  bool next(simdjson::dom::element& element);
  // The line itself, for QuickReader; and what parse() makes of it.
  bool next_line(std::string_view& line);
  JsonRef parse(std::string_view line) { return parser_.parse(line, where()); }
  std::string where() const { return lines_.where(); }

 private:
  LineReader lines_;
  JsonParser parser_;
};

template <class Record, auto from_json>
class RecordReader final : public Stream<Record> {
 public:
  explicit RecordReader(std::filesystem::path file) : lines_(std::move(file)) {}
  bool next(Record& record) override {
    std::string_view line;
    if (!lines_.next_line(line)) return false;
    if (!quick_.read(line, record)) record = from_json(lines_.parse(line), lines_.where());
    return true;
  }

 private:
  JsonLineReader lines_;
  QuickReader quick_;
};
using PromptReader = RecordReader<Prompt, prompt_from>;
using PairReader = RecordReader<PreferencePair, pair_from>;
using ImagePreferenceReader = RecordReader<ImagePreference, image_preference_from>;

std::vector<Prompt> read_prompts(const std::filesystem::path& file);

}  // namespace dt2it
