// SPDX-License-Identifier: Apache-2.0
#include "rubric_prompt.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cctype>

#include "dt2it/error.hpp"
#include "rubric_text.hpp"

namespace dt2it::rubric {
namespace {

constexpr std::array<std::string_view, 5> kTags{"task", "question", "reference_answer", "response",
                                                "turn"};

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

// text[at] is '<': does one of our tags follow?
bool looks_like_tag(std::string_view text, std::size_t at) {
  std::size_t i = at + 1;
  while (i < text.size() && (is_space(text[i]) || text[i] == '/')) ++i;
  for (const std::string_view tag : kTags) {
    if (text.size() - i < tag.size()) continue;
    std::size_t same = 0;
    while (same < tag.size() && lower(text[i + same]) == tag[same]) ++same;
    if (same == tag.size() && (i + same == text.size() || !is_word(text[i + same]))) return true;
  }
  return false;
}

std::string_view role_name(Message::Role role) {
  switch (role) {
    case Message::Role::system: return "system";
    case Message::Role::assistant: return "assistant";
    case Message::Role::user: break;
  }
  return "user";
}

// The text of a message, with the places of its media marked when the prompt has several.
std::string message_text(const Message& message, bool mark_media, int& images, int& videos) {
  std::string text;
  const auto add = [&text](std::string_view piece) {
    if (!text.empty() && !piece.empty() && !is_space(text.back()) && !is_space(piece.front()))
      text += '\n';
    text += piece;
  };
  for (const Part& part : message.content) {
    switch (part.kind) {
      case Part::Kind::text: add(part.text); break;
      case Part::Kind::image:
        ++images;
        if (mark_media) add(fmt::format("[image {}]", images));
        break;
      case Part::Kind::video:
        ++videos;
        if (mark_media) add(fmt::format("[video {}]", videos));
        break;
    }
  }
  return text;
}

std::string question_block(const Prompt& prompt, bool mark_media) {
  int images = 0, videos = 0;
  std::string block = "<question>\n";
  for (std::size_t i = 0; i < prompt.messages.size(); ++i) {
    const std::string text =
        escape_blocks(message_text(prompt.messages[i], mark_media, images, videos));
    if (i + 1 < prompt.messages.size())
      block += fmt::format("<turn role=\"{}\">\n{}\n</turn>\n", role_name(prompt.messages[i].role),
                           text);
    else
      block += text + "\n";
  }
  return block + "</question>\n";
}

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

std::string escape_blocks(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<' && looks_like_tag(text, i))
      safe += "&lt;";
    else
      safe += text[i];
  }
  return safe;
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

  std::size_t media = 0;
  for (const Message& message : prompt.messages)
    for (const Part& part : message.content)
      if (part.kind != Part::Kind::text) {
        user.content.push_back(part);
        ++media;
      }

  std::string text = fmt::format("<task>{}</task>\n", task_name(task));
  text += question_block(prompt, media > 1);
  if (options.use_reference && !prompt.reference.empty())
    text += fmt::format("<reference_answer>\n{}\n</reference_answer>\n",
                        escape_blocks(prompt.reference));
  for (std::size_t i = 0; i < responses.size(); ++i)
    text += fmt::format("<response id=\"{}\">\n{}\n</response>\n", i + 1,
                        escape_blocks(responses[i].text));
  if (responses.size() == 1)
    text += kClosingOne;
  else
    text += fmt::format(fmt::runtime(kClosingMany), fmt::arg("N", responses.size()));
  user.content.push_back(Part::of_text(std::move(text)));
  messages.push_back(std::move(user));
  return messages;
}

}  // namespace dt2it::rubric
