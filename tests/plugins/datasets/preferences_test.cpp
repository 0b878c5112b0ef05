// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <fstream>

#include "dt2it/testing/contracts.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using Catch::Matchers::Contains;

namespace {

std::filesystem::path write_file(FakeContext& context, const std::string& name,
                                 const std::string& text) {
  const auto file = context.scratch() / name;
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

std::vector<AnswerRecord> read(FakeContext& context, const std::string& text, Table params = {},
                               const std::string& name = "data.jsonl") {
  static const PluginLibrary plugin("datasets/preferences");
  params["file"] = value_of(write_file(context, name, text).string());
  const auto dataset = plugin.make<Dataset>("preferences", params, context);
  return drain(*dataset->answers({}));
}

AnswerRecord one(FakeContext& context, const std::string& text, Table params = {}) {
  auto records = read(context, text, std::move(params));
  REQUIRE(records.size() == 1);
  INFO(records[0].detail);
  CHECK(records[0].status == Status::ok);
  return records[0];
}

std::string problem(FakeContext& context, const std::string& text, Table params = {}) {
  auto records = read(context, text, std::move(params));
  REQUIRE(records.size() == 1);
  CHECK(records[0].status == Status::invalid);
  CHECK_THAT(records[0].detail, Contains("data.jsonl:1: "));
  return records[0].detail;
}

// "user: [a.png] What? | assistant: It."
std::string shown(const Prompt& prompt) {
  constexpr const char* kRoles[] = {"system", "user", "assistant"};
  std::string text;
  for (const Message& message : prompt.messages) {
    text +=
        (text.empty() ? "" : " | ") + std::string(kRoles[static_cast<int>(message.role)]) + ": ";
    for (const Part& part : message.content)
      text += part.kind == Part::Kind::text
                  ? part.text
                  : (part.kind == Part::Kind::video ? "{" : "[") + part.media.source +
                        (part.media.present() ? "" : "?") +
                        (part.kind == Part::Kind::video ? "}" : "]");
  }
  return text;
}

struct Pictures {
  FakeContext context;
  Pictures() {
    for (const char* name : {"a.png", "b.png"})
      write_file(context, name, std::string("bytes of ") + name);
  }
};

}  // namespace

TEST_CASE_METHOD(Pictures, "LLaMA-Factory's ranking records, texts byte for byte") {
  const AnswerRecord record = one(
      context,
      R"({"conversations":[{"from":"human","value":"<image>\nWhat is <image>this?"},{"from":"gpt","value":"A cup."},{"from":"human","value":" Why?\n"}],"chosen":{"from":"gpt","value":"\nBecause."},"rejected":{"from":"gpt","value":"No. "},"images":["a.png","b.png"],"system":"Be brief.","id":7})");
  CHECK(record.id == "7");
  CHECK(record.pair);
  CHECK(shown(record.prompt) ==
        "system: Be brief. | user: [a.png]\nWhat is [b.png]this? | assistant: A cup. | user:  "
        "Why?\n");
  REQUIRE(record.responses.size() == 2);
  CHECK(record.responses[0].text == "\nBecause.");
  CHECK(record.responses[1].text == "No. ");
  CHECK(record.prompt.messages[1].content[0].media.present());
}

TEST_CASE_METHOD(Pictures, "ms-swift, LLaVA and POVID: the conversation ends with the answer") {
  const AnswerRecord swift = one(
      context,
      R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":"<image>Q"},{"role":"assistant","content":"good"}],"rejected_response":"bad","images":["a.png"]})");
  CHECK(shown(swift.prompt) == "system: S | user: [a.png]Q");
  CHECK(swift.responses[0].text == "good");
  CHECK(swift.responses[1].text == "bad");
  const AnswerRecord other = one(
      context,
      R"({"messages":[{"role":"user","content":"<image>Q"},{"role":"assistant","content":"good"}],"rejected_response":"bad","images":["a.png"],"rejected_images":[{"path":"b.png"}]})");
  REQUIRE(other.rejected_prompt);
  CHECK(shown(*other.rejected_prompt) == "user: [b.png]Q");
  const AnswerRecord povid = one(
      context,
      R"({"id":"x","image":"b.png","conversations":[{"from":"human","value":"<image>\nQ"},{"from":"gpt","value":"good"}],"rejected_conversations":[{"from":"human","value":"<image>\nQ"},{"from":"gpt","value":"bad"}]})",
      {{"format", value_of("llava")}});
  CHECK(shown(povid.prompt) == "user: [b.png]\nQ");
  CHECK(povid.responses[1].text == "bad");
  const AnswerRecord single = one(
      context,
      R"({"image":"a.png","conversations":[{"from":"human","value":"Q\n<image>"},{"from":"gpt","value":"A"}]})");
  CHECK_FALSE(single.pair);
  CHECK(shown(single.prompt) == "user: Q\n[a.png]");
  CHECK(single.responses[0].text == "A");
}

TEST_CASE_METHOD(Pictures, "TRL's vision rows, with an explicit and an implicit prompt") {
  const AnswerRecord explicit_prompt = one(
      context,
      R"({"prompt":[{"role":"user","content":[{"type":"image","text":null},{"type":"text","text":"Q"}]}],"chosen":[{"role":"assistant","content":[{"type":"text","text":"go"},{"type":"text","text":"od"}]}],"rejected":[{"role":"assistant","content":"bad"}],"images":["a.png"]})",
      {{"format", value_of("trl")}});
  CHECK(shown(explicit_prompt.prompt) == "user: [a.png]Q");
  CHECK(explicit_prompt.responses[0].text == "good");
  CHECK(explicit_prompt.responses[1].text == "bad");
  const AnswerRecord implicit_prompt = one(
      context,
      R"({"chosen":[{"role":"user","content":"Q"},{"role":"assistant","content":"good"}],"rejected":[{"role":"user","content":"Q"},{"role":"assistant","content":"bad"}],"image":"b.png"})");
  CHECK(shown(implicit_prompt.prompt) == "user: [b.png]Q");
  CHECK(implicit_prompt.responses[0].text == "good");
  CHECK_THAT(
      problem(
          context,
          R"({"chosen":[{"role":"user","content":"Q"},{"role":"assistant","content":"good"}],"rejected":[{"role":"user","content":"R"},{"role":"assistant","content":"bad"}]})"),
      Contains("differ before the last"));
  const AnswerRecord texts = one(context, R"({"prompt":"Q","chosen":"good","rejected":"bad"})");
  CHECK(shown(texts.prompt) == "user: Q");
}

TEST_CASE_METHOD(Pictures,
                 "Flat rows, several candidates, single answers, this software's own records") {
  const AnswerRecord rlaif = one(
      context,
      R"({"idx":"3","question":"Q","chosen":"good","rejected":"bad","image":{"bytes":null,"path":"a.png"}})");
  CHECK(shown(rlaif.prompt) == "user: [a.png]Q");
  CHECK(rlaif.id == "3");
  const AnswerRecord several = one(
      context,
      R"({"prompt":"Q","responses":["a",{"id":"k","text":"b"},"c"],"image":"data:image/png;base64,QUJD"})");
  CHECK_FALSE(several.pair);
  REQUIRE(several.responses.size() == 3);
  CHECK(several.responses[1].id == "k");
  CHECK(several.responses[1].text == "b");
  CHECK(several.responses[2].id == "2");
  CHECK(one(context, R"({"question":"Q","response":"a"})").responses.size() == 1);

  const AnswerRecord own = one(
      context,
      R"({"id":"1","prompt":{"id":"p","messages":[{"role":"user","content":[{"type":"image","image":{"source":"a.png"}},{"type":"text","text":"Q <image>"}]}]},"chosen":{"id":"0","text":"yes"},"rejected":{"id":"1","text":"no"}})",
      {{"format", value_of("dt2it")}});
  CHECK(own.pair);
  CHECK(shown(own.prompt) == "user: [a.png]Q <image>");
  const AnswerRecord candidates = one(
      context,
      R"({"prompt":{"messages":[{"role":"user","content":"Q"}]},"responses":[{"text":"a"},{"text":"b"}]})");
  CHECK(candidates.responses.size() == 2);
}

TEST_CASE_METHOD(Pictures, "dataset_info.json names columns and tags") {
  write_file(
      context, "dataset_info.json",
      R"({"other":{"file_name":"other.json"},"mine":{"file_name":"data.jsonl","formatting":"sharegpt","ranking":true,"columns":{"messages":"talk","chosen":"win","rejected":"lose","images":"pics"},"tags":{"role_tag":"who","content_tag":"says","user_tag":"U","assistant_tag":"A"}}})");
  const std::string text =
      R"({"talk":[{"who":"U","says":"<image>Q"}],"win":{"who":"A","says":"good"},"lose":{"who":"A","says":"bad"},"pics":["a.png"]})";
  const AnswerRecord record = one(context, text);
  CHECK(shown(record.prompt) == "user: [a.png]Q");
  CHECK(record.responses[0].text == "good");
  write_file(
      context, "elsewhere/dataset_info.json",
      R"({"mine":{"file_name":"../data.jsonl","ranking":true,"columns":{"prompt":"q","query":"more","chosen":"c","rejected":"r"}}})");
  const AnswerRecord alpaca = one(
      context, R"({"q":"Q","more":"M","c":"good","r":"bad"})",
      {{"dataset_info", value_of((context.scratch() / "elsewhere/dataset_info.json").string())}});
  CHECK(shown(alpaca.prompt) == "user: Q\nM");
  CHECK_THROWS_WITH(read(context, text,
                         {{"dataset_info",
                           value_of((context.scratch() / "elsewhere/dataset_info.json").string())}},
                         "else.jsonl"),
                    Contains("no entry with file_name \"else.jsonl\""));
}

TEST_CASE_METHOD(Pictures, "A bad record is a status with its place; the others are read") {
  const std::string good = R"({"prompt":"Q","chosen":"good","rejected":"bad"})";
  auto records = read(
      context, good + "\n{\"id\": \"broken\", \"prompt\": \n" + good + "\n[1]\n\n" + good + "\n");
  REQUIRE(records.size() == 5);
  for (std::size_t i = 0; i < records.size(); ++i) {
    CHECK(records[i].row == i);
    CHECK((records[i].status == Status::ok) == (i % 2 == 0));
  }
  CHECK_THAT(records[1].detail, Contains("data.jsonl:2: not valid JSON"));
  records =
      read(context, "[" + good + ",\n{\"id\":\"5\"},\n" + good + ", " + good, {}, "data.json");
  REQUIRE(records.size() == 5);  // three, one without a prompt, and the missing end
  CHECK(records[1].status == Status::invalid);
  CHECK(records[1].id == "5");
  CHECK(records[3].status == Status::ok);
  CHECK_THAT(records[4].detail, Contains("data.json:3"));

  CHECK_THAT(
      problem(
          context,
          R"({"conversations":[{"from":"human","value":"<image>Q <image>"}],"chosen":"a","rejected":"b","images":["a.png"]})"),
      Contains("1 images for 2 <image>"));
  CHECK_THAT(
      problem(
          context,
          R"({"conversations":[{"from":"human","value":"Q"},{"from":"gpt","value":"A"}],"chosen":"a","rejected":"b"})"),
      Contains("must be the user's"));
  CHECK_THAT(
      problem(
          context,
          R"({"conversations":[{"from":"human","value":"Q"},{"from":"human","value":"R"}],"chosen":"a","rejected":"b"})"),
      Contains("alternate"));
  CHECK_THAT(
      problem(
          context,
          R"({"conversations":[{"from":"observation","value":"Q"}],"chosen":"a","rejected":"b"})"),
      Contains("'observation'") && Contains("'human' or 'user'"));
  CHECK_THAT(problem(context, R"({"prompt":"Q","chosen":"a"})"), Contains("'rejected'"));
  CHECK_THAT(problem(context, R"({"prompt":"Q"})"), Contains("no answer"));
  CHECK_THAT(problem(context, R"({"chosen":"a","rejected":"b"})"), Contains("no prompt"));
  CHECK_THAT(problem(context, R"({"prompt":"Q","chosen":3,"rejected":"b"})"), Contains("'chosen'"));
  CHECK_THAT(problem(context, R"({"prompt":"Q","chosen":"a","rejected":"b"})",
                     {{"format", value_of("sharegpt")}}),
             Contains("no list of messages"));
  // An absent picture is no mistake of the record: whoever needs it says so.
  CHECK(shown(one(context, R"({"prompt":"Q","chosen":"a","rejected":"b","image":"gone.png"})")
                  .prompt) == "user: [gone.png?]Q");
}

TEST_CASE_METHOD(Pictures, "Rows that are not wanted are not looked at, pairs() gives pairs") {
  static const PluginLibrary plugin("datasets/preferences");
  std::string text;
  for (int i = 0; i < 10; ++i)
    text += R"({"id":")" + std::to_string(i) +
            R"(","prompt":"Q","chosen":"a","rejected":"b"})"
            "\n";
  const auto dataset = plugin.make<Dataset>(
      "preferences", {{"file", value_of(write_file(context, "p.jsonl", text).string())}}, context);
  std::vector<std::size_t> asked;
  auto stream = dataset->answers([&](std::size_t row) {
    asked.push_back(row);
    return row % 3 == 1;
  });
  std::string ids;
  for (AnswerRecord record; stream->next(record);)
    ids += record.id + std::to_string(record.row) + " ";
  CHECK(ids == "11 44 77 ");
  CHECK(asked.size() == 10);
  CHECK(dataset->count_answers() == 10);
  const auto array = plugin.make<Dataset>(
      "preferences",
      {{"file",
        value_of(write_file(context, "p.json", R"( [{"a":"}{["},{"b":[{}]},{}] )").string())}},
      context);
  CHECK(array->count_answers() == 3);
  check_dataset_contract(*dataset, context);
  CHECK(drain(*dataset->pairs()).size() == 10);
}

TEST_CASE("MMPR: a meta file with subsets and their folders of images") {
  FakeContext context;
  const std::filesystem::path root = context.scratch();
  std::filesystem::create_directories(root / "images/one");
  std::ofstream(root / "images/one/i.png") << "x";
  std::ofstream(root / "one.jsonl")
      << R"({"image":"i.png","question":"<image>\nWhat?","chosen":"A","rejected":"B"})"
         "\n";
  std::ofstream(root / "two.jsonl")
      << R"({"image":"","question":"No picture?","chosen":"C","rejected":"D"})"
         "\n";
  std::ofstream(root / "meta.json")
      << R"({"one":{"root":"images/one","annotation":"one.jsonl","repeat_time":1},)"
         R"("two":{"root":"images/two","annotation":"two.jsonl","repeat_time":1},})";
  static const PluginLibrary plugin("datasets/preferences");
  const auto dataset = plugin.make<Dataset>(
      "preferences", {{"file", value_of((root / "meta.json").string())}}, context);
  const auto pairs = drain(*dataset->pairs());
  REQUIRE(pairs.size() == 2);
  CHECK(pairs[0].prompt.messages[0].content[0].media.present());
  CHECK(pairs[0].chosen.text == "A");
  CHECK(pairs[1].prompt.messages[0].content.size() == 1);
  CHECK(pairs[0].source == "one");
  CHECK(pairs[1].source == "two");
  CHECK(dataset->count_answers() == 2);
}
