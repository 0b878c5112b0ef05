// SPDX-License-Identifier: Apache-2.0
#include "dt2it/error.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/answer_benchmarks/judged/judged.hpp"
#include "plugins/common/records/input_files.hpp"
#include "plugins/common/records/record_fields.hpp"
#include "plugins/common/records/row_reader.hpp"

namespace dt2it::answers {
namespace {

// LLaVA-Wilder, small: the judge sees the image, and is told that the reference is right and has 10.
class LlavaWilder final : public AnswerBenchmark {
 public:
  struct Params : JudgedParams {
    static void describe(Schema<Params>& schema) {
      describe_as(schema,
                  "Parquet or JSON file, or a folder of them, with Question, Answer and image.");
    }
  };

  LlavaWilder(const Params& params, Context& context) : params_(params), context_(context) {}

  std::unique_ptr<Stream<Prompt>> questions() override {
    std::vector<Prompt> questions;
    for (const records::InputFile& input :
         records::input_files(params_.data, {}, "llava_wilder", context_)) {
      const auto rows = records::open_rows(
          input.file, {"question_id", "Question", "Answer", "Category", "image"}, context_.media());
      for (simdjson::dom::object row; rows->next(row);) {
        const std::string where = rows->where();
        std::string id = records::optional_text(row, "question_id", where);
        if (id.empty()) id = std::to_string(questions.size());
        Prompt& question = questions.emplace_back(records::make_prompt(
            id, records::media_field(row, "image", input.media_root, context_.media(), where),
            records::strip_image_tokens(records::required_text(row, "Question", where)),
            "llava_wilder"));
        question.reference = records::required_text(row, "Answer", where);
        question.domain = records::optional_text(row, "Category", where);
      }
    }
    return stream_of(questions);
  }

  AnswerGrade grade(const Prompt& question, const Response& answer) override {
    if (auto none = without_answer(answer)) return *none;
    std::vector<Part> content;
    for (const Part& part : question.messages.back().content)
      if (part.kind != Part::Kind::text) content.push_back(part);
    content.push_back(Part::of_text(
        "Two assistants have answered a question about the image above.\n\n[Question]\n" +
        asked_text(question) + "\n\n[Answer of assistant 1]\n" + question.reference +
        "\n[End of the answer of assistant 1]\n\n[Answer of assistant 2]\n" + answer.text +
        "\n[End of the answer of assistant 2]\n\n"
        "Judge the answers by how helpful, relevant and accurate they are and by how much detail "
        "they give, on a scale from 1 (bad) to "
        "10 (excellent). Assistant 1 gives the correct answer: its mark is always 10. Measure "
        "assistant 2 against it and "
        "against what the image shows. The first line of your reply must hold two numbers and "
        "nothing else: the mark of assistant 1, a "
        "space, the mark of assistant 2. From the second line on explain them, without favour."));
    AnswerGrade grade;
    const auto judge = context_.component<Mllm>(params_.judge);
    const ChatReply reply = ask(*judge, params_.judge, std::move(content),
                                {params_.temperature, std::nullopt, params_.max_tokens}, grade);
    take_two_scores(grade, reply);
    return grade;
  }

  std::vector<Metric> summarise(std::span<const Prompt> questions,
                                std::span<const AnswerGrade> grades) override {
    return ratio_metrics(questions, grades);
  }

  // Copies of 128 and of 256 rows are about.
  std::string edition(std::size_t questions) override {
    return questions == 128 || questions == 256
               ? "LLaVA-Wilder (small), " + std::to_string(questions) + " questions"
               : "LLaVA-Wilder (small) has 128 or 256 questions; these are " +
                     std::to_string(questions);
  }

 private:
  const Params params_;
  Context& context_;
};

}  // namespace
}  // namespace dt2it::answers

DT2IT_PLUGIN("answer_benchmarks/llava_wilder", "1.0.0", registrar) {
  registrar.add<dt2it::AnswerBenchmark, dt2it::answers::LlavaWilder>(
      "llava_wilder",
      "LLaVA-Wilder: a judge that sees the image marks the answer beside the reference, which has "
      "10.");
}
