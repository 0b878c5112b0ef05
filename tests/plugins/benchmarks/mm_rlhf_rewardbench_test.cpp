// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "dt2it/testing/contracts.hpp"
#include "tests/plugins/benchmarks/fixture.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

const char kRows[] =
    R"({"id":"set/q1","image":"some/prefix/mcq/1.png","prompt":"Which?","chosen":"A","rejected":"B","chosen_reason":"r"}
{"id":"set/q1","image":"some/prefix/mcq/1.png","prompt":"Which?","chosen":"A","rejected":"C"}
{"id":"q2","image":"long/2.png","prompt":"Tell.","chosen":"A tale.","rejected":"No."}
{"id":"v3","video":"video/clip-1","prompt":"What happens?","chosen":"A jump.","rejected":"A fall."}
)";

}  // namespace

TEST_CASE("MM-RLHF-RewardBench: Acc and Acc+") {
  FakeContext context;
  const auto benchmark =
      open_benchmark("mm_rlhf_rewardbench", write_file(context, "rows.jsonl", kRows), context);
  const auto items = all_items(*benchmark);
  REQUIRE(items.size() == 4);
  CHECK(items[0].id == "set/q1");
  CHECK(items[0].group == "mcq");
  CHECK(items[3].group == "video");
  CHECK(items[3].prompt.messages[0].content.at(0).kind == Part::Kind::video);
  CHECK(items[3].prompt.messages[0].content.at(0).media.source == "video/clip-1");

  auto outcomes = outcomes_of(items);
  outcomes[1].rejected_reward = 2;  // the second row of q1 is wrong, so q1 is
  const auto metrics = benchmark->summarise(outcomes);
  CHECK(metrics[0].name == "accuracy");
  CHECK(metrics[0].correct == 3);
  CHECK(metrics[0].total == 4);
  CHECK(metric(metrics, "acc_plus").correct == 2);
  CHECK(metric(metrics, "acc_plus").total == 3);
  CHECK(metric(metrics, "accuracy/mcq").value == 0.5);
  CHECK(metric(metrics, "acc_plus/mcq").value == 0);
  CHECK(metric(metrics, "acc_plus/video").value == 1);
  CHECK_THAT(benchmark->edition(outcomes),
             Catch::StartsWith("4 rows") && Catch::Contains("found 3 ids"));
}

TEST_CASE("MM-RLHF-RewardBench: a video is a folder of frames, by sorted names") {
  FakeContext context;
  const auto file = write_file(context, "rows.jsonl", kRows);
  for (const char* name : {"10.png", "02.png", "01.png"})
    write_file(context, std::string("video/clip-1/") + name, name);
  const auto items = all_items(*open_benchmark("mm_rlhf_rewardbench", file, context));
  const Media& video = items[3].prompt.messages[0].content.at(0).media;
  CHECK(video.kind == Media::Kind::video);
  REQUIRE(video.frames.size() == 3);
  Media last;
  last.id = video.frames[2];
  CHECK(context.media().bytes(last) == Bytes{'1', '0', '.', 'p', 'n', 'g'});
}

TEST_CASE(
    "MM-RLHF-RewardBench: questions over several categories, and paths with several words or "
    "none") {
  // As the suite's script has it: a row is in the first category whose word is in its path; a question is in the size of all
  // that occur in its paths, and right in the first of those alone.
  FakeContext context;
  const auto row = [](const std::string& id, const std::string& image) {
    return R"({"id":")" + id + R"(","image":")" + image +
           R"(","prompt":"Q","chosen":"a","rejected":"b"})" + "\n";
  };
  const auto benchmark =
      open_benchmark("mm_rlhf_rewardbench",
                     write_file(context, "rows.jsonl",
                                row("a", "mcq/1.png") + row("a", "long/2.png") +
                                    row("b", "long/short/3.png") + row("c", "elsewhere/4.png") +
                                    row("b", "long/short/5.png") + row("d", "short/6.png")),
                     context);
  const auto items = all_items(*benchmark);
  const auto figures = [&](std::vector<std::size_t> wrong) {
    auto outcomes = outcomes_of(items);
    for (const std::size_t at : wrong) outcomes[at].rejected_reward = 1;  // a tie
    std::string text;
    for (const Metric& one : benchmark->summarise(outcomes))
      if (one.name.starts_with("acc") && one.total && one.name != "accuracy_answered")
        text +=
            one.name + " " + std::to_string(*one.correct) + "/" + std::to_string(*one.total) + "\n";
    return text;
  };
  CHECK(figures({}) ==
        "accuracy 6/6\nacc_plus 4/4\naccuracy/mcq 1/1\nacc_plus/mcq 1/1\naccuracy/long "
        "3/3\nacc_plus/long 1/2\n"
        "accuracy/short 1/1\nacc_plus/short 1/2\n");
  // The question a is wrong in mcq as well when its row of long is; rows of no category count in the whole.
  CHECK(figures({1, 3}) ==
        "accuracy 4/6\nacc_plus 2/4\naccuracy/mcq 1/1\nacc_plus/mcq 0/1\naccuracy/long "
        "2/3\nacc_plus/long 1/2\n"
        "accuracy/short 1/1\nacc_plus/short 1/2\n");
  CHECK_THAT(benchmark->edition(outcomes_of(items)), Catch::Contains("other 1"));
}

TEST_CASE("MM-RLHF-RewardBench: image and video exclude each other") {
  FakeContext context;
  const auto problem = [&](const std::string& media) -> std::string {
    const auto benchmark =
        open_benchmark("mm_rlhf_rewardbench",
                       write_file(context, "x.jsonl",
                                  "{\"id\":\"a\"," + media +
                                      "\"prompt\":\"Q\",\"chosen\":\"x\",\"rejected\":\"y\"}"),
                       context);
    try {
      all_items(*benchmark);
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK_THAT(problem(R"("image":"mcq/1.png","video":"video/1",)"),
             Catch::Contains("x.jsonl:1") && Catch::Contains("both found"));
  CHECK_THAT(problem(""), Catch::Contains("none found"));
  CHECK(problem(R"("image":"safety/1.png","video":null,)") == "no error");
}

TEST_CASE("MM-RLHF-RewardBench: the contract") {
  FakeContext context;
  const auto benchmark =
      open_benchmark("mm_rlhf_rewardbench", write_file(context, "rows.jsonl", kRows), context);
  check_benchmark_contract(*benchmark, context);
}

TEST_CASE("MM-RLHF-RewardBench: the real records") {
  const auto data = real_data("mm_rlhf_rewardbench/mm_reward_bench.jsonl");
  if (data.empty()) return;
  FakeContext context;
  const auto benchmark = open_benchmark("mm_rlhf_rewardbench", data, context);
  const auto items = all_items(*benchmark);
  REQUIRE(items.size() == 170);
  const auto outcomes = outcomes_of(items);
  const auto metrics = benchmark->summarise(outcomes);
  const std::vector<std::pair<std::string, std::pair<int, int>>> sizes{{"mcq", {42, 10}},
                                                                       {"long", {37, 10}},
                                                                       {"short", {34, 10}},
                                                                       {"safety", {32, 6}},
                                                                       {"video", {25, 10}}};
  for (const auto& [group, size] : sizes) {
    CHECK(metric(metrics, "accuracy/" + group).total == size.first);
    CHECK(metric(metrics, "acc_plus/" + group).total == size.second);
  }
  CHECK(metric(metrics, "acc_plus").total == 46);
  CHECK(benchmark->edition(outcomes) == "MM-RLHF-RewardBench, 170 rows of 46 ids");
}
