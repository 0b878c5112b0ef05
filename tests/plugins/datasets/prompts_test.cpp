// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <set>
#include <string>

#include "dt2it/testing/contracts.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

fs::path put(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

std::shared_ptr<Dataset> open(const fs::path& file, FakeContext& context, Table params = {}) {
  static const PluginLibrary plugin("datasets/prompts");
  params["file"] = value_of(file.string());
  return plugin.make<Dataset>("prompts", params, context);
}

std::vector<Prompt> read(const fs::path& file, FakeContext& context, const Table& params = {}) {
  return drain(*open(file, context, params)->prompts());
}

std::string text_of(const Message& message) {
  std::string text;
  for (const Part& part : message.content)
    text += part.kind == Part::Kind::text ? part.text : "<" + part.media.source + ">";
  return text;
}

}  // namespace

TEST_CASE("the_cauldron: every turn of an image is a prompt") {
  FakeContext context;
  put(context.scratch() / "ai2d/a.png", "pixels");
  const auto file =
      put(context.scratch() / "ai2d/train-00000-of-00001.jsonl",
          R"({"images":["a.png"],"texts":[{"user":"One?","assistant":"1","source":"AI2D"},)"
          R"({"user":"Two?","assistant":"2","source":"AI2D"}]})"
          "\n"
          R"({"images":["gone.png"],"texts":[{"user":"Three?","assistant":"3"}]})"
          "\n");
  const auto prompts = read(file, context);
  REQUIRE(prompts.size() == 3);
  CHECK(prompts[0].id == "ai2d/0/0");
  CHECK(prompts[1].id == "ai2d/0/1");
  CHECK(prompts[2].id == "ai2d/1");
  CHECK(prompts[0].source == "AI2D");
  CHECK(prompts[2].source == "ai2d");
  for (const Prompt& prompt : prompts) CHECK(prompt.domain == "reasoning");
  REQUIRE(prompts[1].messages.size() == 1);
  CHECK(text_of(prompts[1].messages[0]) == "<a.png>Two?");
  CHECK(prompts[1].messages[0].content[0].media.present());
  CHECK(prompts[1].reference == "2");
  CHECK_FALSE(prompts[2].messages[0].content[0].media.present());
  check_dataset_contract(*open(file, context), context);

  const auto chained = read(file, context, {{"turns", value_of("context")}});
  REQUIRE(chained.size() == 3);
  REQUIRE(chained[1].messages.size() == 3);
  CHECK(text_of(chained[1].messages[1]) == "1");
  CHECK(text_of(chained[1].messages[2]) == "Two?");
  CHECK(read(file, context, {{"turns", value_of("first")}}).size() == 2);
}

TEST_CASE("Conversations: marks of images, turns, the answer of each turn") {
  FakeContext context;
  const auto file = put(
      context.scratch() / "geo170k(qa).json",
      R"([{"id":"x","image":"g.png","data_source":"Geo170K","conversations":[{"from":"human","value":"<image>\nArea?"},)"
      R"({"from":"gpt","value":"4"},{"from":"human","value":"Why?"},{"from":"gpt","value":"2 x 2"}]}])");
  const auto prompts = read(file, context);
  REQUIRE(prompts.size() == 2);
  CHECK(text_of(prompts[0].messages.at(0)) == "<g.png>\nArea?");
  CHECK(prompts[0].reference == "4");
  REQUIRE(prompts[1].messages.size() == 3);
  CHECK(prompts[1].reference == "2 x 2");
  CHECK(prompts[1].source == "Geo170K");
  CHECK(prompts[1].domain == "reasoning");
  CHECK(prompts[1].extra == R"({"record_id":"x"})");
  const auto each = read(file, context, {{"turns", value_of("each")}});
  REQUIRE(each.size() == 2);
  REQUIRE(each[1].messages.size() == 1);
  CHECK(text_of(each[1].messages[0]) == "<g.png>Why?");
  const auto last = read(file, context, {{"turns", value_of("last")}});
  REQUIRE(last.size() == 1);
  CHECK(last[0].reference == "2 x 2");
}

TEST_CASE("Questions with options: an index, a letter or the text is the answer") {
  FakeContext context;
  const auto file = put(
      context.scratch() / "mixed.jsonl",
      R"({"question":"Which?","choices":["red","blue"],"answer":1,"hint":"Look.","solution":"It is blue.","image":"a"})"
      "\n"
      R"j({"question":"Which?","choices":["red","blue"],"answer":"(A)","context":"","rationale":"Red it is.","image":"a"})j"
      "\n"
      R"({"question":"Which?","choices":["red","blue"],"answer":"blue","image":null})"
      "\n"
      R"({"question":"Which?","choices":["red","blue"],"answer":7,"image":"a"})"
      "\n"
      R"({"question":"What?","choices":[],"answer":"a tree","image":["a","b"]})"
      "\n"
      R"({"question":"Is it safe?","chosen":"No.","rejected":"Yes.","image":"a"})"
      "\n"
      R"({"question":"How many?","answers":["3","three"],"image":""})"
      "\n");
  const auto prompts = read(file, context);
  REQUIRE(prompts.size() == 7);
  CHECK(text_of(prompts[0].messages[0]) == "<a>Look.\nWhich?\nOptions:\n(A) red\n(B) blue");
  CHECK(prompts[0].reference == "(B) blue\nIt is blue.");
  CHECK(prompts[1].reference == "(A) red\nRed it is.");
  CHECK(prompts[2].reference == "(B) blue");
  CHECK(prompts[3].messages.empty());
  CHECK_THAT(prompts[3].extra, Contains("mixed.jsonl:4") && Contains("option 7 of 2"));
  CHECK(text_of(prompts[4].messages[0]) == "<a><b>What?");
  CHECK(prompts[5].reference == "No.");
  CHECK(prompts[6].reference == "3");
  CHECK(prompts[6].messages[0].content.size() == 1);
  CHECK(read(file, context, {{"rationale", value_of(false)}})[0].reference == "(B) blue");
  CHECK(read(file, context, {{"images_only", value_of(true)}}).size() ==
        5);  // ScienceQA: many have none
  CHECK_THROWS_WITH(read(file, context, {{"bad_records", value_of("stop")}}),
                    Contains("mixed.jsonl:4"));
}

TEST_CASE("Columns can be named, domains and sources given") {
  FakeContext context;
  const auto file = put(context.scratch() / "own.jsonl",
                        R"({"q":"Who?","truth":"I","pic":"a.png","question":"not this"})"
                        "\n");
  const auto prompts = read(file, context,
                            {{"columns",
                              {Table{{"question", value_of("q")},
                                     {"reference", value_of("truth")},
                                     {"images", value_of("pic")}}}},
                             {"source", value_of("mine")},
                             {"domain", value_of("dreams")}});
  REQUIRE(prompts.size() == 1);
  CHECK(text_of(prompts[0].messages[0]) == "<a.png>Who?");
  CHECK(prompts[0].reference == "I");
  CHECK(prompts[0].source == "mine");
  CHECK(prompts[0].domain == "dreams");
  CHECK_THROWS_WITH(open(file, context, {{"columns", {Table{{"colour", value_of("q")}}}}}),
                    Contains("colour") && Contains("question"));
}

TEST_CASE(
    "InternVL's meta file: subsets, their folders, their shares; a trailing comma is no harm") {
  FakeContext context;
  const fs::path root = context.scratch();
  std::string many;
  for (int i = 0; i < 40; ++i)
    many += R"({"image":"i.png","question":"<image>\nQ)" + std::to_string(i) +
            R"(?","answer":"A"})"
            "\n";
  put(root / "ann/one.jsonl", many);
  put(root / "ann/two.jsonl", R"({"question":"No picture?","answer":"None","image":""})"
                              "\n");
  put(root / "pics/one/i.png", "x");
  const auto meta = put(
      root / "meta.json",
      R"({"one":{"root":"pics/one","annotation":"ann/one.jsonl","data_augment":false,"repeat_time":0.25,"length":40},
                           "two":{"root":"pics/two","annotation":"ann/two.jsonl","repeat_time":2,"length":1},})");
  const auto prompts = read(meta, context);
  REQUIRE(prompts.size() == 11);
  CHECK(prompts[0].messages[0].content[0].media.present());
  CHECK_THAT(text_of(prompts[0].messages[0]), Contains("<i.png>") && !Contains("<image>"));
  CHECK(prompts[0].source == "one");
  CHECK(prompts[10].source == "two");
  CHECK(prompts[10].messages[0].content.size() == 1);
  CHECK(read(meta, context) == prompts);  // the same draw
  put(root / "meta.json", R"({"one":{"root":"p","annotation":"gone.jsonl"}})");
  CHECK_THROWS_WITH(read(meta, context), Contains("subset 'one'") && Contains("gone.jsonl"));
}

TEST_CASE(
    "A sample is exact, seeded, in order; shards and patterns are read in order of their names") {
  FakeContext context(1), other(2);
  const fs::path root = context.scratch();
  for (int shard = 0; shard < 3; ++shard) {
    std::string text;
    for (int i = 0; i < 30; ++i)
      text += R"({"question":"Q)" + std::to_string(30 * shard + i) +
              R"("})"
              "\n";
    put(root / ("set/train-0000" + std::to_string(shard) + ".jsonl"), text);
  }
  const Table params{{"sample", value_of(25)}};
  const auto some = read(root / "set", context, params);
  REQUIRE(some.size() == 25);
  CHECK(read(root / "set", context, params) == some);
  CHECK_FALSE(read(root / "set", other, params) == some);
  int last = -1;
  std::set<int> shards;
  for (const Prompt& prompt : some) {
    const int number = std::stoi(prompt.messages[0].content[0].text.substr(1));
    CHECK(number > last);
    last = number;
    shards.insert(number / 30);
    CHECK(prompt.id == "set/" + std::to_string(number));
  }
  CHECK(shards.size() == 3);
  CHECK(read(root / "set/train-0000[02].jsonl", context).size() == 60);
  CHECK_THROWS_WITH(read(root / "set/valid-*.jsonl", context),
                    Contains("valid-*.jsonl") && Contains("allowed"));
}

TEST_CASE(
    "Records that are no JSON and shards cut short are reported with their place, and the rest is "
    "read") {
  FakeContext context;
  put(context.scratch() / "s/a.jsonl", R"({"question":"1"})"
                                       "\n{broken\n"
                                       R"({"question":"2"})"
                                       "\n[1,2]\n"
                                       R"({"smell":"3"})"
                                       "\n"
                                       R"({"question":"4)");
  put(context.scratch() / "s/b.json", R"([{"question":"5"},{"question":"6")");
  put(context.scratch() / "s/c.parquet", "PAR1 this was never finished");
  put(context.scratch() / "s/d.jsonl", R"({"question":"7"})");
  std::string good;
  std::vector<std::string> bad;
  for (const Prompt& prompt : read(context.scratch() / "s", context)) {
    if (prompt.messages.empty())
      bad.push_back(prompt.extra);
    else
      good += prompt.messages[0].content[0].text;
  }
  CHECK(good == "1257");
  REQUIRE(bad.size() == 6);
  CHECK_THAT(bad[0], Contains("a.jsonl:2"));
  CHECK_THAT(bad[1], Contains("a.jsonl:4"));
  CHECK_THAT(bad[2], Contains("a.jsonl:5") && Contains("has no question"));
  CHECK_THAT(bad[3], Contains("a.jsonl:6"));
  CHECK_THAT(bad[4], Contains("b.json:1") && Contains("ends within"));
  CHECK_THAT(bad[5], Contains("c.parquet"));
}

TEST_CASE("Images by key from a table of their own, as GQA has them") {
  FakeContext context;
  put(context.scratch() / "questions.jsonl",
      R"({"imageId":"n1","question":"Where?","fullAnswer":"Here."})"
      "\n"
      R"({"imageId":"n2","question":"When?","fullAnswer":"Now."})"
      "\n");
  put(context.scratch() / "pics/table.jsonl", R"({"id":"n1","image":"p.png"})"
                                              "\n");
  put(context.scratch() / "pics/p.png", "x");
  const auto prompts =
      read(context.scratch() / "questions.jsonl", context,
           {{"image_table", value_of((context.scratch() / "pics/table.jsonl").string())},
            {"source", value_of("GQA")}});
  REQUIRE(prompts.size() == 2);
  CHECK(prompts[0].messages[0].content[0].media.present());
  CHECK(prompts[0].reference == "Here.");
  CHECK(prompts[0].domain == "visual_understanding");
  CHECK_THAT(prompts[1].extra, Contains("n2") && Contains("not in the table"));
}

TEST_CASE("A chain puts data sets one after the other; the same ids stay apart") {
  FakeContext context;
  const auto file = put(context.scratch() / "a.jsonl", R"({"question":"1"})"
                                                       "\n"
                                                       R"({"question":"2"})");
  context.add<Dataset>("left", open(file, context));
  context.add<Dataset>("right", open(file, context));
  static const PluginLibrary plugin("datasets/chain");
  const auto chain = plugin.make<Dataset>("chain", {{"parts", names({"left", "right"})}}, context);
  const auto prompts = drain(*chain->prompts());
  REQUIRE(prompts.size() == 4);
  CHECK(prompts[0].id == "left/a/0");
  CHECK(prompts[3].id == "right/a/1");
  check_dataset_contract(*chain, context);
  CHECK_THROWS_AS(plugin.make<Dataset>("chain", {{"parts", names({"left", "left"})}}, context),
                  ConfigError);
}

TEST_CASE("A sample loses nothing at the ends of files, and is drawn of what shares leave") {
  FakeContext context;
  const fs::path root = context.scratch();
  for (int shard = 0; shard < 10; ++shard)
    put(root / ("set/train-0" + std::to_string(shard) + ".jsonl"),
        R"({"question":"Q)" + std::to_string(shard) + "\"}\n");
  CHECK(read(root / "set", context, {{"sample", value_of(10)}}).size() == 10);
  for (const int sample : {1, 4, 9})
    CHECK(read(root / "set", context, {{"sample", value_of(sample)}}).size() ==
          static_cast<std::size_t>(sample));
  std::string many;
  for (int i = 0; i < 40; ++i)
    many += R"({"image":"","question":"Q)" + std::to_string(i) + "\",\"answer\":\"A\"}\n";
  put(root / "mmpr/one.jsonl", many);
  put(root / "mmpr/two.jsonl", many);
  const auto meta = put(root / "mmpr/meta.json",
                        R"({"one":{"root":"p","annotation":"one.jsonl","repeat_time":0.25},)"
                        R"("two":{"root":"p","annotation":"two.jsonl","repeat_time":0.5}})");
  for (const int sample : {1, 12, 29, 30, 31}) {
    const auto some = read(meta, context, {{"sample", value_of(sample)}});
    CHECK(some.size() == static_cast<std::size_t>(std::min(sample, 30)));
    std::set<std::string> ids;
    for (const Prompt& prompt : some) ids.insert(prompt.id);
    CHECK(ids.size() == some.size());
  }
  // A shard cut short has one record more, which tells of it; one that cannot be read is told, too.
  put(root / "torn/a.json", R"([{"question":"1"},{"question":"2"},{"question")");
  put(root / "torn/b.parquet", "PAR1 this was never finished");
  put(root / "torn/c.jsonl", "{\"question\":\"3\"}\n{\"question\":\"4\"}\n");
  std::size_t good = 0, bad = 0;
  for (const Prompt& prompt : read(root / "torn", context, {{"sample", value_of(5)}}))
    ++(prompt.messages.empty() ? bad : good);
  CHECK(good == 4);
  CHECK(bad == 2);
}

TEST_CASE("Alpaca's input and history, and references that are whole conversations") {
  FakeContext context;
  const auto file = put(
      context.scratch() / "alpaca.jsonl",
      R"({"instruction":"Q?","input":"ctx","output":"A"})"
      "\n"
      R"({"instruction":"Q?","input":"ctx","output":"A","system":"S","history":[["one","1"]]})"
      "\n"
      R"({"question":"Q?","input":"not alpaca's","output":"A"})"
      "\n"
      R"({"instruction":"Q?","history":"one","output":"A"})"
      "\n"
      R"({"prompt":"Q?","chosen":[{"role":"user","content":"Q?"},{"role":"assistant","content":"A"}]})"
      "\n");
  const auto prompts = read(file, context);
  REQUIRE(prompts.size() == 6);
  CHECK(text_of(prompts[0].messages.at(0)) == "Q?\nctx");
  CHECK(prompts[0].reference == "A");
  REQUIRE(prompts[1].messages.size() == 2);  // a prompt for each turn, with those before it
  CHECK(prompts[1].reference == "1");
  REQUIRE(prompts[2].messages.size() == 4);
  CHECK(text_of(prompts[2].messages[1]) == "one");
  CHECK(text_of(prompts[2].messages[3]) == "Q?\nctx");
  CHECK(prompts[2].reference == "A");
  CHECK(text_of(prompts[3].messages.at(0)) == "Q?");
  CHECK_THAT(prompts[4].extra, Contains("alpaca.jsonl:4") && Contains("'history' must be"));
  CHECK(prompts[5].reference == "A");
  CHECK(read(file, context, {{"turns", value_of("last")}}).size() == 5);
}
