// SPDX-License-Identifier: Apache-2.0
#include "core/score/score_lines.hpp"

#include <simdjson.h>

#include <optional>

#include "core/data/records.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

void write_reward(JsonWriter& json, const Reward& reward) {
  if (reward.ok())
    json.value(reward.value);
  else
    json.null();
}

Reward reward_from(const simdjson::dom::element& value, Status status, const std::string& where) {
  Reward reward;
  if (value.is_null()) {
    reward.status = status == Status::ok ? Status::invalid : status;
    return reward;
  }
  if (value.get(reward.value)) throw DataError(where + ": a reward is not a number");
  reward.status = Status::ok;
  return reward;
}

}  // namespace

std::string to_json(const ScoreLine& line) {
  JsonWriter json;
  json.begin_object();
  json.key("id").value(line.id).key("row").value(line.row);
  json.key("status").value(to_string(line.status));
  const Reward none;
  const auto reward = [&](std::size_t i) -> const Reward& {
    return i < line.rewards.size() ? line.rewards[i] : none;
  };
  switch (line.form) {
    case ScoreLine::Form::pair: {
      const Reward &chosen = reward(0), &rejected = reward(1);
      write_reward(json.key("chosen"), chosen);
      write_reward(json.key("rejected"), rejected);
      if (chosen.ok() && rejected.ok()) json.key("margin").value(chosen.value - rejected.value);
      break;
    }
    case ScoreLine::Form::candidates: {
      std::optional<std::size_t> best;
      json.key("rewards").begin_array();
      for (std::size_t i = 0; i < line.rewards.size(); ++i) {
        const Reward& one = line.rewards[i];
        write_reward(json, one);
        if (one.ok() && (!best || one.value > line.rewards[*best].value)) best = i;
      }
      json.end_array();
      if (best) json.key("best").value(*best);
      break;
    }
    case ScoreLine::Form::single: write_reward(json.key("reward"), reward(0)); break;
  }
  if (!line.detail.empty()) json.key("detail").value(line.detail);
  return json.end_object().text();
}

ScoreLine score_line_from(std::string_view text, const std::string& where) {
  thread_local simdjson::dom::parser parser;
  simdjson::dom::element root, value;
  simdjson::dom::object object;
  if (parser.parse(text.data(), text.size()).get(root) || root.get(object))
    throw DataError(where + ": is no JSON object");
  ScoreLine line;
  std::uint64_t row = 0;
  std::string_view id, status, detail;
  if (object["row"].get(row) || object["id"].get(id) || object["status"].get(status))
    throw DataError(where + ": is no line of scores ('id', 'row' and 'status' are expected)");
  line.row = row;
  line.id = id;
  line.status = status_from(status, where);
  if (!object["detail"].get(detail)) line.detail = detail;
  simdjson::dom::array list;
  if (!object["chosen"].get(value)) {
    line.rewards.push_back(reward_from(value, line.status, where));
    if (object["rejected"].get(value)) throw DataError(where + ": has 'chosen' without 'rejected'");
    line.rewards.push_back(reward_from(value, line.status, where));
  } else if (!object["rewards"].get(list)) {
    line.form = ScoreLine::Form::candidates;
    for (const auto& item : list) line.rewards.push_back(reward_from(item, line.status, where));
  } else if (!object["reward"].get(value)) {
    line.form = ScoreLine::Form::single;
    line.rewards.push_back(reward_from(value, line.status, where));
  } else {
    throw DataError(where + ": has neither 'chosen' and 'rejected', nor 'rewards', nor 'reward'");
  }
  return line;
}

void ScoreTotals::add(const ScoreLine& line) {
  ++records;
  ++statuses[line.status];
  if (line.form == ScoreLine::Form::candidates) ++candidate_sets;
  if (line.form == ScoreLine::Form::single) ++singles;
  if (line.form != ScoreLine::Form::pair) return;
  ++pairs;
  if (line.rewards.size() != 2 || !line.rewards[0].ok() || !line.rewards[1].ok()) return;
  const double margin = line.rewards[0].value - line.rewards[1].value;
  ++scored_pairs;
  correct += margin > 0;
  ties += margin == 0;
  margin_sum += margin;
}

std::size_t ScoreTotals::failed() const {
  const auto fine = statuses.find(Status::ok);
  return records - (fine == statuses.end() ? 0 : fine->second);
}

}  // namespace dt2it
