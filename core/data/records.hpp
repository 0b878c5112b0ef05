// SPDX-License-Identifier: Apache-2.0
#pragma once

// The records of types.hpp as JSON lines: keys are the members' names, empty members are left out, unknown
// keys are kept byte for byte in `extra` and written back behind the known ones. Reading is strict about
// types: DataError names file, line, key and what is allowed.

#include <simdjson.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

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
std::string to_json(const TrainStep& step);

// `where` ("file:line") starts every message.
Prompt prompt_from(const simdjson::dom::element& json, const std::string& where);
Response response_from(const simdjson::dom::element& json, const std::string& where);
Score score_from(const simdjson::dom::element& json, const std::string& where);
PreferencePair pair_from(const simdjson::dom::element& json, const std::string& where);
ImagePreference image_preference_from(const simdjson::dom::element& json, const std::string& where);

// One JSON value a line.
class JsonLineReader {
 public:
  explicit JsonLineReader(std::filesystem::path file) : lines_(std::move(file)) {}
  // False at the end. Empty lines are skipped; anything that is no JSON is a DataError. The element is
  // valid until the next call.
  bool next(simdjson::dom::element& element);
  std::string where() const { return lines_.where(); }

 private:
  LineReader lines_;
  simdjson::dom::parser parser_;
};

class PairReader final : public Stream<PreferencePair> {
 public:
  explicit PairReader(std::filesystem::path file) : lines_(std::move(file)) {}
  bool next(PreferencePair& pair) override;

 private:
  JsonLineReader lines_;
};

std::vector<Prompt> read_prompts(const std::filesystem::path& file);

}  // namespace dt2it
