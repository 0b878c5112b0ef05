// SPDX-License-Identifier: Apache-2.0
#include "core/stages/planned_pairs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/util/jsonl.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"
#include "dt2it/reformulator.hpp"

namespace dt2it {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kKept = 24;             // of a source
constexpr double kLongestReading = 0.5;       // seconds; then how many are left is guessed
constexpr std::size_t kAssumedAnswer = 1600;  // bytes

void add(PairsAhead& pairs, PreferencePair pair, std::int64_t count = 1) {
  SourceOfPairs& source = pairs.sources[pair.source];
  source.count += count;
  if (source.sample.size() < kKept) source.sample.push_back(std::move(pair));
}

void scale_to(PairsAhead& pairs, std::int64_t count) {
  const std::int64_t there = pairs.count();
  if (there <= 0) return;
  for (auto& [name, source] : pairs.sources)
    source.count =
        static_cast<std::int64_t>(static_cast<double>(source.count) * static_cast<double>(count) /
                                      static_cast<double>(there) +
                                  0.5);
}

const ComponentConfig& dataset_of(const PlannedStage& stage) {
  const std::string name = text_of(stage.config.params, "dataset");
  for (const ComponentConfig& component : stage.components)
    if (component.kind == Dataset::kKind && component.name == name) return component;
  throw ConfigError(fmt::format("no [datasets.{}] is defined", name));
}

// Records until the stream ends, or it has taken long: then how many there will be by what the data
// set says.
template <class Record, class Use>
std::int64_t read_some(Stream<Record>& stream, Dataset& dataset, const Table& params,
                       std::int64_t limit, Use use) {
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::duration<double>(kLongestReading);
  std::int64_t count = 0;
  for (Record record; (limit == 0 || count < limit) && stream.next(record); ++count) {
    if (count >= static_cast<std::int64_t>(kKept) && std::chrono::steady_clock::now() > end) {
      const std::int64_t all =
          std::max({count, records_of(params), static_cast<std::int64_t>(dataset.count_answers())});
      return limit > 0 ? std::min(limit, all) : all;
    }
    use(std::move(record));
    record = {};
  }
  return count;
}

}  // namespace

std::int64_t integer_of(const Table& params, const char* name, std::int64_t fallback) {
  const auto it = params.find(name);
  const auto* value = it == params.end() ? nullptr : std::get_if<std::int64_t>(&it->second.data);
  return value ? *value : fallback;
}

std::string text_of(const Table& params, const char* name) {
  const auto it = params.find(name);
  const auto* value = it == params.end() ? nullptr : std::get_if<std::string>(&it->second.data);
  return value ? *value : std::string();
}

std::vector<std::string> texts_of(const Table& params, const char* name) {
  std::vector<std::string> texts;
  const auto it = params.find(name);
  if (it == params.end()) return texts;
  if (const auto* list = std::get_if<List>(&it->second.data))
    for (const Value& item : *list)
      if (const auto* text = std::get_if<std::string>(&item.data)) texts.push_back(*text);
  return texts;
}

std::int64_t records_of(const Table& dataset) {
  std::int64_t count = integer_of(dataset, "count", 0);
  if (const fs::path file = text_of(dataset, "file"); fs::is_regular_file(file)) {
    LineReader lines(file);
    std::int64_t there = 0;
    for (std::string_view line; lines.next(line);) there += !line.empty();
    count = std::max(count, there);
  }
  return count;
}

const std::optional<PairsAhead>& PlannedPairs::of(const PlannedStage& stage) {
  const auto found = known_.find(stage.config.name);
  return found != known_.end() ? found->second
                               : known_.emplace(stage.config.name, find(stage)).first->second;
}

std::optional<PairsAhead> PlannedPairs::before(const PlannedStage& stage) {
  PairsAhead all;
  // Other inputs are models and votes that curators use.
  for (const std::string& input : texts_of(stage.config.params, "pairs")) {
    const PlannedStage* at = graph_.find(input);
    if (!at) continue;
    const std::optional<PairsAhead>& pairs = of(*at);
    if (!pairs) return std::nullopt;
    all.at_most = all.at_most || pairs->at_most;
    for (const auto& [name, source] : pairs->sources) {
      SourceOfPairs& to = all.sources[name];
      to.count += source.count;
      for (const PreferencePair& pair : source.sample)
        if (to.sample.size() < kKept) to.sample.push_back(pair);
    }
  }
  return all;
}

std::optional<PairsAhead> PlannedPairs::find(const PlannedStage& stage) {
  const std::string& type = stage.config.type;
  if (store_.complete(stage.folder()))
    if (const fs::path file = store_.finished(stage.folder()) / layout::kPairs; fs::exists(file))
      return read(file);
  if (type == "collect_pairs") return collected(stage);
  if (type == "reformulate") return reformulated(stage);
  if (type == "curate" || type == "mix") {
    std::optional<PairsAhead> pairs = before(stage);
    if (!pairs) return pairs;
    if (type == "curate") pairs->at_most = true;
    if (const std::int64_t sample = integer_of(stage.config.params, "sample", 0);
        sample > 0 && sample < pairs->count())
      scale_to(*pairs, sample);
    return pairs;
  }
  if (type != "pair") return std::nullopt;
  const std::optional<Distilled> distilled = distil_(stage);
  if (!distilled) return std::nullopt;
  PairsAhead pairs;
  pairs.at_most = true;
  for (const Prompt& prompt : distilled->sample) {
    PreferencePair pair;
    pair.id = prompt.id;
    pair.prompt = prompt;
    pair.chosen.text = std::string(kAssumedAnswer, 'x');
    pair.rejected.text = std::string(kAssumedAnswer, 'y');
    pair.source = stage.config.name;
    add(pairs, std::move(pair));
  }
  scale_to(pairs, distilled->pairs);
  return pairs;
}

PairsAhead PlannedPairs::read(const fs::path& file) const {
  PairsAhead pairs;
  PairReader reader(file);
  for (PreferencePair pair; reader.next(pair);) add(pairs, std::move(pair));
  return pairs;
}

PairsAhead PlannedPairs::collected(const PlannedStage& stage) {
  const auto scope = make_scope_(stage);
  const auto dataset = scope->context().component<Dataset>(text_of(stage.config.params, "dataset"));
  PairsAhead pairs;
  const auto stream = dataset->pairs();
  scale_to(pairs, read_some(*stream, *dataset, dataset_of(stage).params,
                            integer_of(stage.config.params, "limit", 0),
                            [&](PreferencePair pair) { add(pairs, std::move(pair)); }));
  return pairs;
}

PairsAhead PlannedPairs::reformulated(const PlannedStage& stage) {
  const auto scope = make_scope_(stage);
  const Table& params = stage.config.params;
  const auto dataset = scope->context().component<Dataset>(text_of(params, "dataset"));
  const auto reformulator =
      scope->context().component<Reformulator>(text_of(params, "reformulator"));
  PairsAhead pairs;
  pairs.at_most = true;  // records that cannot be used are dropped
  const auto stream = dataset->image_preferences();
  const std::int64_t count =
      read_some(*stream, *dataset, dataset_of(stage).params, integer_of(params, "limit", 0),
                [&](const ImagePreference& preference) {
                  if (!preference.better.present() || !preference.worse.present()) return;
                  PreferencePair pair = reformulator->reformulate(preference);
                  if (pair.source.empty()) pair.source = text_of(params, "dataset");
                  add(pairs, std::move(pair));
                });
  scale_to(pairs, count);
  return pairs;
}

}  // namespace dt2it
