// SPDX-License-Identifier: Apache-2.0
#include "plugins/reward_models/replay/stored_rows.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "dt2it/names.hpp"
#include "plugins/common/judging/verdict_reading.hpp"
#include "plugins/common/records/record_fields.hpp"
#include "plugins/common/records/record_reader.hpp"

namespace dt2it::replay {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

Reward reward_from(const element& value, const std::string& name, const std::string& where) {
  double reward = 0;
  if (value.is_null()) return {};
  if (value.get(reward))
    throw DataError(where + ": field '" + name +
                    "' is not a number (null is allowed for a failure)");
  return std::isfinite(reward) ? Reward{Status::ok, reward, {}} : Reward{};
}

Reward required_reward(const object& record, const char* name, const std::string& where) {
  element value;
  if (record.at_key(name).get(value))
    throw DataError(where + ": field '" + name +
                    "' is missing (a number, or null for a failure, is expected)");
  return reward_from(value, name, where);
}

// A reply in one of the forms that suites ask for.
JudgedSample sample_from(bool chosen_first, const char* form, std::string reply) {
  JudgedSample sample{chosen_first, form, {}};
  int place = 0;
  if (sample.form == "answers") {
    place = judging::answer_number(reply).value_or(0);
  } else {
    const char letter = judging::bracket_letter(reply);
    place = letter == 'A' ? 1 : letter == 'B' ? 2 : 0;
  }
  sample.verdict.status = place == 1 || place == 2 ? Status::ok : Status::unparsed;
  sample.verdict.winner = place == 2 ? Verdict::Winner::second : Verdict::Winner::first;
  if (!sample.verdict.ok()) sample.verdict.detail = "the reply names neither side";
  sample.verdict.reply = std::move(reply);
  return sample;
}

StoredRow bracket_row(const object& record, const std::string& where) {
  StoredRow row;
  row.id = records::required_text(record, "ID", where);
  const std::string label = records::required_text(record, "Label", where);
  if (label != "A" && label != "B")
    throw DataError(where + ": field 'Label' is '" + label + "' (allowed: A, B)");
  row.samples = {
      sample_from(label == "A", "brackets", records::optional_text(record, "output", where))};
  return row;
}

StoredRow answer_row(const object& record, const std::string& where) {
  StoredRow row;
  const auto responses = records::text_list(record, "response", 2, where);
  row.key = key_of(records::required_text(record, "id", where),
                   records::required_text(record, "query", where), responses[0], responses[1]);
  const auto ranking = records::find(record, "ranking");
  const std::string ranks = ranking ? simdjson::minify(*ranking) : "";
  element meta;
  std::int64_t order = 0;
  if ((ranks != "[0,1]" && ranks != "[1,0]") || record.at_key("meta").get(meta) ||
      meta["random_number"].get(order))
    throw DataError(where +
                    ": 'ranking' ([0, 1] or [1, 0]) and 'meta' with 'random_number' are expected");
  std::string_view reply;
  if (meta["filter_choice"].get(reply)) reply = {};
  row.samples = {sample_from((ranks == "[0,1]") == (order == 0), "answers", std::string(reply))};
  return row;
}

Status status_named(std::string_view name, const std::string& where) {
  const auto status = value_named<Status>(kStatusNames, name);
  if (!status) throw DataError(where + ": 'status' of a verdict is '" + std::string(name) + "'");
  return *status;
}

StoredRow own_row(const object& record, const std::string& where) {
  StoredRow row;
  row.benchmark = records::optional_text(record, "benchmark", where);
  row.id = records::optional_text(record, "id", where);
  row.samples.emplace();
  simdjson::dom::array samples;
  if (record.at_key("samples").get(samples)) throw DataError(where + ": 'samples' must be a list");
  for (const element one : samples) {
    JudgedSample sample;
    object verdict;
    std::string_view text;
    if (one["chosen_first"].get(sample.chosen_first) || one["verdict"].get(verdict))
      throw DataError(where + ": a sample has 'chosen_first' (true or false) and 'verdict'");
    if (!one["form"].get(text)) sample.form = text;
    sample.verdict.status = status_named(records::required_text(verdict, "status", where), where);
    const std::string winner = records::optional_text(verdict, "winner", where);
    sample.verdict.winner = winner == "first"    ? Verdict::Winner::first
                            : winner == "second" ? Verdict::Winner::second
                                                 : Verdict::Winner::tie;
    double score = 0;
    if (!verdict["first_score"].get(score)) sample.verdict.first_score = score;
    if (!verdict["second_score"].get(score)) sample.verdict.second_score = score;
    sample.verdict.detail = records::optional_text(verdict, "detail", where);
    sample.verdict.reply = records::optional_text(verdict, "reply", where);
    row.samples->push_back(std::move(sample));
  }
  return row;
}

StoredRow row_from(const object& record, const std::string& where) {
  element value;
  if (!record.at_key("samples").get(value)) return own_row(record, where);
  if (!record.at_key("rewards").get(value)) {
    simdjson::dom::array two;
    if (value.get(two) || two.size() != 2)
      throw DataError(where +
                      ": field 'rewards' is no list of two numbers, the chosen response's first");
    StoredRow row;
    for (std::size_t i = 0; i < 2; ++i)
      row.rewards[i] = reward_from(two.at(i).value(), "rewards", where);
    return row;
  }
  if (records::find(record, "Label")) return bracket_row(record, where);
  if (records::find(record, "ranking")) return answer_row(record, where);
  StoredRow row;
  row.rewards = {required_reward(record, "chosen", where),
                 required_reward(record, "rejected", where)};
  return row;
}

// Lines of samples as rows again. Each row has as many; rows that are equal may stand side by side.
std::vector<StoredRow> gathered(std::vector<StoredRow> lines) {
  std::size_t samples = 0, run = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    ++run;
    if (i + 1 < lines.size() && lines[i + 1].key == lines[i].key) continue;
    samples = std::gcd(samples, run);
    run = 0;
  }
  std::vector<StoredRow> rows;
  for (StoredRow& line : lines) {
    if (!rows.empty() && rows.back().samples->size() < samples)
      rows.back().samples->push_back(std::move(line.samples->front()));
    else
      rows.push_back(std::move(line));
  }
  return rows;
}

}  // namespace

std::string key_of(const std::string& id, std::string question, std::string one, std::string two) {
  if (two < one) std::swap(one, two);
  return id + '\n' + records::strip_image_tokens(question) + '\n' + one + '\n' + two;
}

std::vector<StoredRow> read_stored(const std::filesystem::path& file) {
  records::RecordReader reader(
      records::find_data_file(file, {"generated_predictions.jsonl", "verdicts.jsonl"}));
  std::vector<StoredRow> rows;
  object record;
  while (reader.next(record)) {
    object inner;  // VL-RewardBench's older outputs
    if (!record.at_key("0").get(inner)) record = inner;
    StoredRow row = row_from(record, reader.where());
    row.where = reader.where();
    if (!rows.empty() && (row.samples.has_value() != rows.front().samples.has_value() ||
                          row.key.empty() != rows.front().key.empty()))
      throw DataError(row.where + ": is of another form than the records before it");
    rows.push_back(std::move(row));
  }
  return !rows.empty() && !rows.front().key.empty() ? gathered(std::move(rows)) : rows;
}

}  // namespace dt2it::replay
