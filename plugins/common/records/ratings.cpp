// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/ratings.hpp"

#include <array>
#include <charconv>
#include <initializer_list>
#include <string_view>

#include "dt2it/error.hpp"
#include "plugins/common/records/record_fields.hpp"

namespace dt2it::records {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::array<std::string_view, 3> kAspects{"Helpfulness", "Ethical Considerations",
                                                   "Visual Faithfulness"};
constexpr std::string_view kMark = R"({"ratings":)";

// The value under `keys`, where item `index` is taken of the first list on the way.
std::optional<element> walk(element value, std::initializer_list<std::string_view> keys,
                            std::size_t index) {
  bool taken = false;
  const auto take = [&] {
    array list;
    if (taken || value.get(list)) return true;
    taken = true;
    return !list.at(index).get(value);
  };
  for (const std::string_view key : keys) {
    object members;
    if (!take() || value.get(members)) return std::nullopt;
    const auto found = find(members, key);
    if (!found) return std::nullopt;
    value = *found;
  }
  return take() && !value.is_null() ? std::optional(value) : std::nullopt;
}

std::optional<double> number_of(const element& rating) {
  double number = 0;
  std::string_view text;
  if (!rating.get(number)) return number;
  if (rating.get(text)) return std::nullopt;
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == text.npos) return std::nullopt;
  text = text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && number - number == 0 ? std::optional(number) : std::nullopt;
}

std::string ratings_of(const element& completions, std::size_t index) {
  std::string json(kMark);
  double sum = 0;
  std::size_t numbers = 0;
  for (const std::string_view aspect : kAspects) {
    const auto rating = walk(completions, {"annotations", aspect, "Rating"}, index);
    json += (aspect == kAspects.front() ? "{\"" : ",\"") + std::string(aspect) + "\":";
    json += rating ? std::string(simdjson::minify(*rating)) : "null";
    if (const auto number = rating ? number_of(*rating) : std::nullopt) {
      sum += *number;
      ++numbers;
    }
  }
  json += '}';
  if (numbers == kAspects.size()) {
    char text[40];
    const auto end =
        std::to_chars(text, text + sizeof text, sum / static_cast<double>(numbers)).ptr;
    json += ",\"score\":" + std::string(text, end);
  }
  return json + '}';
}

}  // namespace

std::vector<Response> rated_responses(const element& completions, const std::string& where) {
  array list;
  object columns;
  std::size_t count = 0;
  if (!completions.get(list))
    count = list.size();
  else if (!completions.get(columns) && !columns["response"].get(list))
    count = list.size();
  std::vector<Response> responses;
  for (std::size_t i = 0; i < count; ++i) {
    Response response;
    response.id = std::to_string(i);
    std::string_view text;
    const auto given = walk(completions, {"response"}, i);
    if (!given || given->get(text))
      throw DataError(where + ": completion " + std::to_string(i) + " has no text 'response'");
    response.text = text;
    if (const auto model = walk(completions, {"model"}, i); model && !model->get(text))
      response.mllm = text;
    response.extra = ratings_of(completions, i);
    responses.push_back(std::move(response));
  }
  if (responses.empty())
    throw DataError(where +
                    ": 'completions' holds no responses (allowed: a list of {model, response, "
                    "annotations}, or lists under these names)");
  return responses;
}

bool is_rated(const Response& response) { return response.extra.starts_with(kMark); }

std::optional<double> rating_of(const Response& response) {
  simdjson::dom::parser parser;
  double score = 0;
  if (!is_rated(response) || parser.parse(response.extra)["score"].get(score)) return std::nullopt;
  return score;
}

}  // namespace dt2it::records
