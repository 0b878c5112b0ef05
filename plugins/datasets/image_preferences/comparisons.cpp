// SPDX-License-Identifier: Apache-2.0
#include "plugins/datasets/image_preferences/comparisons.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "dt2it/error.hpp"
#include "plugins/common/records/record_fields.hpp"

namespace dt2it::t2i {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw DataError(where + ": " + what);
}

std::vector<element> list_of(const object& record, const char* name, const std::string& where) {
  const auto value = records::find(record, name);
  array list;
  if (!value || value->get(list)) fail(where, "field '" + std::string(name) + "' must be a list");
  return {list.begin(), list.end()};
}

double number_of(const element& value, const char* name, const std::string& where) {
  double number = 0;
  if (value.get(number) || !std::isfinite(number))
    fail(where, "field '" + std::string(name) + "' must hold numbers");
  return number;
}

std::optional<std::string> text_of(const object& record, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const auto value = records::find(record, name))
      if (std::string_view text; !value->get(text)) return std::string(text);
  return std::nullopt;
}

Comparison hpdv2(const object& record, const std::string& where) {
  Comparison made;
  made.text = records::required_text(record, "prompt", where);
  const bool train = records::find(record, "human_preference").has_value();
  const char* label = train ? "human_preference" : "rank";
  const auto images =
      list_of(record, records::find(record, "file_path") ? "file_path" : "image_path", where);
  const auto labels = list_of(record, label, where);
  if (images.size() != labels.size() || images.size() < 2)
    fail(where, "has " + std::to_string(images.size()) + " images and " +
                    std::to_string(labels.size()) + " values of '" + label + "'");
  for (std::size_t i = 0; i < images.size(); ++i) {
    const double value = number_of(labels[i], label, where);
    made.images.push_back({simdjson::minify(images[i]), train ? value : -value});
  }
  return made;
}

Comparison evalmuse(const object& record, const std::string& where) {
  Comparison made;
  made.text = records::required_text(record, "prompt", where);
  const auto image =
      records::find(record, records::find(record, "img_path") ? "img_path" : "image");
  if (!image) fail(where, "has no image (looked for 'img_path', 'image')");
  const auto score = records::find(record, "total_score");
  if (!score) fail(where, "field 'total_score' is missing");
  array list;
  double sum = 0;
  std::size_t count = 0;
  if (!score->get(list)) {
    for (const element& one : list) {
      sum += number_of(one, "total_score", where);
      ++count;
    }
    if (count == 0) fail(where, "field 'total_score' is an empty list");
  } else {
    sum = number_of(*score, "total_score", where);
    count = 1;
  }
  made.images.push_back({simdjson::minify(*image), sum / static_cast<double>(count)});
  return made;
}

std::string answer(const object& record, const char* name, const std::string& where) {
  const auto value = records::find(record, name);
  if (!value) fail(where, "field '" + std::string(name) + "' is missing");
  std::string_view text;
  if (!value->get(text)) return std::string(text);
  object message;
  if (!value->get(message))
    if (const auto content = text_of(message, {"value", "content"})) return *content;
  fail(where, "field '" + std::string(name) + "' is no text and no message");
}

Comparison omni(const object& record, const std::string& where) {
  Comparison made;
  made.text = answer(record, "chosen", where);
  if (answer(record, "rejected", where) != made.text)
    fail(where,
         "'chosen' and 'rejected' differ: a text-to-image preference has the same caption in both");
  const auto images = list_of(record, "images", where);
  if (images.size() != 2)
    fail(where, "has " + std::to_string(images.size()) +
                    " images (allowed: two, the preferred one first)");
  made.images = {{simdjson::minify(images[0]), 1}, {simdjson::minify(images[1]), 0}};
  return made;
}

}  // namespace

Comparison parse_comparison(const object& record, Form form, const std::string& where) {
  if (form == Form::automatic) {
    if (records::find(record, "human_preference") || records::find(record, "rank"))
      form = Form::hpdv2;
    else if (records::find(record, "total_score"))
      form = Form::evalmuse;
    else if (records::find(record, "chosen") && records::find(record, "images"))
      form = Form::omni;
    else
      fail(where,
           "is no text-to-image preference that is known (allowed: HPDv2 with 'human_preference' "
           "or 'rank', EvalMuse with "
           "'total_score', Omni-Reward with 'chosen', 'rejected' and 'images')");
  }
  Comparison made = form == Form::hpdv2      ? hpdv2(record, where)
                    : form == Form::evalmuse ? evalmuse(record, where)
                                             : omni(record, where);
  if (made.text.empty()) fail(where, "the text is empty");
  return made;
}

Couples couples_of(const std::vector<Rated>& images, double min_gap, std::size_t most, Rng rng) {
  Couples made;
  for (std::size_t i = 0; i < images.size(); ++i)
    for (std::size_t j = i + 1; j < images.size(); ++j) {
      const double gap = images[i].score - images[j].score;
      if (gap == 0)
        ++made.ties;
      else if (!(std::abs(gap) > min_gap))
        ++made.close;
      else
        made.kept.push_back(gap > 0 ? Couple{i, j} : Couple{j, i});
    }
  if (most > 0 && made.kept.size() > most) {
    std::vector<std::size_t> drawn = rng.permutation(made.kept.size());
    drawn.resize(most);
    std::sort(drawn.begin(), drawn.end());
    std::vector<Couple> few;
    for (const std::size_t i : drawn) few.push_back(made.kept[i]);
    made.over = made.kept.size() - few.size();
    made.kept = std::move(few);
  }
  return made;
}

}  // namespace dt2it::t2i
