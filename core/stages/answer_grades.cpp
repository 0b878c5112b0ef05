// SPDX-License-Identifier: Apache-2.0
#include "core/stages/answer_grades.hpp"

#include <algorithm>
#include <cmath>

#include "core/data/records.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

std::string text_of(const JsonRef& json, std::string_view key) {
  const auto member = json.member(key);
  std::string_view text;
  return member && member->element.get(text) == simdjson::SUCCESS ? std::string(text)
                                                                  : std::string();
}

std::optional<double> number_of(const JsonRef& json, std::string_view key) {
  const auto member = json.member(key);
  double number = 0;
  if (!member || member->element.get(number) != simdjson::SUCCESS) return std::nullopt;
  return number;
}

Status status_of(const JsonRef& json, const std::string& where) {
  const std::string name = text_of(json, "status");
  return name.empty() ? Status::ok : status_from(name, where);
}

AnswerGrade grade_from(const JsonRef& json, const std::string& where) {
  AnswerGrade grade;
  grade.status = status_of(json, where);
  if (const auto score = number_of(json, "score")) grade.score = *score;
  grade.reference_score = number_of(json, "reference_score").value_or(0);
  if (const auto marks = json.member("marks"))
    for (const auto& [name, value] : marks->members()) {
      double number = 0;
      if (value.element.get(number) == simdjson::SUCCESS) grade.marks[name] = number;
    }
  grade.judge = text_of(json, "judge");
  grade.model = text_of(json, "model");
  grade.temperature = number_of(json, "temperature");
  if (const auto replies = json.member("replies"))
    for (const JsonRef& reply : replies->items()) {
      std::string_view text;
      if (reply.element.get(text) == simdjson::SUCCESS) grade.replies.emplace_back(text);
    }
  grade.detail = text_of(json, "detail");
  return grade;
}

Reward reward_from(const JsonRef& json, const std::string& where) {
  Reward reward;
  reward.status = status_of(json, where);
  if (const auto value = number_of(json, "value")) reward.value = *value;
  reward.detail = text_of(json, "detail");
  return reward;
}

template <class Item, auto from>
std::vector<Item> list_of(const JsonRef& line, std::string_view key, const std::string& where) {
  const auto list = line.member(key);
  if (!list || !list->is_array())
    throw DataError(where + ": a list '" + std::string(key) + "' is expected");
  std::vector<Item> items;
  for (const JsonRef& item : list->items()) items.push_back(from(item, where));
  return items;
}

template <class Item, auto from>
std::vector<std::vector<Item>> read_lists(const std::filesystem::path& file, std::string_view key) {
  std::vector<std::vector<Item>> all;
  JsonLineReader lines(file);
  for (JsonRef line; lines.next(line);)
    all.push_back(list_of<Item, from>(line, key, lines.where()));
  return all;
}

}  // namespace

std::string grades_line(const std::string& id, std::span<const AnswerGrade> grades) {
  JsonWriter json;
  json.begin_object().key("id").value(id).key("grades").begin_array();
  for (const AnswerGrade& grade : grades) {
    json.begin_object();
    if (!grade.ok())
      json.key("status").value(to_string(grade.status)).key("detail").value(grade.detail);
    if (std::isfinite(grade.score)) json.key("score").value(grade.score);
    if (grade.reference_score != 0) json.key("reference_score").value(grade.reference_score);
    if (!grade.marks.empty()) {
      json.key("marks").begin_object();
      for (const auto& [name, value] : grade.marks) json.key(name).value(value);
      json.end_object();
    }
    if (!grade.judge.empty()) json.key("judge").value(grade.judge);
    if (!grade.model.empty()) json.key("model").value(grade.model);
    if (grade.temperature) json.key("temperature").value(*grade.temperature);
    if (!grade.replies.empty()) {
      json.key("replies").begin_array();
      for (const std::string& reply : grade.replies) json.value(reply);
      json.end_array();
    }
    json.end_object();
  }
  json.end_array().end_object();
  return json.text();
}

std::vector<std::vector<AnswerGrade>> read_grades(const std::filesystem::path& file) {
  return read_lists<AnswerGrade, grade_from>(file, "grades");
}

std::string rewards_line(const std::string& id, std::span<const Reward> rewards) {
  JsonWriter json;
  json.begin_object().key("id").value(id).key("rewards").begin_array();
  for (const Reward& reward : rewards) {
    json.begin_object();
    if (reward.ok())
      json.key("value").value(reward.value);
    else
      json.key("status").value(to_string(reward.status)).key("detail").value(reward.detail);
    json.end_object();
  }
  json.end_array().end_object();
  return json.text();
}

std::vector<std::vector<Reward>> read_rewards(const std::filesystem::path& file) {
  return read_lists<Reward, reward_from>(file, "rewards");
}

std::vector<Reward> rewards_of_line(const std::string& line, const std::string& where) {
  JsonParser parser;
  return list_of<Reward, reward_from>(parser.parse(line, where), "rewards", where);
}

std::size_t pick_best(std::span<const double> values) {
  std::size_t best = values.size();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isnan(values[i]) && (best == values.size() || values[i] > values[best])) best = i;
  return best;
}

std::vector<double> subset_weights(std::span<const double> values, std::size_t k) {
  const std::size_t n = values.size();
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < n; ++i)
    if (!std::isnan(values[i])) order.push_back(i);
  // Best first, the lower position before the higher: the order in which pick_best prefers.
  std::ranges::stable_sort(order,
                           [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
  std::vector<double> weights(n, 0);
  // The one of rank r is taken when it is drawn and none of the r before it is: C(n-1-r, k-1) / C(n, k).
  double weight = static_cast<double>(k) / static_cast<double>(n);
  for (std::size_t r = 0; r < order.size() && n - 1 - r + 1 >= k; ++r) {
    weights[order[r]] = weight;
    if (n - 1 - r == 0) break;
    weight *= static_cast<double>(n - r - k) / static_cast<double>(n - 1 - r);
  }
  return weights;
}

std::vector<std::size_t> subset_sizes(std::size_t n) {
  std::vector<std::size_t> sizes;
  for (std::size_t k = 1; k < n; k *= 2) sizes.push_back(k);
  if (n > 0) sizes.push_back(n);
  return sizes;
}

}  // namespace dt2it
