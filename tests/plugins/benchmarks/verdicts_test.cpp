// SPDX-License-Identifier: Apache-2.0
// How published scripts count verdicts of judges, on invented ones small enough to count by hand. tests/peers/benchmarks
// compares with Python on many.
#include <catch2/catch.hpp>

#include "plugins/benchmarks/pairwise/python_random.hpp"
#include "plugins/common/judging/verdict_reading.hpp"
#include "tests/plugins/benchmarks/fixture.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

const std::string kOne = "Overall Judgment: Answer 1 is better.",
                  kTwo = "Overall Judgment: Answer 2 is better.";

std::string vl_row(const std::string& id, const std::string& first, const std::string& second,
                   const std::string& ranking = "[0, 1]") {
  return R"({"id":")" + id + R"(","query":"Q","response":[")" + first + R"(",")" + second +
         R"("],"human_ranking":)" + ranking + "}\n";
}

std::string counts(const std::vector<Metric>& metrics, const std::string& name) {
  const Metric& one = metric(metrics, name);
  return std::to_string(*one.correct) + "/" + std::to_string(*one.total);
}

}  // namespace

TEST_CASE("Python's random numbers") {
  // random.seed(123): [random.random() for _ in range(3)]; random.seed(1234): [random.randint(0, 9) for _ in range(8)];
  // random.seed(0): [random.choice([1, 2]) for _ in range(8)]
  records::PythonRandom uniform(123);
  CHECK(uniform.uniform() == 0.052363598850944326);
  CHECK(uniform.uniform() == 0.08718667752263232);
  CHECK(uniform.uniform() == 0.4072417636703983);
  records::PythonRandom integers(1234);
  std::string drawn;
  for (int i = 0; i < 8; ++i) drawn += std::to_string(integers.below(10));
  CHECK(drawn == "71019011");
  records::PythonRandom choices(0);
  drawn.clear();
  for (int i = 0; i < 8; ++i) drawn += std::to_string(1 + choices.below(2));
  CHECK(drawn == "22122222");
}

TEST_CASE("The judgement in a reply") {
  using judging::answer_number;
  CHECK(answer_number(kOne) == 1);
  CHECK(answer_number("**Overall Judgment:**\nAnswer **2** is the slightly better one") == 2);
  CHECK(answer_number("Answer 1 is better.") == std::nullopt);  // nothing opens the judgement
  CHECK(answer_number("therefore, answer 1 is better") == 1);
  CHECK(answer_number("Therefore Answer 1 is better. No: Answer 2 is better") ==
        2);  // the last one
  CHECK(answer_number("Overall Judgment: Answer 3 is better") == -1);
  CHECK(answer_number("Overall Judgment: Answer 02 is better") == 2);
  CHECK(answer_number("Overall Judgment: Answer 1 is not better") == std::nullopt);
  CHECK(answer_number("Overall Judg\nment: Answer 1 is bet\nter") ==
        1);  // line breaks are taken out, not turned into spaces
  CHECK(answer_number("Overall Judgment: " + std::string(200000, 'x') + " Answer 1 is better") ==
        1);
  CHECK(answer_number(std::string("Overall Judgment: \xff Answer 1 is better")) == 1);
  CHECK(judging::bracket_letter("so [[B]], not [[A]]") == 'A');
  CHECK(judging::bracket_letter("[[B]]") == 'B');
  CHECK(judging::bracket_letter("[A]") == 0);
}

TEST_CASE(
    "VL-RewardBench, official: majority of samples, rows with unread samples left out, equal rows "
    "are one") {
  FakeContext context;
  const auto benchmark =
      open_benchmark("vl_rewardbench",
                     write_file(context, "data.jsonl",
                                vl_row("wildvision-1", "a", "b") + vl_row("RLAIF-1", "a", "b") +
                                    vl_row("mmmu_1", "a", "b") + vl_row("mmmu_1", "b", "a") +
                                    vl_row("mathverse_2", "c", "d", "[1, 0]")),
                     context);
  auto items = judged(all_items(*benchmark));
  REQUIRE(items.size() == 5);
  items[0].samples = {sample_of(true, kOne), sample_of(false, kTwo),
                      sample_of(true, kTwo)};  // two of three
  items[1].samples = {sample_of(true, kOne), sample_of(true, kOne),
                      sample_of(true, "No idea.")};  // unread: left out
  // The same id, question and responses, with opposite labels: together three votes for each side of the first label.
  items[2].samples = {sample_of(true, kOne), sample_of(true, kOne), sample_of(true, kOne)};
  items[3].samples = {sample_of(true, kTwo), sample_of(true, kTwo), sample_of(true, kTwo)};
  items[4].samples = {sample_of(true, "Overall Judgment: Answer 7 is better."),
                      sample_of(true, kOne), sample_of(false, kTwo)};
  CHECK(judging::chosen_first_in_file(items[0]));
  CHECK_FALSE(judging::chosen_first_in_file(items[4]));

  const auto metrics = counted(*benchmark, items, "official");
  CHECK(metrics[0].name == "overall_accuracy");
  CHECK(counts(metrics, "accuracy/general") == "1/1");
  for (const Metric& one : metrics)
    CHECK(one.name != "accuracy/hallucination");  // nothing decided in it
  CHECK(metric(metrics, "accuracy/reasoning").total == 2);
  CHECK(metric(metrics, "overall_accuracy").total == 3);
  CHECK(counts(metrics, "undecided") == "1/4");
  CHECK(metric(metrics, "overall_accuracy").value == metric(metrics, "overall_accuracy@3").value);
  CHECK(counts(metrics, "failed") == "0/5");

  const auto strict = counted(*benchmark, items, "strict");
  CHECK(counts(strict, "overall_accuracy") ==
        "4/5");  // 1: two of three, unread counts against; 3: wrong
  CHECK(strict.size() == benchmark->summarise(outcomes_of(all_items(*benchmark))).size());

  // 7 is not the rejected one's number: the official script is content, lmms-eval compares with the chosen one's.
  items.resize(1);
  items[0].samples = {sample_of(true, "Overall Judgment: Answer 7 is better.")};
  CHECK(counts(counted(*benchmark, items, "official"), "overall_accuracy") == "1/1");
  CHECK(counts(counted(*benchmark, items, "lmms"), "overall_accuracy") == "0/1");
  items[0].samples = {sample_of(true, kOne), sample_of(true, kTwo)};  // no majority
  const auto even = counted(*benchmark, items, "official");
  CHECK(counts(even, "overall_accuracy") == "0/0");
  CHECK(counts(even, "undecided") == "1/1");
  CHECK(counts(counted(*benchmark, items, "strict"), "ties") == "1/1");
}

TEST_CASE("VL-RewardBench, lmms and vlmeval: one answer, in the order that the length tells") {
  FakeContext context;
  const auto benchmark =
      open_benchmark("vl_rewardbench",
                     write_file(context, "data.jsonl",
                                vl_row("Hallucination_1", "a", "b") + vl_row("mmmu_1", "aa", "b") +
                                    vl_row("mmmu_2", "aa", "bb")),
                     context);
  auto items = judged(all_items(*benchmark));
  REQUIRE(items[0].group == "general");  // the official rule goes by case
  // Even: the chosen response, first in the file, is asked about first; odd: second.
  items[0].samples = {sample_of(false, kOne),
                      sample_of(true, kOne)};  // the second sample counts: right
  items[1].samples = {sample_of(true, kOne), sample_of(false, kTwo)};  // likewise
  items[2].samples = {sample_of(false, kTwo)};  // shown in the other order only: counted, and said
  const auto lmms = counted(*benchmark, items, "lmms");
  CHECK(lmms[0].name == "macro_accuracy");
  CHECK(counts(lmms, "overall_accuracy") == "3/3");
  CHECK(counts(lmms, "other_order") == "1/3");
  CHECK(counts(lmms, "accuracy/hallucination") == "1/1");
  CHECK(counts(counted(*benchmark, items, "vlmeval"), "accuracy/general") == "1/1");

  items[0].samples = {sample_of(true, "?")};
  CHECK(counts(counted(*benchmark, items, "vlmeval"), "overall_accuracy") == "2/3");  // wrong
  const auto lots = counted(*benchmark, items, "lmms");
  CHECK(counts(lots, "drawn_by_lot") == "1/3");
  CHECK(counts(lots, "overall_accuracy") ==
        "2/3");  // random.seed(0): random.choice([1, 2]) is 2, and 1 is right
  CHECK_THAT(dynamic_cast<VerdictBenchmark&>(*benchmark).conventions(),
             Catch::Equals(std::vector<std::string>{"official", "lmms", "vlmeval"}));
}

TEST_CASE(
    "Multimodal RewardBench, official: what names neither side is a coin flip with seed 123") {
  FakeContext context;
  std::string rows;
  for (int i = 0; i < 6; ++i)
    rows +=
        R"({"ID":"x)" + std::to_string(i) +
        R"(","Category":"vqa","Text":"Q","Image":"i.png","Output1":"a","Output2":"b","Better":")" +
        (i % 2 ? "Output2" : "Output1") + "\"}\n";
  const auto benchmark = open_benchmark("multimodal_rewardbench",
                                        write_file(context, "all_data.jsonl", rows), context);
  auto items = judged(all_items(*benchmark));
  const auto file_order = [](std::size_t row) { return row % 2 == 0; };
  // random.seed(123) gives .05 .09 .41 .11 .90 .04: A A A A B A; labels A B A B A B.
  for (JudgedItem& item : items)
    item.samples = {sample_of(file_order(item.row), "neither", "brackets")};
  const auto flips = counted(*benchmark, items, "official");
  CHECK(counts(flips, "overall_accuracy") == "2/6");
  CHECK(counts(flips, "drawn_by_lot") == "6/6");
  CHECK(counts(flips, "failed/unparsed") == "6/6");
  CHECK(counts(counted(*benchmark, items, "lmms"), "overall_accuracy") == "3/6");  // always A
  CHECK(counts(counted(*benchmark, items, "strict"), "overall_accuracy") == "0/6");
  // A reply costs no flip: the next row without one gets the first.
  items[0].samples = {sample_of(true, "[[B]] [[A]]", "brackets")};
  items[5].samples = {sample_of(false, "[[B]]", "brackets"), sample_of(true, "[[B]]", "brackets")};
  const auto mixed = counted(*benchmark, items, "official");
  CHECK(counts(mixed, "drawn_by_lot") == "4/6");
  CHECK(counts(mixed, "overall_accuracy") ==
        "4/6");  // 0, 5 by their replies; A A A A for 1 2 3 4: 2 and 4
}

TEST_CASE(
    "MM-RLHF-RewardBench: verdicts are counted strictly, by the paths that they were stored with") {
  FakeContext context;
  const auto benchmark = open_benchmark(
      "mm_rlhf_rewardbench",
      write_file(context, "rows.jsonl",
                 R"({"id":"a","image":"mcq/1.png","prompt":"Q","chosen":"a","rejected":"b"})"),
      context);
  auto items = judged(all_items(*benchmark));
  items[0].samples = {sample_of(true, kOne), sample_of(false, kTwo), sample_of(true, "?")};
  // Nothing has been read of this one's data: stored verdicts are all that it has.
  const auto other =
      open_benchmark("mm_rlhf_rewardbench", context.scratch() / "rows.jsonl", context);
  CHECK(counts(counted(*other, items, "official"), "acc_plus/mcq") == "1/1");
  CHECK(counts(counted(*benchmark, items, "official"), "accuracy") == "1/1");
  CHECK(counts(counted(*benchmark, items, "official"), "acc_plus/mcq") == "1/1");
  items[0].samples.push_back(sample_of(true, "?"));  // two of four
  CHECK(counts(counted(*benchmark, items, "strict"), "accuracy") == "0/1");
  CHECK(counts(counted(*benchmark, items, "strict"), "ties") == "1/1");
}

TEST_CASE(
    "All right is 1 and all wrong is 0 by every convention of every suite; nothing is no error") {
  FakeContext context;
  const std::vector<std::pair<std::string, std::string>> suites{
      {"vl_rewardbench", vl_row("mmmu_1", "a", "b") + vl_row("RLHF-1", "a", "bb", "[1, 0]")},
      {"multimodal_rewardbench",
       R"({"ID":"pairs1","Category":"safety","Text":null,"Image":"i.png","Output1":"a","Output2":"b","Better":"Output2"})"},
      {"mm_rlhf_rewardbench",
       R"({"id":"a","video":"video/1","prompt":"Q","chosen":"a","rejected":"b"})"}};
  for (const auto& [suite, rows] : suites) {
    const auto benchmark =
        open_benchmark(suite, write_file(context, suite + ".jsonl", rows), context);
    auto names = dynamic_cast<VerdictBenchmark&>(*benchmark).conventions();
    names.emplace_back("strict");
    for (const bool right : {true, false})
      for (const std::string& name : names) {
        INFO(suite << " by " << name);
        auto items = judged(all_items(*benchmark));
        for (JudgedItem& item : items)
          for (const bool chosen_first : {true, false})
            item.samples.push_back(sample_of(chosen_first, chosen_first == right ? kOne : kTwo));
        const auto metrics = counted(*benchmark, items, name);
        CHECK(metrics.front().value == (right ? 1 : 0));
        for (const Metric& one : metrics)
          if (one.name.starts_with("accuracy") || one.name.starts_with("overall"))
            CHECK(one.value == (right ? 1 : 0));
        for (const Metric& one : counted(*benchmark, {}, name)) CHECK(one.value == 0);
      }
  }
}
