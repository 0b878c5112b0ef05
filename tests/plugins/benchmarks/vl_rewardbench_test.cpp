// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "dt2it/testing/contracts.hpp"
#include "tests/plugins/benchmarks/fixture.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

// Invented: both rankings, a repeated id with its preference turned round, an image token, every
// prefix.
const char kOriginal[] =
    R"({"id":"RLAIF-V-90001","query":"<image>\nWhat is on the table?","response":["A red cup.","Two blue cups."],"image":"img/cup.png","human_ranking":[0,1],"judge":"human","rationale":"","ground_truth":""}
{"id":"svit-7","query":"Which hat?","response":["The left one.","The right one."],"image":null,"human_ranking":[1,0]}
{"id":"mathverse_5","query":"How long is AB?","response":["3","4"],"image":{"bytes":null,"path":"img/ab.png"},"human_ranking":[0,1],"ground_truth":"3"}
{"id":"mathverse_5","query":"How long is AB?","response":["4","3"],"image":"","human_ranking":[0,1],"ground_truth":"3"}
{"id":"hallucination_pair-3","query":"Describe it.","response":["A dog.","A dog and a cat."],"human_ranking":[0,1]}
{"id":"wildvision-battle_1","query":"Write a caption.","response":["Sea","Sun"],"image":"data:image/png;base64,aGVsbG8=","human_ranking":[0,1]}
)";

}  // namespace

TEST_CASE("VL-RewardBench in original fields") {
  FakeContext context;
  const auto benchmark =
      open_benchmark("vl_rewardbench", write_file(context, "rows.jsonl", kOriginal), context);
  const auto items = all_items(*benchmark);
  REQUIRE(items.size() == 6);
  CHECK(items[0].chosen.text == "A red cup.");
  CHECK(items[1].chosen.text == "The right one.");  // [1, 0]: the second is better
  CHECK(items[1].rejected.text == "The left one.");
  CHECK(items[0].prompt.messages[0].content.back().text == "What is on the table?");
  CHECK(items[2].id == items[3].id);  // ids repeat and both rows stay
  CHECK(items[2].chosen.text == items[3].rejected.text);
  CHECK(items[2].prompt.reference == "3");
  const std::vector<std::string> groups{"hallucination", "general",       "reasoning",
                                        "reasoning",     "hallucination", "general"};
  for (std::size_t i = 0; i < items.size(); ++i) CHECK(items[i].group == groups[i]);

  const Media& absent = items[0].prompt.messages[0].content.at(0).media;
  CHECK_FALSE(absent.present());
  CHECK(absent.source == "img/cup.png");
  CHECK(items[1].prompt.messages[0].content.size() == 1);  // null: no image at all
  CHECK(items[2].prompt.messages[0].content.at(0).media.source == "img/ab.png");
  const Media& inlined = items[5].prompt.messages[0].content.at(0).media;
  REQUIRE(inlined.present());
  CHECK(context.media().bytes(inlined) == Bytes{'h', 'e', 'l', 'l', 'o'});
}

TEST_CASE("VL-RewardBench: images are found below media_root") {
  FakeContext context;
  const auto file = write_file(context, "rows.jsonl", kOriginal);
  write_file(context, "pictures/img/cup.png", "not really a picture");
  const auto benchmark =
      open_benchmark("vl_rewardbench", file, context,
                     {{"media_root", value_of((context.scratch() / "pictures").string())}});
  CHECK(all_items(*benchmark)[0].prompt.messages[0].content.at(0).media.present());
}

TEST_CASE("VL-RewardBench as converted, as an array, in a folder") {
  FakeContext context;
  write_file(
      context, "suite/data.json",
      "[\n {\"id\":\"mmmu_1\",\"prompt\":\"Q\",\"chosen\":\"a, ]\",\"rejected\":\"b\\\"}\"},\n"
      " {\"id\":\"RLHF-1\",\"prompt\":\"Q\",\"chosen\":\"c\",\"rejected\":\"d\"}\n]\n");
  write_file(context, "suite/readme.json", "{}");
  const auto benchmark = open_benchmark("vl_rewardbench", context.scratch() / "suite", context);
  const auto items = all_items(*benchmark);
  REQUIRE(items.size() == 2);
  CHECK(items[0].rejected.text == "b\"}");
  CHECK(items[0].group == "reasoning");
  CHECK(items[1].group == "hallucination");
}

TEST_CASE("VL-RewardBench: half a surrogate pair becomes U+FFFD, line separators are text") {
  FakeContext context;
  const std::string line = R"({"id":"a","prompt":"\\ud83d \ud83d \ud83d\ude00","chosen":"x)"
                           "\xE2\x80\xA8"
                           R"(y","rejected":"\udE00z"})";
  const auto items = all_items(
      *open_benchmark("vl_rewardbench", write_file(context, "a.jsonl", line + "\r\n"), context));
  REQUIRE(items.size() == 1);
  CHECK(items[0].prompt.messages[0].content[0].text == "\\ud83d \xEF\xBF\xBD \xF0\x9F\x98\x80");
  CHECK(items[0].chosen.text == "x\xE2\x80\xA8y");
  CHECK(items[0].rejected.text == "\xEF\xBF\xBDz");
}

TEST_CASE("VL-RewardBench metrics come from counts; ties and failures are wrong and shown") {
  FakeContext context;
  const auto benchmark =
      open_benchmark("vl_rewardbench", write_file(context, "rows.jsonl", kOriginal), context);
  auto outcomes = outcomes_of(all_items(*benchmark));
  outcomes[0].rejected_reward = 1;        // a tie, hallucination
  outcomes[2].status = Status::unparsed;  // reasoning
  const auto metrics = benchmark->summarise(outcomes);
  CHECK(metrics[0].name == "overall_accuracy");
  CHECK(metric(metrics, "overall_accuracy").correct == 4);
  CHECK(metric(metrics, "overall_accuracy").total == 6);
  CHECK(metric(metrics, "accuracy/hallucination").value == 0.5);
  CHECK(metric(metrics, "accuracy/general").value == 1);
  CHECK(metric(metrics, "macro_accuracy").value == Approx((1 + 0.5 + 0.5) / 3));
  CHECK(metric(metrics, "ties").correct == 1);
  CHECK(metric(metrics, "failed").correct == 1);
  CHECK(metric(metrics, "failed/unparsed").correct == 1);
  CHECK(metric(metrics, "accuracy_answered").correct == 4);
  CHECK(metric(metrics, "accuracy_answered").total == 5);
  CHECK_THAT(benchmark->edition(outcomes),
             Catch::Contains("6 rows (general 2, hallucination 2, reasoning 2)") &&
                 Catch::Contains("not the counts"));
}

TEST_CASE("VL-RewardBench: the contract") {
  FakeContext context;
  const auto benchmark =
      open_benchmark("vl_rewardbench", write_file(context, "rows.jsonl", kOriginal), context);
  check_benchmark_contract(*benchmark, context);
}

TEST_CASE("VL-RewardBench: a data set stands in; groups are checked") {
  FakeContext context;
  struct Pairs final : Dataset {
    std::vector<PreferencePair> records;
    std::unique_ptr<Stream<PreferencePair>> pairs() override {
      return std::make_unique<VectorStream<PreferencePair>>(records);
    }
  };
  auto dataset = std::make_shared<Pairs>();
  dataset->records = {sample_pair("anything", "Q", "a", "b"), sample_pair("mmmu_1", "Q", "a", "b")};
  dataset->records[0].group = "hallucination";
  context.add<Dataset>("drawn", dataset);
  const PluginLibrary library("benchmarks/vl_rewardbench");
  const auto benchmark =
      library.make<Benchmark>("vl_rewardbench", {{"dataset", value_of("drawn")}}, context);
  const auto items = all_items(*benchmark);
  CHECK(items.at(0).group == "hallucination");
  CHECK(items.at(1).group == "reasoning");
  dataset->records[0].group = "poetry";
  CHECK_THROWS_WITH(all_items(*benchmark),
                    Catch::Contains("poetry") && Catch::Contains("allowed: general"));

  CHECK_THROWS_AS(library.make<Benchmark>("vl_rewardbench", {}, context), ConfigError);
  CHECK_THROWS_AS(library.make<Benchmark>(
                      "vl_rewardbench",
                      {{"dataset", value_of("drawn")}, {"data", value_of("x.jsonl")}}, context),
                  ConfigError);
}

TEST_CASE("VL-RewardBench: VLMEvalKit's table") {
  FakeContext context;
  const std::string picture(96, 'A');  // 72 bytes of 0
  const std::string rows =
      "\xEF\xBB\xBFindex\timage\tquestion\tresponse\tanswer\tcategory\r\n"
      "7\t" +
      picture +
      "\t\"Which \"\"one\"\"?\nTell.\"\t\"['It\\'s \\u00e9\\n', \"\"two\"\"]\"\t[1, "
      "0]\tReasoning\r\n"
      "8\t7\tQ\t[\"x\", 'y\\x21']\t[0, 1]\tgeneral\n";
  const auto benchmark =
      open_benchmark("vl_rewardbench", write_file(context, "vl_rewardbench.tsv", rows), context);
  const auto items = all_items(*benchmark);
  REQUIRE(items.size() == 2);
  CHECK(items[0].id == "7");
  CHECK(items[0].group == "reasoning");
  CHECK(items[0].chosen.text == "two");
  CHECK(items[0].rejected.text == "It's \xC3\xA9\n");
  CHECK(items[0].prompt.messages[0].content.back().text == "Which \"one\"?\nTell.");
  CHECK(items[1].chosen.text == "x");
  CHECK(items[1].rejected.text == "y!");
  const Media& image = items[1].prompt.messages[0].content.at(0).media;
  CHECK(image.present());
  CHECK(image.id ==
        items[0].prompt.messages[0].content.at(0).media.id);  // row 8 shows what row 7 does
  CHECK(context.media().bytes(image) == Bytes(72, 0));
}

TEST_CASE("VL-RewardBench: what cannot be read is named with its place") {
  FakeContext context;
  const auto problem = [&](const std::string& name, const std::string& text) -> std::string {
    const auto benchmark =
        open_benchmark("vl_rewardbench", write_file(context, name, text), context);
    try {
      all_items(*benchmark);
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  };
  const std::string good = "{\"id\":\"a\",\"prompt\":\"Q\",\"chosen\":\"c\",\"rejected\":\"d\"}";
  CHECK_THAT(problem("a.jsonl", good + "\n\n{\"id\":\n"),
             Catch::Contains("a.jsonl:3: not valid JSON"));
  CHECK_THAT(problem("b.jsonl", good + "\n[1]\n"),
             Catch::Contains("b.jsonl:2: a JSON object is expected"));
  CHECK_THAT(problem("c.jsonl", "{\"prompt\":\"Q\"}"),
             Catch::Contains("c.jsonl:1: field 'id' is missing"));
  CHECK_THAT(
      problem("d.jsonl",
              "{\"id\":\"a\",\"query\":\"Q\",\"response\":[\"x\",\"y\"],\"human_ranking\":[0,0]}"),
      Catch::Contains("[0, 1] or [1, 0]"));
  CHECK_THAT(problem("e.jsonl",
                     "{\"id\":\"a\",\"query\":\"Q\",\"response\":[\"x\"],\"human_ranking\":[0,1]}"),
             Catch::Contains("has 1 elements"));
  CHECK_THAT(problem("f.json", "[" + good + "\n\n," + good + "\n" + good + "]"),
             Catch::Contains("f.json:4: ',' or ']'"));
  CHECK_THAT(problem("g.json", "[" + good + ",\n{\"id\":\"b\""),
             Catch::Contains("g.json:2: the file ends"));
  CHECK_THAT(problem("h.xlsx", "PK"),
             Catch::Contains("h.xlsx") && Catch::Contains("allowed: a .json file"));
  CHECK_THAT(problem("h.parquet", "PAR1"), Catch::Contains("h.parquet"));
  CHECK_THAT(problem("i.tsv", "index\tquestion\n1\n"),
             Catch::Contains("i.tsv:2: has 1 cells") && Catch::Contains("names 2 columns"));
  CHECK_THAT(problem("i.tsv", "index\tquestion\n\n1\t\"open\n"),
             Catch::Contains("i.tsv:3: the file ends within a quoted cell"));
  CHECK_THAT(problem("i.tsv", "index\tquestion\tresponse\tanswer\n1\tQ\tone answer\t[0, 1]\n"),
             Catch::Contains("no list of 2 strings"));
  CHECK_THAT(problem("j.jsonl", "{\"id\":\"a\",\"other\":1}"),
             Catch::Contains("not a VL-RewardBench record"));
  CHECK_THAT(
      problem("k.jsonl",
              "{\"id\":\"a\",\"prompt\":\"Q\",\"chosen\":\"c\",\"rejected\":\"d\",\"image\":7}"),
      Catch::Contains("k.jsonl:1: field 'image'"));
  const auto absent = open_benchmark("vl_rewardbench", context.scratch() / "nowhere", context);
  CHECK_THROWS_WITH(all_items(*absent), Catch::Contains("no such file or folder"));
}

TEST_CASE("VL-RewardBench: damaged files give a located error or records, never a crash") {
  FakeContext context;
  Rng rng(2026);
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::string text = kOriginal;
    if (round % 2) {  // the same as an array
      text.pop_back();
      for (std::size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at + 2))
        text.replace(at, 1, ",\n");
      text = "[" + text + "]";
    }
    for (int i = rng.integer(1, 4); i > 0 && !text.empty(); --i) {
      const std::size_t at = rng.below(text.size());
      switch (rng.integer(0, 3)) {
        case 0: text[at] = static_cast<char>(rng.integer(0, 255)); break;
        case 1: text.erase(at, rng.below(20)); break;
        case 2: text.insert(at, text.substr(rng.below(text.size()), rng.below(20))); break;
        default: text.resize(at + 1);
      }
    }
    const std::string name = round % 2 ? "m.json" : "m.jsonl";
    const auto benchmark =
        open_benchmark("vl_rewardbench", write_file(context, name, text), context);
    try {
      all_items(*benchmark);
    } catch (const DataError& error) {
      INFO(error.what());
      CHECK(std::string(error.what()).find(name + ":") != std::string::npos);
      ++refused;
    }
  }
  CHECK(refused > 100);
}

TEST_CASE("VL-RewardBench: the real records") {
  const auto data = real_data("vl_rewardbench/data.jsonl");
  if (data.empty()) return;
  FakeContext context;
  const auto benchmark = open_benchmark("vl_rewardbench", data.parent_path(), context);
  const auto items = all_items(*benchmark);
  REQUIRE(items.size() == 1250);
  const auto outcomes = outcomes_of(items);
  const auto metrics = benchmark->summarise(outcomes);
  CHECK(metric(metrics, "accuracy/general").total == 183);
  CHECK(metric(metrics, "accuracy/hallucination").total == 749);
  CHECK(metric(metrics, "accuracy/reasoning").total == 318);
  CHECK(benchmark->edition(outcomes) == "VL-RewardBench, 1,250 rows");
  std::set<std::string> ids;
  for (const auto& item : items) ids.insert(item.id);
  CHECK(ids.size() == 1225);  // 25 ids occur twice
  CHECK_FALSE(items[0].prompt.messages[0].content.at(0).media.present());
  const auto ties = benchmark->summarise(outcomes_of(items, 0.25, 0.25));
  CHECK(metric(ties, "overall_accuracy").correct == 0);
  CHECK(metric(ties, "ties").correct == 1250);
}
