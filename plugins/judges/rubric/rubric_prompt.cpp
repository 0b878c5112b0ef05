// SPDX-License-Identifier: Apache-2.0
#include "rubric_prompt.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cctype>

#include "dt2it/error.hpp"
#include "plugins/common/judging/material.hpp"
#include "rubric_text.hpp"

namespace dt2it::rubric {
namespace {

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

// The form of the reply, spelled out with the real criterion names.
std::string reply_form(Task task, std::span<const CriterionSpec> criteria) {
  std::string weights, analysis, scores;
  for (const CriterionSpec& criterion : criteria) {
    const std::string_view comma = weights.empty() ? "" : ", ";
    weights += fmt::format("{}\"{}\": 0.00", comma, criterion.name);
    analysis += fmt::format("{}\"{}\": \"...\"", comma, criterion.name);
    scores += fmt::format("{}\"{}\": 0", comma, criterion.name);
  }
  const auto response = [&](std::string_view id) {
    return fmt::format(
        "    {{\"id\": {}, \"analysis\": {{{}}},\n     \"scores\": {{{}}}, \"overall\": 0.00}}", id,
        analysis, scores);
  };
  std::string form = "{\n  \"reference_answer\": \"...\",\n  \"weights\": {" + weights + "},\n";
  form += "  \"responses\": [\n" + response("1");
  if (task == Task::pairwise) form += ",\n" + response("2");
  if (task == Task::listwise) form += ",\n    ... one entry for each response";
  form += "\n  ]";
  if (task == Task::pairwise) form += ",\n  \"better\": \"1\" or \"2\" or \"tie\"";
  return form + "\n}";
}

}  // namespace

std::string_view task_name(Task task) {
  switch (task) {
    case Task::listwise: return "listwise";
    case Task::pointwise: return "pointwise";
    case Task::pairwise: break;
  }
  return "pairwise";
}

std::vector<CriterionSpec> make_criteria(std::span<const std::string> entries) {
  if (entries.empty()) throw ConfigError("criteria: at least one criterion is needed");
  std::vector<CriterionSpec> criteria;
  for (const std::string& entry : entries) {
    const std::size_t colon = entry.find(':');
    CriterionSpec criterion;
    criterion.name = entry.substr(0, colon);
    while (!criterion.name.empty() && is_space(criterion.name.back())) criterion.name.pop_back();
    const bool plain = std::all_of(criterion.name.begin(), criterion.name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
    if (criterion.name.empty() || !plain)
      throw ConfigError(
          "criteria: '" + entry +
          "' (allowed: name, or name: what to look at; a name has a-z, 0-9 and _ only)");
    for (const CriterionSpec& earlier : criteria)
      if (earlier.name == criterion.name)
        throw ConfigError("criteria: '" + criterion.name + "' stands twice");

    criterion.title = criterion.name;
    std::replace(criterion.title.begin(), criterion.title.end(), '_', ' ');
    criterion.title.front() =
        static_cast<char>(std::toupper(static_cast<unsigned char>(criterion.title[0])));
    criterion.what = kPlainCriterion;
    for (const CriterionText& known : kCriteria)
      if (known.name == criterion.name) {
        criterion.title = known.title;
        criterion.what = known.what;
      }
    if (colon != std::string::npos) {
      std::size_t start = colon + 1;
      while (start < entry.size() && is_space(entry[start])) ++start;
      criterion.what = entry.substr(start);
    }
    criteria.push_back(std::move(criterion));
  }
  return criteria;
}

std::string rubric_text(Task task, const PromptOptions& options) {
  const bool many = task != Task::pointwise;
  std::string text(task == Task::listwise    ? kListwiseIntro
                   : task == Task::pointwise ? kPointwiseIntro
                                             : kPairwiseIntro);
  text += fmt::format("\n\n{}\n\n## Criteria\n", kMaterial);
  int number = 0;
  for (const CriterionSpec& criterion : options.criteria)
    text += fmt::format("{}. {} (\"{}\"): {}\n", ++number, criterion.title, criterion.name,
                        criterion.what);
  text += fmt::format("\n{}\n\n## How to proceed\n", kScale);

  std::vector<std::string_view> steps{kStepReference, kStepWeights,
                                      many ? kStepAnalyseMany : kStepAnalyseOne, kStepOverall};
  if (task == Task::listwise) steps.push_back(kStepCompareMany);
  if (task == Task::pairwise) steps.push_back(kStepBetter);
  for (std::size_t i = 0; i < steps.size(); ++i) text += fmt::format("{}. {}\n", i + 1, steps[i]);

  text += "\n## Fairness\n";
  if (many) text += fmt::format("- {}\n", kFairMany);
  text += fmt::format("- {}\n\n## Reply\n{}\n{}", kFairLength, kReplyOnly,
                      reply_form(task, options.criteria));
  return text;
}

std::string reply_schema(Task task, std::span<const CriterionSpec> criteria) {
  namespace json = boost::json;
  const auto object = [](json::object properties) {
    json::array required;
    for (const auto& property : properties) required.emplace_back(property.key());
    return json::object{{"type", "object"},
                        {"properties", std::move(properties)},
                        {"required", std::move(required)},
                        {"additionalProperties", false}};
  };
  const auto each = [&](const json::object& type) {
    json::object properties;
    for (const CriterionSpec& criterion : criteria) properties[criterion.name] = type;
    return object(std::move(properties));
  };
  const json::object text{{"type", "string"}}, number{{"type", "number"}};
  const json::object score{{"type", "integer"}, {"minimum", 0}, {"maximum", 10}};

  json::object response;
  response["id"] = json::object{{"type", "integer"}};
  response["analysis"] = each(text);
  response["scores"] = each(score);
  response["overall"] = number;

  json::object reply;
  reply["reference_answer"] = text;
  reply["weights"] = each(number);
  reply["responses"] = json::object{{"type", "array"}, {"items", object(std::move(response))}};
  if (task == Task::pairwise)
    reply["better"] = json::object{{"type", "string"}, {"enum", json::array{"1", "2", "tie"}}};
  return json::serialize(object(std::move(reply)));
}

std::vector<Message> judge_messages(Task task, const Prompt& prompt,
                                    std::span<const Response> responses,
                                    const PromptOptions& options) {
  std::vector<Message> messages;
  Message user;
  user.role = Message::Role::user;
  const std::string rubric = rubric_text(task, options);
  if (options.system_message)
    messages.push_back({Message::Role::system, {Part::of_text(rubric)}});
  else
    user.content.push_back(Part::of_text(rubric));

  judging::add_material(user, task_name(task), prompt, responses, options.use_reference,
                        responses.size() == 1 ? std::string(kClosingOne)
                                              : fmt::format(fmt::runtime(kClosingMany),
                                                            fmt::arg("N", responses.size())));
  messages.push_back(std::move(user));
  return messages;
}

}  // namespace dt2it::rubric
