// SPDX-License-Identifier: Apache-2.0
// The benchmarks of written answers, on invented files: what is asked, how replies are read, what is added up.
#include <catch2/catch.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "plugins/datasets/mini_world/mini_world_dataset.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

ChatReply said(std::string text) {
  ChatReply reply;
  reply.status = Status::ok;
  reply.text = std::move(text);
  reply.finish_reason = "stop";
  reply.model = "judge-1";
  return reply;
}

std::string words_of(const ChatRequest& request) {
  std::string text;
  for (const Part& part : request.messages.back().content) text += part.text;
  return text;
}

// A benchmark with a judge that a test writes.
struct Bench {
  FakeContext context;
  std::shared_ptr<FakeMllm> judge;
  std::shared_ptr<AnswerBenchmark> benchmark;
  std::vector<Prompt> questions;

  Bench(const std::string& name, const std::function<fs::path(const fs::path&)>& files,
        FakeMllm::Answer answer, Table more = {})
      : judge(std::make_shared<FakeMllm>(std::move(answer))) {
    context.add<Mllm>("judge", judge);
    more["data"] = value_of(files(context.scratch()).string());
    more["judge"] = value_of("judge");
    benchmark =
        PluginLibrary("answer_benchmarks/" + name).make<AnswerBenchmark>(name, more, context);
    questions = drain(*benchmark->questions());
  }
  AnswerGrade grade(std::size_t row, const std::string& text, double weight = 1) {
    AnswerGrade grade = benchmark->grade(questions[row], sample_response("0", text));
    grade.row = row;
    grade.weight = weight;
    return grade;
  }
  double metric(const std::vector<AnswerGrade>& grades, const std::string& name) {
    for (const Metric& one : benchmark->summarise(questions, grades))
      if (one.name == name) return one.value;
    FAIL("there is no metric " << name);
    return 0;
  }
};

fs::path llava_files(const fs::path& folder) {
  write(folder / "wild/questions.jsonl",
        "{\"question_id\":0,\"image\":\"001.jpg\",\"text\":\"What is "
        "it?\",\"category\":\"llava_bench_conv\"}\n"
        "{\"question_id\":1,\"image\":\"001.jpg\",\"text\":\"Describe "
        "it.\",\"category\":\"llava_bench_detail\"}\n"
        "{\"question_id\":2,\"image\":\"002.jpg\",\"text\":\"Why?\",\"category\":\"llava_bench_"
        "conv\"}\n");
  write(folder / "wild/context.jsonl",
        "{\"image\":\"001.jpg\",\"caption\":\"A "
        "lighthouse.\"}\n{\"image\":\"002.jpg\",\"caption\":[\"A boat.\",\"Two gulls.\"]}\n");
  write(folder / "wild/answers_gpt4.jsonl",
        "{\"question_id\":2,\"text\":\"Because of the wind.\"}\n{\"question_id\":0,\"text\":\"A "
        "lighthouse at dusk.\"}\n"
        "{\"question_id\":1,\"text\":\"It is white.\"}\n");
  return folder / "wild";
}

// Marks the text between two square brackets: "[7]" is a 7.
std::string mark_in(const std::string& text) {
  const std::size_t open = text.rfind("{");
  return open == std::string::npos ? "" : text.substr(open + 1, text.find('}', open) - open - 1);
}

}  // namespace

TEST_CASE("LLaVA-in-the-Wild: contract, captions instead of pictures, a ratio of means") {
  Bench bench("llava_in_the_wild", llava_files,
              [](const ChatRequest& request) { return said(mark_in(words_of(request))); });
  REQUIRE(bench.questions.size() == 3);
  CHECK(bench.questions[0].domain == "conv");
  CHECK(bench.questions[0].reference == "A lighthouse at dusk.");
  CHECK(bench.benchmark->edition(60) == "LLaVA-in-the-Wild, 60 questions");
  CHECK(bench.benchmark->edition(3).find("60 questions") != std::string::npos);
  check_answer_benchmark_contract(*bench.benchmark, sample_response("0", "{8 9}"),
                                  sample_response("0", "{8 4}"));

  const AnswerGrade grade = bench.grade(2, "{10, 7}\n");
  CHECK(grade.reference_score == 10);
  CHECK(grade.score == 7);
  CHECK(grade.judge == "judge");
  CHECK(grade.model == "judge-1");
  CHECK(grade.temperature == .2);
  CHECK(grade.replies == std::vector<std::string>{"10, 7"});
  const std::string asked = words_of(bench.judge->requests().back());
  for (const char* part : {"A boat.\nTwo gulls.", "Why?", "Because of the wind.", "{10, 7}"})
    CHECK(asked.find(part) != std::string::npos);
  const ChatRequest last = bench.judge->requests().back();
  for (const Part& part : last.messages.back().content) CHECK(part.kind == Part::Kind::text);

  // (9 + 3 + 6) / (10 + 5 + 10), not the mean of 0.9, 0.6 and 0.6.
  std::vector<AnswerGrade> grades{bench.grade(0, "{10 9}"), bench.grade(1, "{5 3}"),
                                  bench.grade(2, "{10 6}")};
  CHECK(bench.metric(grades, "score") == Approx(18.0 / 25));
  CHECK(bench.metric(grades, "score/conv") == Approx(15.0 / 20));
  CHECK(bench.metric(grades, "score/detail") == Approx(3.0 / 5));
}

TEST_CASE(
    "LLaVA-in-the-Wild: a reply that cannot be read stays in the means as -1, an outage does not") {
  Bench bench("llava_in_the_wild", llava_files, [](const ChatRequest& request) {
    const std::string mark = mark_in(words_of(request));
    if (mark != "outage") return said(mark);
    ChatReply none;
    none.status = Status::unavailable;
    none.detail = "no server";
    return none;
  });
  for (const char* reply : {"8", "8 9 10", "eight nine", "Scores: 8 9", "8/10 9/10", ""}) {
    INFO(reply);
    const AnswerGrade grade = bench.grade(0, std::string("{") + (*reply ? reply : " ") + "}");
    CHECK(grade.status == Status::unparsed);
    CHECK(std::isnan(grade.score));
    CHECK_FALSE(grade.detail.empty());
  }
  CHECK(bench.grade(0, "{7 8}\nbecause 9 10").ok());
  std::vector<AnswerGrade> grades{bench.grade(0, "{10 9}"), bench.grade(1, "{never}"),
                                  bench.grade(2, "{outage}")};
  CHECK(grades[2].status == Status::unavailable);
  CHECK(bench.metric(grades, "score") == Approx((9.0 - 1) / (10 - 1)));
  CHECK(bench.metric(grades, "score_read") == Approx(.9));
  CHECK(bench.metric(grades, "unread") == Approx(1.0 / 3));
  CHECK(bench.metric(grades, "failed") == Approx(1.0 / 3));
}

TEST_CASE("LLaVA-in-the-Wild: files that do not belong together are told by name") {
  const auto broken = [](const char* file, const std::string& text) {
    return [=](const fs::path& folder) {
      llava_files(folder);
      write(folder / "wild" / file, text);
      return folder / "wild";
    };
  };
  const auto never = [](const ChatRequest&) { return said(""); };
  CHECK_THROWS_WITH(
      Bench("llava_in_the_wild",
            broken("context.jsonl", "{\"image\":\"001.jpg\",\"caption\":\"x\"}\n"), never),
      Catch::Contains("no caption of '002.jpg'"));
  CHECK_THROWS_WITH(
      Bench("llava_in_the_wild",
            broken("answers_gpt4.jsonl", "{\"question_id\":0,\"text\":\"x\"}\n"), never),
      Catch::Contains("no answer to question 1"));
}

TEST_CASE("LLaVA-Wilder: contract; the judge sees the picture") {
  const auto files = [](const fs::path& folder) {
    write(
        folder / "wilder.json",
        R"([{"question_id":"w1","Question":"<image>What is on the shelf?","Answer":"Jars.","Category":"qa","image":null},
              {"Question":"How many?","Answer":"Three.","image":"none.png"}])");
    return folder / "wilder.json";
  };
  Bench bench("llava_wilder", files,
              [](const ChatRequest& request) { return said(mark_in(words_of(request))); });
  REQUIRE(bench.questions.size() == 2);
  CHECK(bench.questions[0].id == "w1");
  CHECK(bench.questions[1].id == "1");
  check_answer_benchmark_contract(*bench.benchmark, sample_response("0", "{10 9}"),
                                  sample_response("0", "{10 2}"));
  bench.grade(1, "{10 5}");
  const auto content = bench.judge->requests().back().messages.back().content;
  CHECK(content.front().kind == Part::Kind::image);
  CHECK(bench.judge->requests().back().sampling.temperature == 0.0);
  CHECK(bench.metric({bench.grade(0, "{10 9}"), bench.grade(1, "{10 6}")}, "score") == Approx(.75));
  CHECK(bench.benchmark->edition(128) == "LLaVA-Wilder (small), 128 questions");
}

namespace {

fs::path mm_vet_files(const fs::path& folder) {
  write(
      folder / "mm-vet/mm-vet.json",
      R"({"v1_0":{"imagename":"v1_0.png","question":"What is x?","answer":"-1 <AND> -5","capability":["ocr","math"]},
            "v1_1":{"imagename":"v1_1.png","question":"Who?","answer":"a cook <OR> a chef","capability":["rec"]},
            "v1_2":{"imagename":"v1_2.png","question":"Which?","answer":"the left","capability":["math","ocr"]}})");
  return folder / "mm-vet";
}

}  // namespace

TEST_CASE("MM-Vet: contract, capabilities and their combinations") {
  Bench bench("mm_vet", mm_vet_files,
              [](const ChatRequest& request) { return said(mark_in(words_of(request))); });
  REQUIRE(bench.questions.size() == 3);
  CHECK(bench.questions[0].domain == "math+ocr");
  check_answer_benchmark_contract(*bench.benchmark, sample_response("0", "{0.9}"),
                                  sample_response("0", "{0.2}"));
  const std::vector<AnswerGrade> grades{bench.grade(0, "{1.0}"), bench.grade(1, "{0.3}"),
                                        bench.grade(2, "{0.5 of it}")};
  CHECK(bench.metric(grades, "score") == Approx(.6));
  CHECK(bench.metric(grades, "capability/ocr") == Approx(.75));
  CHECK(bench.metric(grades, "capability/rec") == Approx(.3));
  CHECK(bench.metric(grades, "combination/math+ocr") == Approx(.75));
  CHECK(bench.benchmark->edition(218) == "MM-Vet, 218 questions");
}

TEST_CASE("MM-Vet: a bad reply is asked for again, each time warmer; after five it counts 0") {
  std::vector<double> temperatures;
  int good_from = 3;
  Bench bench("mm_vet", mm_vet_files, [&](const ChatRequest& request) {
    temperatures.push_back(*request.sampling.temperature);
    return said(static_cast<int>(temperatures.size()) >= good_from ? "0.7"
                : temperatures.size() % 2                          ? "1.2"
                                                                   : "n/a");
  });
  AnswerGrade grade = bench.grade(0, "x");
  CHECK(grade.score == .7);
  CHECK(temperatures == std::vector<double>{0, .5, 1});
  CHECK(grade.replies.size() == 3);
  temperatures.clear();
  good_from = 100;
  grade = bench.grade(0, "x");
  CHECK(temperatures == std::vector<double>{0, .5, 1, 1.5, 2});
  CHECK(grade.status == Status::unparsed);
  const AnswerGrade read = [&] {
    temperatures.clear();
    good_from = 1;
    return bench.grade(1, "y");
  }();
  CHECK(bench.metric({grade, read}, "score") == Approx(.35));
  CHECK(bench.metric({grade, read}, "score_read") == Approx(.7));
}

TEST_CASE("MM-Vet: several runs are averaged, each a call of its own") {
  Bench bench("mm_vet", mm_vet_files,
              [](const ChatRequest& request) {
                return said(request.sampling.sample < 5    ? "0.2"
                            : request.sampling.sample < 10 ? "bad"
                                                           : "1");
              },
              {{"runs", value_of(3)}});
  const AnswerGrade grade = bench.grade(0, "x");
  CHECK(grade.score == Approx((.2 + 0 + 1) / 3));  // the run that never gave a number counts 0
  CHECK(grade.marks.at("unread_runs") == 1);
}

TEST_CASE("MMHal-Bench: contract, the one rating, types by place") {
  const auto files = [](const fs::path& folder) {
    std::string rows;
    for (int i = 0; i < 10; ++i)
      rows +=
          std::string(i ? "," : "") +
          R"({"question_type":"x","question_topic":"y","image_id":"z","image_src":"https://example.org/a/)" +
          std::to_string(i) +
          R"(.jpg","image_content":["dog","ball"],"question":"What?","gt_answer":"A dog.","model_answer":""})";
    write(folder / "mmhal/response_template.json", "[" + rows + "]");
    return folder / "mmhal";
  };
  Bench bench("mmhal_bench", files,
              [](const ChatRequest& request) { return said(mark_in(words_of(request))); });
  REQUIRE(bench.questions.size() == 10);
  CHECK(bench.questions[9].domain == "adversarial");
  check_answer_benchmark_contract(*bench.benchmark, sample_response("0", "{Rating: 5}"),
                                  sample_response("0", "{Rating: 1}"));
  CHECK(words_of(bench.judge->requests().front()).find("dog, ball") != std::string::npos);
  CHECK(bench.grade(0, "{I think rating: 3, really}").score == 3);
  CHECK(bench.grade(0, "{RATING: 0}").score == 0);
  for (const char* reply : {"no figure", "Rating: 7", "Rating: 2 or rating: 4", "rating:3"}) {
    INFO(reply);
    CHECK(bench.grade(0, std::string("{") + reply + "}").status == Status::unparsed);
  }
  const std::vector<AnswerGrade> grades{bench.grade(0, "{rating: 6}"),
                                        bench.grade(1, "{rating: 2}"),
                                        bench.grade(8, "{rating: 3}"), bench.grade(9, "{none}")};
  CHECK(bench.metric(grades, "rating") == Approx((6 + 2 + 3 + 0) / 4.0));
  CHECK(bench.metric(grades, "hallucination_rate") == Approx(.5));
  CHECK(bench.metric(grades, "rating/attribute") == Approx(4.5));    // rows 0 and 8
  CHECK(bench.metric(grades, "rating/adversarial") == Approx(1.0));  // rows 1 and 9
  CHECK(bench.metric(grades, "rating_read") == Approx(11.0 / 3));
}

TEST_CASE("The mini world grades by the truth") {
  FakeContext context(3);
  mini_world::MiniWorldDataset::Params params;
  params.count = 60;
  params.seed = 5;
  context.add<Dataset>("questions",
                       std::make_shared<mini_world::MiniWorldDataset>(params, context));
  const auto make = [&](Table more) {
    more["dataset"] = value_of("questions");
    return PluginLibrary("answer_benchmarks/mini_world")
        .make<AnswerBenchmark>("mini_world", more, context);
  };
  const auto reasoning = make({{"domains", names({"reasoning"})}});
  const std::vector<Prompt> questions = drain(*reasoning->questions());
  REQUIRE(questions.size() > 5);
  REQUIRE(questions.size() < 60);
  for (const Prompt& question : questions) {
    CHECK(question.domain == "reasoning");
    const AnswerGrade right = reasoning->grade(question, sample_response("0", question.reference));
    CHECK(right.marks.at("right") == 1);
    CHECK(right.judge.empty());
  }
  check_answer_benchmark_contract(*reasoning, sample_response("0", questions[0].reference),
                                  sample_response("0", "red."));
}
