// SPDX-License-Identifier: Apache-2.0
#include "core/stages/verdicts.hpp"

#include <set>

#include "core/data/names.hpp"
#include "core/data/records.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

using simdjson::dom::element;

void text(JsonWriter& json, std::string_view key, const std::string& value) {
  if (!value.empty()) json.key(key).value(value);
}

std::string text_of(const element& json, std::string_view key) {
  std::string_view text;
  return json[key].get(text) ? std::string() : std::string(text);
}

JudgedSample sample_from(const element& json, const std::string& where) {
  JudgedSample sample;
  element verdict;
  if (json["chosen_first"].get(sample.chosen_first) || json["verdict"].get(verdict))
    throw DataError(where + ": a sample has 'chosen_first' (true or false) and 'verdict'");
  sample.form = text_of(json, "form");
  sample.verdict.status = status_from(text_of(verdict, "status"), where);
  if (sample.verdict.ok()) {
    const std::string name = text_of(verdict, "winner");
    const auto winner = value_named<Verdict::Winner>(kWinnerNames, name);
    if (!winner)
      throw DataError(where + ": 'winner' is '" + name + "' (allowed: first, second, tie)");
    sample.verdict.winner = *winner;
  }
  double score = 0;
  if (!verdict["first_score"].get(score)) sample.verdict.first_score = score;
  if (!verdict["second_score"].get(score)) sample.verdict.second_score = score;
  sample.verdict.detail = text_of(verdict, "detail");
  sample.verdict.reply = text_of(verdict, "reply");
  return sample;
}

}  // namespace

std::string to_json(const JudgedItem& item, const std::string& benchmark) {
  JsonWriter json;
  json.begin_object().key("benchmark").value(benchmark).key("row").value(item.row);
  text(json, "id", item.id);
  text(json, "group", item.group);
  text(json, "media", item.media);
  json.key("key").value(item.key).key("length").value(item.length);
  text(json, "extra", item.extra);
  json.key("samples").begin_array();
  for (const JudgedSample& sample : item.samples) {
    const Verdict& verdict = sample.verdict;
    json.begin_object().key("chosen_first").value(sample.chosen_first);
    text(json, "form", sample.form);
    json.key("verdict").begin_object().key("status").value(to_string(verdict.status));
    if (verdict.ok()) json.key("winner").value(name_of(kWinnerNames, verdict.winner));
    if (verdict.first_score) json.key("first_score").value(*verdict.first_score);
    if (verdict.second_score) json.key("second_score").value(*verdict.second_score);
    text(json, "detail", verdict.detail);
    text(json, "reply", verdict.reply);
    json.end_object().end_object();
  }
  json.end_array().end_object();
  return json.text();
}

std::vector<JudgedItem> read_judged(const std::filesystem::path& file,
                                    const std::string& benchmark) {
  JsonLineReader lines(file);
  std::vector<JudgedItem> items;
  std::set<std::string> found;
  for (element line; lines.next(line);) {
    const std::string of = text_of(line, "benchmark");
    found.insert(of);
    if (!benchmark.empty() && of != benchmark) continue;
    JudgedItem item;
    simdjson::dom::array samples;
    std::int64_t row = 0, length = 0;
    if (line["row"].get(row) || line["length"].get(length) || line["samples"].get(samples))
      throw DataError(lines.where() +
                      ": no line of verdicts as an evaluate stage keeps them in verdicts.jsonl "
                      "('row', 'length' and "
                      "'samples' are expected)");
    item.row = static_cast<std::size_t>(row);
    item.length = static_cast<std::size_t>(length);
    item.id = text_of(line, "id");
    item.group = text_of(line, "group");
    item.media = text_of(line, "media");
    item.key = text_of(line, "key");
    item.extra = text_of(line, "extra");
    for (const element sample : samples) item.samples.push_back(sample_from(sample, lines.where()));
    items.push_back(std::move(item));
  }
  std::string names;
  for (const std::string& name : found) names += (names.empty() ? "" : ", ") + name;
  if (items.empty())
    throw DataError(file.string() + ": has no verdicts" +
                    (benchmark.empty() ? "" : " on '" + benchmark + "' (it has: " + names + ")"));
  if (benchmark.empty() && found.size() > 1)
    throw DataError(file.string() + ": has verdicts on several benchmarks (say which: " + names +
                    ")");
  return items;
}

}  // namespace dt2it
