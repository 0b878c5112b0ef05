// SPDX-License-Identifier: Apache-2.0
#include <map>

#include "dt2it/error.hpp"
#include "dt2it/json_text.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/answer_benchmarks/judged/judged.hpp"
#include "plugins/common/records/record_fields.hpp"
#include "plugins/common/records/record_reader.hpp"

namespace dt2it::answers {
namespace {

namespace fs = std::filesystem;

// LLaVA-in-the-Wild (Liu et al. 2023): 60 questions about 24 images. The judge sees no image: a caption stands for it.
class LlavaInTheWild final : public AnswerBenchmark {
 public:
  struct Params : JudgedParams {
    Params() { temperature = .2; }
    static void describe(Schema<Params>& schema) {
      describe_as(schema,
                  "Folder with questions.jsonl, context.jsonl, answers_gpt4.jsonl and images/, as "
                  "published.");
    }
  };

  LlavaInTheWild(const Params& params, Context& context) : params_(params), context_(context) {}

  std::unique_ptr<Stream<Prompt>> questions() override {
    std::map<std::string, std::string> captions, references;
    simdjson::dom::object record;
    for (records::RecordReader rows(params_.data / "context.jsonl"); rows.next(record);)
      captions[records::required_text(record, "image", rows.where())] =
          caption(record, rows.where());
    for (records::RecordReader rows(params_.data / "answers_gpt4.jsonl"); rows.next(record);)
      references[records::required_text(record, "question_id", rows.where())] =
          records::required_text(record, "text", rows.where());
    std::vector<Prompt> questions;
    for (records::RecordReader rows(params_.data / "questions.jsonl"); rows.next(record);) {
      const std::string where = rows.where();
      const std::string id = records::required_text(record, "question_id", where),
                        image = records::required_text(record, "image", where);
      if (!captions.contains(image))
        throw DataError(where + ": context.jsonl has no caption of '" + image + "'");
      if (!references.contains(id))
        throw DataError(where + ": answers_gpt4.jsonl has no answer to question " + id);
      Prompt& question = questions.emplace_back(records::make_prompt(
          id,
          records::media_field(record, "image", params_.data / "images", context_.media(), where),
          records::strip_image_tokens(records::required_text(record, "text", where)),
          "llava_in_the_wild"));
      question.reference = references[id];
      question.domain = category(records::optional_text(record, "category", where));
      question.extra = "{\"caption\":" + json_text(captions[image]) + "}";
    }
    return stream_of(questions);
  }

  AnswerGrade grade(const Prompt& question, const Response& answer) override {
    if (auto none = without_answer(answer)) return *none;
    AnswerGrade grade;
    const auto judge = context_.component<Mllm>(params_.judge);
    const ChatReply reply = ask(*judge, params_.judge, {Part::of_text(words(question, answer))},
                                {params_.temperature, std::nullopt, params_.max_tokens}, grade);
    take_two_scores(grade, reply);
    return grade;
  }

  std::vector<Metric> summarise(std::span<const Prompt> questions,
                                std::span<const AnswerGrade> grades) override {
    return ratio_metrics(questions, grades);
  }

  std::string edition(std::size_t questions) override {
    return questions == 60
               ? "LLaVA-in-the-Wild, 60 questions"
               : "LLaVA-in-the-Wild has 60 questions; these are " + std::to_string(questions);
  }

 private:
  // "llava_bench_conv" or "conv".
  static std::string category(std::string name) {
    constexpr std::string_view kPrefix = "llava_bench_";
    return name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
  }

  // A text, or a list of them.
  static std::string caption(const simdjson::dom::object& record, const std::string& where) {
    simdjson::dom::array list;
    const auto value = records::find(record, "caption");
    if (!value || value->get(list)) return records::required_text(record, "caption", where);
    std::string text;
    for (const auto item : list)
      if (std::string_view line; !item.get(line))
        text += (text.empty() ? "" : "\n") + std::string(line);
    return text;
  }

  std::string words(const Prompt& question, const Response& answer) const {
    return "Two assistants have answered a question about an image. You cannot see the image; what "
           "is in it is written below.\n\n"
           "[What is in the image]\n" +
           text_member(question.extra, "caption") + "\n\n[Question]\n" + asked_text(question) +
           "\n\n[Answer of assistant 1]\n" + question.reference +
           "\n[End of the answer of assistant 1]\n\n[Answer of assistant 2]\n" + answer.text +
           "\n[End of the answer of assistant 2]\n\n"
           "Judge each answer by how helpful, relevant and accurate it is and by how much detail "
           "it gives. Give each a mark from 1 "
           "(bad) to 10 (excellent) for the whole of it. The first line of your reply must hold "
           "these two numbers and nothing else: the "
           "mark of assistant 1, a space, the mark of assistant 2. From the second line on explain "
           "them. Favour neither, and let "
           "the order in which they stand count for nothing.";
  }

  const Params params_;
  Context& context_;
};

}  // namespace
}  // namespace dt2it::answers

DT2IT_PLUGIN("answer_benchmarks/llava_in_the_wild", "1.0.0", registrar) {
  registrar.add<dt2it::AnswerBenchmark, dt2it::answers::LlavaInTheWild>(
      "llava_in_the_wild",
      "LLaVA-in-the-Wild: a text-only judge marks answer and reference; 100 * mean / mean.");
}
