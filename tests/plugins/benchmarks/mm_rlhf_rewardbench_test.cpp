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
    "MM-RLHF-RewardBench: image and video exclude each other, and the path tells the category") {
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
  CHECK_THAT(problem(R"("image":"other/1.png",)"),
             Catch::Contains("one of mcq, long, short, safety, video"));
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
