// SPDX-License-Identifier: Apache-2.0
#include "reply_parser.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cctype>
#include <charconv>
#include <cmath>

#include "json_repair.hpp"

namespace dt2it::rubric {
namespace {

namespace json = boost::json;

std::string_view view(json::string_view text) { return {text.data(), text.size()}; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "1. Language Quality" -> "languagequality"
std::string plain_name(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalpha(byte) != 0 || byte >= 0x80)
      plain += static_cast<char>(std::tolower(byte));
    else if (is_digit(c) && !plain.empty())
      plain += c;
  }
  return plain;
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '*';
  };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

// A plain decimal number at the start of `text`, which is moved behind it.
std::optional<double> take_number(std::string_view& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !std::isfinite(value)) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

// A score: a number, or text such as "8/10".
std::optional<double> read_score(const json::value& value) {
  if (value.is_number()) {
    const double number = value.to_number<double>();
    return std::isfinite(number) ? std::optional(number) : std::nullopt;
  }
  const auto* string = value.if_string();
  if (string == nullptr) return std::nullopt;
  std::string_view text = trimmed(view(*string));
  const std::optional<double> number = take_number(text);
  if (!number) return std::nullopt;
  text = trimmed(text);
  if (text.empty()) return number;
  for (const std::string_view prefix : {"/", "out of"})
    if (text.starts_with(prefix)) {
      text = trimmed(text.substr(prefix.size()));
      const std::optional<double> scale = take_number(text);
      if (scale == 10.0 && trimmed(text).empty()) return number;
    }
  return std::nullopt;
}

std::optional<double> read_weight(const json::value& value) {
  if (const auto* string = value.if_string()) {
    std::string_view text = trimmed(view(*string));
    const std::optional<double> number = take_number(text);
    text = trimmed(text);
    if (text == "%" && number) return *number / 100;
    return text.empty() ? number : std::nullopt;
  }
  return read_score(value);
}

const json::value* find_key(const json::object& object,
                            std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names)
    for (const auto& member : object)
      if (plain_name(view(member.key())) == name) return &member.value();
  return nullptr;
}

// "accuracy_analysis" is about a criterion and no score of it.
bool is_remark(std::string_view name) {
  for (const std::string_view word :
       {"analysis", "reason", "comment", "justification", "explanation", "weight"})
    if (name.find(word) != std::string_view::npos) return true;
  return false;
}

// Which criterion a spelling means; -1 when none or several.
int criterion_index(std::string_view spelling, std::span<const CriterionSpec> criteria) {
  const std::string name = plain_name(spelling);
  if (name.size() < 3) return -1;
  int found = -1;
  for (std::size_t i = 0; i < criteria.size(); ++i) {
    const std::string known = plain_name(criteria[i].name);
    if (name == known || name == plain_name(criteria[i].title)) return static_cast<int>(i);
    const std::size_t shared = std::min(name.size(), known.size());
    const bool alike = shared >= 5 && (name.substr(0, shared) == known.substr(0, shared) ||
                                       (known == "ethics" && name.starts_with("ethic")));
    if (!alike || is_remark(name)) continue;
    if (found >= 0) return -1;
    found = static_cast<int>(i);
  }
  return found;
}

// The values given for each criterion in {"accuracy": x, ...} or [{"criterion": "accuracy", ...},
// ...].
struct PerCriterion {
  std::vector<const json::value*> values;
  std::string problem;
};

PerCriterion per_criterion(const json::value& value, std::span<const CriterionSpec> criteria) {
  PerCriterion result{std::vector<const json::value*>(criteria.size(), nullptr), {}};
  const auto note = [&](std::string_view spelling, const json::value& given) {
    const int index = criterion_index(spelling, criteria);
    if (index < 0) return;
    const auto i = static_cast<std::size_t>(index);
    if (result.values[i] != nullptr && *result.values[i] != given)
      result.problem = fmt::format("{} is given twice, differently", criteria[i].name);
    result.values[i] = &given;
  };
  if (const auto* object = value.if_object()) {
    for (const auto& member : *object) note(view(member.key()), member.value());
  } else if (const auto* array = value.if_array()) {
    for (const json::value& item : *array)
      if (const auto* entry = item.if_object())
        if (const json::value* name = find_key(*entry, {"criterion", "name", "aspect"}))
          if (const auto* string = name->if_string()) note(view(*string), item);
  }
  return result;
}

// An entry of a criterion may be the bare value or an object that holds it under `names`.
const json::value* inner(const json::value* value, std::initializer_list<std::string_view> names) {
  if (value == nullptr) return nullptr;
  const auto* object = value->if_object();
  return object == nullptr ? value : find_key(*object, names);
}

// Fills in weights that sum to 1, or says what is wrong with them.
std::string read_weights(const std::vector<const json::value*>& given,
                         std::span<const CriterionSpec> criteria, std::vector<double>& weights) {
  weights.assign(criteria.size(), 0);
  double sum = 0;
  std::string_view missing;
  for (std::size_t i = 0; i < criteria.size(); ++i) {
    if (given[i] == nullptr) {
      missing = criteria[i].name;
      continue;
    }
    const std::optional<double> weight = read_weight(*given[i]);
    if (!weight) return fmt::format("the weight of {} is not a number", criteria[i].name);
    if (*weight < 0) return fmt::format("the weight of {} is negative", criteria[i].name);
    weights[i] = *weight;
    sum += *weight;
  }
  if (sum == 0 && !missing.empty()) return "there are no weights";
  if (!(sum > 0) || !std::isfinite(sum)) return "the weights sum to 0";
  if (!missing.empty() && std::abs(sum - 1) > 0.02 && std::abs(sum - 100) > 2)
    return fmt::format("the weight of {} is missing", missing);
  for (double& weight : weights) weight /= sum;
  return {};
}

Score failed(Status status, std::string detail) {
  Score score;
  score.status = status;
  score.detail = std::move(detail);
  return score;
}

std::string text_of(const json::value* value) {
  if (value == nullptr) return {};
  const auto* string = value->if_string();
  return string == nullptr ? std::string() : std::string(view(*string));
}

Score read_response(const json::object& entry, const json::value* shared_weights,
                    std::span<const CriterionSpec> criteria) {
  const json::value whole(entry);
  const json::value* holder =
      find_key(entry, {"scores", "criteria", "evaluation", "aspects", "ratings"});
  if (holder == nullptr) holder = &whole;
  const PerCriterion scores = per_criterion(*holder, criteria);
  if (!scores.problem.empty()) return failed(Status::unparsed, scores.problem);

  std::vector<const json::value*> given_weights(criteria.size(), nullptr);
  const json::value* weights_of = find_key(entry, {"weights", "weight"});
  if (weights_of == nullptr) weights_of = shared_weights;
  if (weights_of != nullptr) {
    const PerCriterion shared = per_criterion(*weights_of, criteria);
    if (!shared.problem.empty()) return failed(Status::unparsed, "weights: " + shared.problem);
    for (std::size_t i = 0; i < criteria.size(); ++i)
      given_weights[i] = inner(shared.values[i], {"weight"});
  }
  for (std::size_t i = 0; i < criteria.size(); ++i)  // {"accuracy": {"weight": .., "score": ..}}
    if (scores.values[i] != nullptr && scores.values[i]->is_object())
      if (const json::value* own = find_key(scores.values[i]->get_object(), {"weight"}))
        given_weights[i] = own;

  std::vector<double> weights;
  if (std::string problem = read_weights(given_weights, criteria, weights); !problem.empty())
    return failed(Status::unparsed, std::move(problem));

  PerCriterion analyses{std::vector<const json::value*>(criteria.size(), nullptr), {}};
  if (const json::value* analysis = find_key(entry, {"analysis", "analyses"}))
    analyses = per_criterion(*analysis, criteria);

  Score score;
  double overall = 0;
  for (std::size_t i = 0; i < criteria.size(); ++i) {
    const json::value* given = inner(scores.values[i], {"score", "value", "rating"});
    if (given == nullptr) return failed(Status::unparsed, "no score for " + criteria[i].name);
    const std::optional<double> number = read_score(*given);
    if (!number)
      return failed(Status::unparsed, "the score for " + criteria[i].name + " is not a number");
    if (*number < 0 || *number > 10)
      return failed(Status::unparsed, fmt::format("the score {} for {} is outside 0 ... 10",
                                                  *number, criteria[i].name));
    const double whole_number = std::floor(*number + 0.5);
    if (whole_number != *number)
      score.detail += fmt::format("{}{} rounded from {}", score.detail.empty() ? "" : "; ",
                                  criteria[i].name, *number);
    Criterion criterion{criteria[i].name, weights[i], whole_number, {}};
    criterion.analysis = text_of(inner(analyses.values[i], {"analysis", "text"}));
    if (criterion.analysis.empty() && scores.values[i]->is_object())
      criterion.analysis =
          text_of(find_key(scores.values[i]->get_object(), {"analysis", "reason"}));
    overall += criterion.weight * criterion.score;
    score.criteria.push_back(std::move(criterion));
  }
  score.status = Status::ok;
  score.overall = std::clamp(std::round(overall * 1e6) / 1e6, 0.0,
                             10.0);  // float noise only: all terms are valid
  if (const json::value* stated =
          find_key(entry, {"overall", "overallscore", "finalscore", "total"}))
    if (const std::optional<double> number = read_score(*stated);
        number && *number >= 0 && *number <= 10)
      score.stated_overall = number;
  return score;
}

// The one number in 2, "2", "Response 2", "#2"; 0 when there is none or several.
std::size_t read_id(std::string_view text) {
  std::size_t id = 0;
  int runs = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!is_digit(text[i])) continue;
    if (i > 0 && (text[i - 1] == '-' || text[i - 1] == '.')) return 0;
    if (i == 0 || !is_digit(text[i - 1])) ++runs;
    if (id > 100000) return 0;
    id = id * 10 + static_cast<std::size_t>(text[i] - '0');
  }
  return runs == 1 ? id : 0;
}
std::size_t read_id(const json::value& value) {
  if (const auto* number = value.if_int64())
    return *number > 0 ? static_cast<std::size_t>(*number) : 0;
  if (const auto* string = value.if_string()) return read_id(view(*string));
  return 0;
}

const json::value* id_of(const json::object& entry) {
  const json::value* id =
      find_key(entry, {"id", "responseid", "response", "assistant", "candidate"});
  if (id == nullptr || id->is_number()) return id;
  // A long string under "response" is the response itself, whatever numbers it mentions.
  const auto* string = id->if_string();
  return string != nullptr && string->size() <= 20 ? id : nullptr;
}

bool is_response_key(std::string_view key) {
  const std::string name = plain_name(key);
  for (const std::string_view word : {"response", "assistant", "candidate", "answer"})
    if (name.size() > word.size() && name.starts_with(word) && is_digit(name.back())) return true;
  return false;
}

// One reading of one JSON value.
struct Report {
  bool shaped = false;  // it has the outline of a report
  ParsedReply reply;
  std::size_t readable() const {
    return static_cast<std::size_t>(std::count_if(reply.scores.begin(), reply.scores.end(),
                                                  [](const Score& s) { return s.ok(); }));
  }
};

// Files the entries under their ids.
struct Filing {
  std::vector<const json::object*> entries;
  std::vector<bool> repeated;
  std::string strays;

  explicit Filing(std::size_t expected) : entries(expected, nullptr), repeated(expected, false) {}
  void add(std::size_t id, const json::object& entry) {
    if (id < 1 || id > entries.size()) {
      strays = "; an entry with an id outside the list was ignored";
      return;
    }
    const json::object*& place = entries[id - 1];
    if (place != nullptr && !(*place == entry)) repeated[id - 1] = true;
    place = &entry;
  }
};

std::optional<Verdict::Winner> read_better(const json::object& object) {
  const json::value* better = find_key(object, {"better", "winner", "betterresponse", "preferred"});
  if (better == nullptr) return std::nullopt;
  if (const auto* string = better->if_string()) {
    const std::string word = plain_name(view(*string));
    if (word == "tie" || word == "equal" || word == "both" || word == "neither" || word == "same")
      return Verdict::Winner::tie;
    if (word == "first") return Verdict::Winner::first;
    if (word == "second") return Verdict::Winner::second;
  }
  const std::size_t id = read_id(*better);
  if (id == 1) return Verdict::Winner::first;
  if (id == 2) return Verdict::Winner::second;
  return std::nullopt;
}

Report read_report(const json::value& value, std::size_t expected,
                   std::span<const CriterionSpec> criteria, int depth = 0) {
  Report report;
  const auto* object = value.if_object();
  const json::value* list = value.is_array() ? &value : nullptr;
  if (object != nullptr) {
    list = find_key(*object, {"responses", "evaluations", "results", "candidates", "assistants",
                              "assessments"});
    if (list != nullptr && !list->is_array() && !list->is_object()) list = nullptr;
  }
  Filing filing(expected);
  if (list != nullptr && list->is_array()) {
    const json::array& entries = list->get_array();
    const bool any_id = std::any_of(entries.begin(), entries.end(), [](const json::value& entry) {
      return entry.is_object() && id_of(entry.get_object()) != nullptr;
    });
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const auto* entry = entries[i].if_object();
      if (entry == nullptr) continue;
      report.shaped = true;
      const json::value* id = id_of(*entry);
      if (id != nullptr)
        filing.add(read_id(*id), *entry);
      else if (!any_id && entries.size() == expected)
        filing.add(i + 1, *entry);
    }
  } else if (list != nullptr) {
    for (const auto& member : list->get_object())
      if (const auto* entry = member.value().if_object()) {
        report.shaped = true;
        filing.add(read_id(view(member.key())), *entry);
      }
  } else if (object != nullptr) {
    for (const auto& member : *object)
      if (is_response_key(view(member.key())))
        if (const auto* entry = member.value().if_object()) {
          report.shaped = true;
          filing.add(read_id(view(member.key())), *entry);
        }
    if (!report.shaped && expected == 1 &&
        find_key(*object, {"scores", "criteria", "aspects", "ratings"})) {
      report.shaped = true;
      const json::value* id = id_of(*object);
      filing.add(id == nullptr ? 1 : read_id(*id), *object);
    }
    if (!report.shaped && depth < 2) {  // {"evaluation": {the report}}
      for (const auto& member : *object)
        if (member.value().is_object()) {
          Report nested = read_report(member.value(), expected, criteria, depth + 1);
          if (nested.shaped) return nested;
        }
    }
  }
  if (!report.shaped) return report;

  const json::value* weights = nullptr;
  std::string own_answer;
  if (object != nullptr) {
    weights = find_key(*object, {"weights", "criteriaweights", "weight"});
    own_answer = text_of(
        find_key(*object, {"referenceanswer", "reference", "ownanswer", "ownreferenceanswer"}));
    report.reply.better = read_better(*object);
  }
  for (std::size_t i = 0; i < expected; ++i) {
    Score score;
    if (filing.entries[i] == nullptr)
      score = failed(Status::unparsed,
                     fmt::format("the reply has no entry with id {}{}", i + 1, filing.strays));
    else if (filing.repeated[i])
      score =
          failed(Status::unparsed, fmt::format("the reply has several entries with id {}", i + 1));
    else
      score = read_response(*filing.entries[i], weights, criteria);
    if (score.ok()) score.judge_reference = own_answer;
    report.reply.scores.push_back(std::move(score));
  }
  return report;
}

bool same_opinion(const ParsedReply& a, const ParsedReply& b) {
  if (a.better != b.better) return false;
  for (std::size_t i = 0; i < a.scores.size(); ++i) {
    if (a.scores[i].status != b.scores[i].status) return false;
    if (a.scores[i].ok() && a.scores[i].overall != b.scores[i].overall) return false;
  }
  return true;
}

bool looks_like_refusal(std::string_view text) {
  std::string start;
  for (const char c : text.substr(0, 240))
    start += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (std::size_t at; (at = start.find("\u2019")) != std::string::npos;) start.replace(at, 3, "'");
  constexpr std::array<std::string_view, 14> kPhrases{
      "i can't assist",  "i cannot assist", "i can't help",     "i cannot help",
      "i'm unable to",   "i am unable to",  "i can't evaluate", "i cannot evaluate",
      "i won't",         "i must decline",  "i can't comply",   "i cannot comply",
      "i'm not able to", "i cannot provide"};
  return std::any_of(kPhrases.begin(), kPhrases.end(), [&](std::string_view phrase) {
    return start.find(phrase) != std::string::npos;
  });
}

}  // namespace

ParsedReply parse_reply(std::string_view raw, std::string_view finish_reason, std::size_t expected,
                        std::span<const CriterionSpec> criteria) {
  const auto all = [&](Status status, const std::string& detail) {
    ParsedReply reply;
    reply.scores.assign(expected, failed(status, detail));
    return reply;
  };
  const std::string text = valid_utf8(raw);
  std::string_view body = trimmed(text);
  if (body.starts_with("<think>"))  // open reasoning models write their thoughts in front
    if (const std::size_t end = body.rfind("</think>"); end != std::string_view::npos)
      body = body.substr(end + 8);
  if (trimmed(body).empty()) return all(Status::unparsed, "the reply is empty");

  const FoundJson found = find_json(body);
  if (found.cut) {
    if (finish_reason == "length")
      return all(Status::truncated, "the reply was cut at the token limit");
    return all(Status::unparsed, "the reply's JSON ends before it is closed");
  }
  if (found.repeated) return all(Status::unparsed, "the reply's JSON has a key twice");
  std::optional<Report> best;
  for (const json::value& value : found.values) {
    Report report = read_report(value, expected, criteria);
    if (!report.shaped) continue;
    if (best && best->readable() > 0 && report.readable() > 0 &&
        !same_opinion(best->reply, report.reply))
      return all(Status::unparsed, "the reply holds several reports that differ");
    if (!best || report.readable() > best->readable()) best = std::move(report);
  }
  if (best) return std::move(best->reply);
  if (looks_like_refusal(trimmed(body))) return all(Status::refused, "the judge declined");
  if (finish_reason == "length")
    return all(Status::truncated, "the reply was cut before its report");
  return all(Status::unparsed, "the reply holds no report in JSON");
}

}  // namespace dt2it::rubric
