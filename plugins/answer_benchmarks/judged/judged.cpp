// SPDX-License-Identifier: Apache-2.0
#include "plugins/answer_benchmarks/judged/judged.hpp"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

namespace dt2it::answers {
namespace {

class Questions final : public Stream<Prompt> {
 public:
  explicit Questions(std::vector<Prompt> questions) : questions_(std::move(questions)) {}
  bool next(Prompt& prompt) override {
    if (at_ == questions_.size()) return false;
    prompt = questions_[at_++];
    return true;
  }

 private:
  const std::vector<Prompt> questions_;
  std::size_t at_ = 0;
};

}  // namespace

ChatReply ask(Mllm& judge, const std::string& name, std::vector<Part> content,
              const Sampling& sampling, AnswerGrade& grade) {
  ChatRequest request;
  request.messages = {{Message::Role::user, std::move(content)}};
  request.sampling = sampling;
  request.purpose = "grade";
  ChatReply reply = judge.chat(request);
  grade.judge = name;
  grade.model = reply.model;
  grade.temperature = sampling.temperature;
  grade.status = reply.status;
  grade.detail = reply.detail;
  if (!reply.text.empty()) grade.replies.push_back(reply.text);
  return reply;
}

void set_unread(AnswerGrade& grade, const std::string& why) {
  grade.status = Status::unparsed;
  grade.detail = why;
  grade.marks[kUnread] = 1;
}

void take_two_scores(AnswerGrade& grade, const ChatReply& reply) {
  if (reply.status != Status::ok && reply.text.empty()) return;  // the status of the call stands
  const auto scores = two_scores(reply.text);
  if (!scores) return set_unread(grade, "the first line of the reply is not two numbers");
  set_score(grade, scores->second);
  grade.reference_score = scores->first;
}

void set_score(AnswerGrade& grade, double score) {
  grade.status = Status::ok;
  grade.detail.clear();
  grade.score = score;
}

std::string asked_text(const Prompt& question) {
  std::string asked;
  for (const Part& part : question.messages.back().content)
    if (part.kind == Part::Kind::text) asked += part.text;
  return asked;
}

std::optional<AnswerGrade> without_answer(const Response& answer) {
  if (!answer.text.empty()) return std::nullopt;
  AnswerGrade grade;
  grade.status = answer.status == Status::ok ? Status::unparsed : answer.status;
  grade.detail = "there is no answer to grade";
  return grade;
}

std::optional<std::pair<double, double>> two_scores(std::string_view reply) {
  std::string line(reply.substr(0, reply.find('\n')));
  std::ranges::replace(line, ',', ' ');
  std::vector<double> numbers;
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t begin = line.find_first_not_of(" \t\r", at);
    if (begin == std::string::npos) break;
    at = std::min(line.find_first_of(" \t\r", begin), line.size());
    double number = 0;
    const auto [end, error] = std::from_chars(line.data() + begin, line.data() + at, number);
    if (error != std::errc() || end != line.data() + at || !std::isfinite(number))
      return std::nullopt;
    numbers.push_back(number);
  }
  if (numbers.size() != 2) return std::nullopt;
  return std::pair(numbers[0], numbers[1]);
}

double Mean::value() const {
  return weight > 0 ? sum / weight : std::numeric_limits<double>::quiet_NaN();
}

std::unique_ptr<Stream<Prompt>> stream_of(const std::vector<Prompt>& questions) {
  return std::make_unique<Questions>(questions);
}

std::string text_member(std::string_view json, std::string_view key) {
  simdjson::dom::parser parser;
  std::string_view text;
  if (parser.parse(json.data(), json.size())[key].get(text)) return {};
  return std::string(text);
}

std::vector<Metric> ratio_metrics(std::span<const Prompt> questions,
                                  std::span<const AnswerGrade> grades) {
  struct Ratio {
    Mean candidate, reference;
    void add(double candidate_score, double reference_score, double weight) {
      candidate.add(candidate_score, weight);
      reference.add(reference_score, weight);
    }
    double value() const { return candidate.value() / reference.value(); }  // a ratio of means
  };
  Ratio all, read;
  std::map<std::string, Ratio> groups;
  bool unread = false;
  for (const AnswerGrade& grade : grades) {
    const bool lost = grade.marks.contains(kUnread);
    if (!grade.ok() && !lost) continue;
    const double candidate = lost ? -1 : grade.score, reference = lost ? -1 : grade.reference_score;
    all.add(candidate, reference, grade.weight);
    groups[questions[grade.row].domain].add(candidate, reference, grade.weight);
    if (!lost) read.add(candidate, reference, grade.weight);
    unread |= lost;
  }
  std::vector<Metric> metrics{{"score", all.value(), {}, {}}};
  for (const auto& [group, ratio] : groups)
    if (!group.empty()) metrics.push_back({"score/" + group, ratio.value(), {}, {}});
  if (unread) metrics.push_back({"score_read", read.value(), {}, {}});
  append_health(metrics, grades);
  return metrics;
}

void append_health(std::vector<Metric>& metrics, std::span<const AnswerGrade> grades) {
  double unread = 0, failed = 0, all = 0;
  for (const AnswerGrade& grade : grades) {
    all += grade.weight;
    if (grade.marks.contains(kUnread))
      unread += grade.weight;
    else if (!grade.ok())
      failed += grade.weight;
  }
  if (unread > 0) metrics.push_back({"unread", unread / all, {}, {}});
  if (failed > 0) metrics.push_back({"failed", failed / all, {}, {}});
}

}  // namespace dt2it::answers
