// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "dt2it/error.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/answer_benchmarks/judged/judged.hpp"
#include "plugins/common/records/record_fields.hpp"

namespace dt2it::answers {
namespace {

constexpr int kTries = 5;
constexpr double kWarmer = .5;  // added to the temperature with each try after the first

// The first word of the reply, up to a space, as a number from 0 to 1.
std::optional<double> correctness(std::string_view reply) {
  std::string_view word = reply.substr(0, reply.find(' '));
  while (!word.empty() && (word.back() == '\n' || word.back() == '\r' || word.back() == '\t'))
    word.remove_suffix(1);
  while (!word.empty() && (word.front() == '\n' || word.front() == '\r' || word.front() == '\t'))
    word.remove_prefix(1);
  double number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc() || end != word.data() + word.size() || !(number >= 0 && number <= 1))
    return std::nullopt;
  return number;
}

// MM-Vet (Yu et al. 2023): 218 questions, each with the capabilities that it takes. The judge sees no image.
class MmVet final : public AnswerBenchmark {
 public:
  struct Params : JudgedParams {
    std::int64_t runs = 1;
    Params() { max_tokens = 3; }
    static void describe(Schema<Params>& schema) {
      describe_as(schema, "mm-vet.json, or the folder that holds it beside images/.");
      schema
          .field("runs", &Params::runs,
                 "How often each answer is graded; the score is the mean. The published figures "
                 "are of 5.")
          .min(1);
    }
  };

  MmVet(const Params& params, Context& context) : params_(params), context_(context) {}

  std::unique_ptr<Stream<Prompt>> questions() override {
    std::filesystem::path file = params_.data;
    if (std::filesystem::is_directory(file)) file /= "mm-vet.json";
    simdjson::dom::parser parser;
    simdjson::dom::object all;
    if (parser.load(file.string()).get(all))
      throw DataError(file.string() +
                      ": not a JSON object of questions (mm-vet.json as published)");
    std::vector<Prompt> questions;
    for (const auto& [id, value] : all) {
      const std::string where = file.string() + ": " + std::string(id);
      simdjson::dom::object record;
      simdjson::dom::array capabilities;
      if (value.get(record)) throw DataError(where + ": an object is expected");
      const auto listed = records::find(record, "capability");
      if (!listed || listed->get(capabilities))
        throw DataError(where + ": field 'capability' must be a list of strings");
      std::set<std::string> names;  // sorted: two orders are one combination
      for (const auto item : capabilities)
        if (std::string_view name; !item.get(name)) names.emplace(name);
      Prompt& question = questions.emplace_back(records::make_prompt(
          std::string(id),
          records::media_field(record, "imagename", file.parent_path() / "images", context_.media(),
                               where),
          records::strip_image_tokens(records::required_text(record, "question", where)),
          "mm_vet"));
      question.reference = records::required_text(record, "answer", where);
      for (const std::string& name : names)
        question.domain += (question.domain.empty() ? "" : "+") + name;
    }
    return stream_of(questions);
  }

  AnswerGrade grade(const Prompt& question, const Response& answer) override {
    if (auto none = without_answer(answer)) return *none;
    AnswerGrade grade;
    const auto judge = context_.component<Mllm>(params_.judge);
    double sum = 0;
    int read = 0;
    for (std::int64_t run = 0; run < params_.runs; ++run) {
      std::optional<double> score;
      for (int attempt = 0; attempt < kTries && !score; ++attempt) {
        const double temperature = std::min(2.0, params_.temperature + kWarmer * attempt);
        // A judge that has no temperature still gives another draw.
        const ChatReply reply =
            ask(*judge, params_.judge, {Part::of_text(words(question, answer))},
                {temperature, std::nullopt, params_.max_tokens, run * kTries + attempt}, grade);
        if (reply.status != Status::ok && reply.text.empty())
          return grade;  // nobody answered: no score at all
        score = correctness(reply.text);
      }
      sum += score.value_or(0);  // as published
      read += score.has_value();
    }
    grade.temperature = params_.temperature;
    if (read == 0) {
      set_unread(grade, "no reply begins with a number from 0 to 1");
      return grade;
    }
    set_score(grade, sum / static_cast<double>(params_.runs));
    if (read < params_.runs) grade.marks["unread_runs"] = static_cast<double>(params_.runs - read);
    return grade;
  }

  std::vector<Metric> summarise(std::span<const Prompt> questions,
                                std::span<const AnswerGrade> grades) override {
    Mean all, read;
    std::map<std::string, Mean> capabilities, combinations;
    bool unread = false;
    for (const AnswerGrade& grade : grades) {
      const bool lost = grade.marks.contains(kUnread);
      if (!grade.ok() && !lost) continue;
      const double score = lost ? 0 : grade.score;  // five tries without a number: 0, as published
      all.add(score, grade.weight);
      if (!lost) read.add(score, grade.weight);
      unread |= lost;
      const std::string& combination = questions[grade.row].domain;
      combinations[combination].add(score, grade.weight);
      for (std::size_t at = 0; at < combination.size();) {
        const std::size_t end = std::min(combination.find('+', at), combination.size());
        capabilities[combination.substr(at, end - at)].add(score, grade.weight);
        at = end + 1;
      }
    }
    std::vector<Metric> metrics{{"score", all.value(), {}, {}}};
    for (const auto& [name, mean] : capabilities)
      metrics.push_back({"capability/" + name, mean.value(), {}, {}});
    for (const auto& [name, mean] : combinations)
      metrics.push_back({"combination/" + name, mean.value(), {}, {}});
    if (unread) metrics.push_back({"score_read", read.value(), {}, {}});
    append_health(metrics, grades);
    return metrics;
  }

  std::string edition(std::size_t questions) override {
    return questions == 218 ? "MM-Vet, 218 questions"
                            : "MM-Vet has 218 questions; these are " + std::to_string(questions);
  }

 private:
  static std::string words(const Prompt& question, const Response& answer) {
    return "Say how correct a prediction is, given the ground truth: a number from 0.0 (all wrong) "
           "to 1.0 (all right) in steps of 0.1, and "
           "nothing else. <AND> in the ground truth: the prediction is right only when it has "
           "every part, and partly right with some of "
           "them. <OR>: any one of the parts will do. Complete the last line of the table.\n\n"
           "Question | Ground truth | Prediction | Correctness\n--- | --- | --- | ---\n"
           "How much do the two apples cost? | 3 <AND> 6 | One apple is 3, so both cost 6. | 1.0\n"
           "How much do the two apples cost? | 3 <AND> 6 | They cost 6 together, 2 each. | 0.5\n"
           "How much do the two apples cost? | 3 <AND> 6 | There is no price in the picture. | "
           "0.0\n"
           "Which season is it? | autumn <OR> fall | The leaves are brown and lie on the ground: "
           "it is autumn. | 1.0\n"
           "Which season is it? | autumn <OR> fall | It is late summer, soon to be autumn. | 0.4\n"
           "Why is the man laughing? | The dog wears his hat while he looks for it. | A dog stands "
           "beside him. | 0.2\n"
           "Why is the man laughing? | The dog wears his hat while he looks for it. | He has found "
           "his hat on the dog. | 0.9\n" +
           asked_text(question) + " | " + question.reference + " | " + answer.text + " |";
  }

  const Params params_;
  Context& context_;
};

}  // namespace
}  // namespace dt2it::answers

DT2IT_PLUGIN("answer_benchmarks/mm_vet", "1.0.0", registrar) {
  registrar.add<dt2it::AnswerBenchmark, dt2it::answers::MmVet>(
      "mm_vet",
      "MM-Vet: a text-only judge says how correct an answer is, 0 to 1; means of all, by "
      "capability and by combination.");
}
