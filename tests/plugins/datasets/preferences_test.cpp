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

// ---- pitfalls of the open sets of the paper's iterations, on invented records of their shapes

namespace {

std::vector<PreferencePair> pairs(FakeContext& context, const std::filesystem::path& file,
                                  Table params = {}) {
  static const PluginLibrary plugin("datasets/preferences");
  params["file"] = value_of(file.string());
  return drain(*plugin.make<Dataset>("preferences", params, context)->pairs());
}

// "chosen>rejected" of pairs, the reason of what gives none.
std::vector<std::string> labels(const std::vector<PreferencePair>& given) {
  std::vector<std::string> made;
  for (const PreferencePair& pair : given)
    made.push_back(pair.prompt.messages.empty() ? pair.extra
                                                : pair.chosen.text + ">" + pair.rejected.text);
  return made;
}

std::string completion(const std::string& model, const std::string& text, const std::string& a,
                       const std::string& b, const std::string& c) {
  const auto rating = [](const std::string& value) {
    return R"({"Rating":)" + value + R"(,"Rationale":"So."})";
  };
  return R"({"model":")" + model + R"(","response":")" + text +
         R"(","annotations":{"Helpfulness":)" + rating(a) + R"(,"Ethical Considerations":)" +
         rating(b) + R"(,"Visual Faithfulness":)" + rating(c) + "}}";
}

}  // namespace

TEST_CASE_METHOD(Pictures,
                 "RLAIF-V: a flat row without an image mark, a JSON text in a column, and the form "
                 "TRL has of it") {
  const std::string flat =
      R"({"ds_name":"RLAIF-V","image":{"bytes":"QUJD","path":"a.png"},"question":"What is it?","chosen":"good","rejected":"bad",)"
      R"("origin_dataset":"x","origin_split":"{\"model\": \"m\", \"type\": \"t\"}","idx":"7","image_path":"elsewhere/a.jpg"})";
  const AnswerRecord row = one(context, flat);
  CHECK(row.id == "7");
  CHECK(shown(row.prompt) == "user: [a.png]What is it?");
  const Bytes bytes = context.media().bytes(row.prompt.messages[0].content[0].media);
  CHECK(std::string(bytes.begin(), bytes.end()) == "ABC");  // the bytes count, not the second path
  const AnswerRecord formatted = one(
      context,
      R"({"prompt":[{"role":"user","content":[{"type":"image","text":null},{"type":"text","text":"What is it?"}]}],"chosen":[{"role":"assistant","content":[{"type":"text","text":"good"}]}],"rejected":[{"role":"assistant","content":[{"type":"text","text":"bad"}]}],"images":["a.png"]})");
  CHECK(shown(formatted.prompt) == "user: [a.png]What is it?");
  // LLaMA-Factory's entry for it is alpaca's form, where the image needs no mark either.
  write_file(
      context, "dataset_info.json",
      R"({"rlaif_v":{"file_name":"data.jsonl","ranking":true,"columns":{"prompt":"question","chosen":"chosen","rejected":"rejected","images":"image"}}})");
  CHECK(shown(one(context, flat).prompt) == "user: [a.png]What is it?");
}

TEST_CASE_METHOD(Pictures,
                 "VLFeedback: every two responses of different mean rating, by the authors' rule") {
  const std::string list =
      completion("m1", "A", R"("4")", R"("5")", R"("3")") + "," +  // 4
      completion("m2", "B", R"("5")", R"("5")", R"("5")") + "," +  // 5
      completion("m3", "C", R"("4")", R"("4")", R"("4")") + "," +  // 4: equal to A
      completion("m4", "D", R"("5")", R"("N/A")", R"("5")");       // no number: no pair of it
  const auto file = write_file(
      context, "vlfeedback_80k.jsonl",
      R"({"id":"svit-9","prompt":"Describe it.","models":["m1","m2","m3","m4"],"img_path":"a.png","completions":[)" +
          list + "]}\n");
  const auto made = pairs(context, file, {{"source", value_of("VLFeedback")}});
  CHECK(labels(made) == std::vector<std::string>{
                            "B>A", R"({"dropped":"equal ratings"})", R"({"dropped":"no rating"})",
                            "B>C", R"({"dropped":"no rating"})", R"({"dropped":"no rating"})"});
  REQUIRE(made.size() == 6);
  CHECK(made[0].id == "svit-9/1-0");
  CHECK(made[0].prompt.id == "svit-9");
  CHECK(made[0].source == "VLFeedback");
  CHECK(made[0].chosen.mllm == "m2");
  CHECK(made[0].rejected.mllm == "m1");
  CHECK(shown(made[0].prompt) == "user: [a.png]Describe it.");
  CHECK(made[0].extra == R"({"scores":{"ratings":{"1":5,"0":4}}})");
  // As Hugging Face `datasets` gives it: a struct of lists, annotations as a list of structs or of structs of lists.
  const std::string ratings[] = {R"("4")", R"("5")"};
  for (const bool inner : {false, true}) {
    const auto aspect = [&](int i) { return R"({"Rating":)" + ratings[i] + R"(,"Rationale":""})"; };
    const std::string same = inner ? R"({"Rating":["4","5"],"Rationale":["",""]})" : "";
    const auto all = [&](int i) {
      return R"({"Helpfulness":)" + aspect(i) + R"(,"Ethical Considerations":)" + aspect(i) +
             R"(,"Visual Faithfulness":)" + aspect(i) + "}";
    };
    const std::string annotations = inner ? R"({"Helpfulness":)" + same +
                                                R"(,"Ethical Considerations":)" + same +
                                                R"(,"Visual Faithfulness":)" + same + "}"
                                          : "[" + all(0) + "," + all(1) + "]";
    const auto columns = write_file(
        context, "columns.jsonl",
        R"({"id":"1","prompt":"Q","img_path":"a.png","completions":{"model":["m1","m2"],"response":["A","B"],"annotations":)" +
            annotations + "}}\n");
    CHECK(labels(pairs(context, columns)) == std::vector<std::string>{"B>A"});
  }
  // For scoring they are candidates; one alone, or none, is no pair.
  const AnswerRecord candidates =
      one(context, R"({"id":"1","prompt":"Q","completions":[)" + list + "]}");
  CHECK(candidates.responses.size() == 4);
  CHECK_FALSE(candidates.pair);
  const auto single = write_file(
      context, "single.jsonl",
      R"({"prompt":"Q","completions":[)" + completion("m", "A", "4", R"(" 5 ")", "3") + "]}\n" +
          R"({"prompt":"Q","completions":[)" + completion("m", "A", "4", R"(" 5 ")", "3") + "," +
          completion("m", "B", "4", "5", "2.5") + "]}\n");
  CHECK(labels(pairs(context, single)) ==
        std::vector<std::string>{R"({"dropped":"a single response"})", "A>B"});
  CHECK_THAT(problem(context, R"({"prompt":"Q","completions":[]})"),
             Contains("holds no responses"));
  CHECK_THAT(problem(context, R"({"prompt":"Q","completions":[{"model":"m"}]})"),
             Contains("completion 0 has no text"));
}

TEST_CASE_METHOD(
    Pictures,
    "POVID: whole conversations, paths into a folder that is not shipped, by the file name alone") {
  const std::string record =
      R"([{"id":"p1","image":"./data/coco/COCO_train2014_1.jpg","conversations":[{"from":"human","value":"<image>\nQ"},{"from":"gpt","value":"good"}],"rejected_conversations":[{"from":"human","value":"<image>\nQ"},{"from":"gpt","value":"bad"}]}])";
  const auto file =
      write_file(context, "POVID/POVID_preference_data_for_VLLMs_version_1.json", record);
  write_file(context, "coco/COCO_train2014_1.jpg", "a picture");
  CHECK(shown(pairs(context, file)[0].prompt) == "user: [./data/coco/COCO_train2014_1.jpg?]\nQ");
  // The folder stands for its only file, whichever revision it is.
  const auto made = pairs(context, context.scratch() / "POVID",
                          {{"media_root", value_of((context.scratch() / "coco").string())},
                           {"media_names", value_of(true)}});
  CHECK(shown(made[0].prompt) == "user: [./data/coco/COCO_train2014_1.jpg]\nQ");
  CHECK(labels(made) == std::vector<std::string>{"good>bad"});
}

TEST_CASE_METHOD(
    Pictures, "WildVision: the winner's last answer, ties dropped, user turns must be the same") {
  const auto talk = [](const std::string& first, const std::string& last,
                       const std::string& question = "Q2") {
    return R"([{"role":"user","content":"Q1"},{"role":"assistant","content":")" + first +
           R"("},{"role":"user","content":")" + question + R"("},{"role":"assistant","content":")" +
           last + R"("}])";
  };
  const auto battle = [&](const std::string& a, const std::string& b, const std::string& winner) {
    return R"({"question_id":"q","model_a":"x","model_b":"y","conversation_a":)" + a +
           R"(,"conversation_b":)" + b +
           R"(,"language":"English","image":"a.png","turn":2,"anony":true,"winner":")" + winner +
           R"(","tstamp":1.5,"judge":"j","domain":"d"})" + "\n";
  };
  const auto file = write_file(context, "battles.jsonl",
                               battle(talk("f", "A"), talk("f", "B"), "model_b") +
                                   battle(talk("f", "A"), talk("g", "B"), "model_a") +
                                   battle(talk("f", "A"), talk("f", "B"), "tie") +
                                   battle(talk("f", "A"), talk("f", "B"), "tie (bothbad)") +
                                   battle(talk("f", "A"), talk("f", "B", "Q3"), "model_a") +
                                   battle(talk("f", "A"), talk("f", "B"), "both"));
  const auto made = pairs(context, file, {{"source", value_of("WildVision")}});
  REQUIRE(made.size() == 6);
  const auto told = labels(made);
  CHECK(told[0] == "B>A");
  CHECK(made[0].chosen.mllm == "y");
  CHECK_FALSE(made[0].rejected_prompt);
  CHECK(shown(made[0].prompt) == "user: [a.png]Q1 | assistant: f | user: Q2");
  CHECK(told[1] == "A>B");  // earlier answers differ: each side keeps its own
  REQUIRE(made[1].rejected_prompt);
  CHECK(shown(made[1].prompt) == "user: [a.png]Q1 | assistant: f | user: Q2");
  CHECK(shown(*made[1].rejected_prompt) == "user: [a.png]Q1 | assistant: g | user: Q2");
  CHECK(told[2] == R"({"dropped":"tie"})");
  CHECK(told[3] == R"x({"dropped":"tie (bothbad)"})x");
  CHECK_THAT(told[4], Contains("unusable record") && Contains("different turns of the user"));
  CHECK_THAT(told[5], Contains("'both'") && Contains("model_a, model_b, tie"));
  CHECK(made[5].source == "WildVision");
}

TEST_CASE_METHOD(Pictures, "MM-RLHF: image or frames of a video, ties, keys nobody asked for") {
  for (const char* frame : {"f2.png", "f10.png", "f1.png"})
    write_file(context, std::string("video/v/") + frame, frame);
  const std::string more =
      R"(,"chosen_reason":"r","rejected_reason":null,"mixed_up_image":"b.png","reference_chosen_logp":-1.5})";
  const auto file = write_file(
      context, "dpo_pairs.jsonl",
      R"({"prompt":"Q","chosen":"good","rejected":"bad","image":"a.png","is_tie":false)" + more +
          "\n" + R"({"prompt":"<image>Q","chosen":"good","rejected":"bad","image":"a.png")" + more +
          "\n" +
          R"({"prompt":"Q","chosen":"good","rejected":"bad","video":"video/v","is_tie":null)" +
          more + "\n" +
          R"({"prompt":"Q","chosen":"good","rejected":"bad","image":"a.png","is_tie":true)" + more +
          "\n");
  const auto made = pairs(context, file);
  REQUIRE(made.size() == 4);
  CHECK(shown(made[0].prompt) == "user: [a.png]Q");
  CHECK(shown(made[1].prompt) == "user: [a.png]Q");  // no second mark
  CHECK(shown(made[2].prompt) == "user: {video/v}Q");
  CHECK(made[2].prompt.messages[0].content[0].media.frames.size() == 3);
  CHECK(made[3].prompt.messages.empty());
  CHECK(made[3].extra == R"({"dropped":"tie"})");
}

TEST_CASE_METHOD(
    Pictures, "MMPR: lists of images, none, shares, names that start with the set's own folder") {
  const std::filesystem::path root = context.scratch() / "MMPR-v1.2";
  write_file(context, "MMPR-v1.2/images/i/1.png", "1");
  write_file(context, "MMPR-v1.2/images/i/2.png", "2");
  std::string many;
  for (int i = 0; i < 40; ++i)
    many += R"({"question":"Q","chosen":"good","rejected":"bad"})"
            "\n";
  write_file(
      context, "MMPR-v1.2/annotations/a.jsonl",
      R"({"image":["1.png","2.png"],"question":"Both?","chosen":"good","rejected":"bad"})"
      "\n"
      R"({"image":["1.png","2.png"],"question":"<image>\n<image>\nBoth?","chosen":"good","rejected":"bad"})"
      "\n"
      R"({"image":"","question":"None?","chosen":"good","rejected":"bad"})"
      "\n"
      R"({"question":"Absent?","chosen":"good","rejected":"bad"})"
      "\n");
  write_file(context, "MMPR-v1.2/annotations/b.jsonl", many);
  const auto meta = write_file(
      context, "MMPR-v1.2/meta.json",
      R"({"a":{"root":"MMPR-v1.2/images/i","annotation":"MMPR-v1.2/annotations/a.jsonl","data_augment":false,"repeat_time":3,"length":4},)"
      R"("b":{"root":"images/none","annotation":"annotations/b.jsonl","data_augment":true,"repeat_time":0.25,"length":40},})");
  const auto made = pairs(context, meta);
  REQUIRE(made.size() == 4 + 10);  // a quarter of b; what would be repeated comes once
  CHECK(shown(made[0].prompt) == "user: [1.png][2.png]Both?");
  CHECK(shown(made[1].prompt) == "user: [1.png]\n[2.png]\nBoth?");
  CHECK(shown(made[2].prompt) == "user: None?");
  CHECK(shown(made[3].prompt) == "user: Absent?");
  CHECK(made[0].source == "a");
  CHECK(made[4].source == "b");
}

TEST_CASE_METHOD(Pictures, "What gives no pair can be made an error") {
  const auto file = write_file(context, "some.jsonl",
                               R"({"prompt":"Q","chosen":"good","rejected":"bad","is_tie":true})"
                               "\n"
                               R"({"prompt":"Q","chosen":"good","rejected":"bad"})"
                               "\n{broken\n");
  CHECK(pairs(context, file).size() == 3);
  static const PluginLibrary plugin("datasets/preferences");
  const auto strict = plugin.make<Dataset>(
      "preferences", {{"file", value_of(file.string())}, {"bad_records", value_of("stop")}},
      context);
  const auto stream = strict->pairs();
  PreferencePair pair;
  REQUIRE(stream->next(pair));  // a tie is no mistake of the record: passed over
  CHECK(pair.chosen.text == "good");
  CHECK_THROWS_WITH(stream->next(pair), Contains("some.jsonl:3"));
}

TEST_CASE_METHOD(Pictures,
                 "distilabel and ultrafeedback_binarized: whole conversations on both sides of a "
                 "prompt, which must be the same turns") {
  const std::string asked = R"({"role":"user","content":"Q"})",
                    good = R"({"role":"assistant","content":"good"})",
                    bad = R"({"role":"assistant","content":"bad"})",
                    system = R"({"role":"system","content":"S"})";
  const auto sides = [&](const std::string& before, const std::string& other) {
    return R"("chosen":[)" + before + "," + good + R"(],"rejected":[)" + other + "," + bad + "]}";
  };
  for (const std::string& start :
       {std::string(R"({"prompt":"Q",)"), R"({"prompt":[)" + asked + "],",
        R"({"prompt":"Q","messages":[)" + asked + "," + good + "],"}) {
    const AnswerRecord record = one(context, start + sides(asked, asked));
    CHECK(shown(record.prompt) == "user: Q");
    CHECK(record.pair);
    REQUIRE(record.responses.size() == 2);
    CHECK(record.responses[0].text == "good");
    CHECK(record.responses[1].text == "bad");
  }
  // Marks of pictures may be in the prompt alone; a system message in the conversations alone.
  const AnswerRecord marked =
      one(context, R"({"prompt":"<image>\nQ","image":"a.png",)" + sides(asked, asked));
  CHECK(shown(marked.prompt) == "user: [a.png]\nQ");
  const std::string with_system = system + "," + asked;
  CHECK(shown(one(context, R"({"prompt":"Q",)" + sides(with_system, with_system)).prompt) ==
        "system: S | user: Q");
  CHECK_THAT(
      problem(context, R"({"prompt":"Q","system":"T",)" + sides(with_system, asked)),
      Contains("'chosen' is a conversation whose turns before the answer are not the prompt"));
  const std::string more = asked + "," + good + R"(,{"role":"user","content":"R"})";
  CHECK(shown(one(context, R"({"prompt":[)" + more + "]," + sides(more, more)).prompt) ==
        "user: Q | assistant: good | user: R");
  CHECK_THAT(problem(context, R"({"prompt":"Q",)" + sides(asked, more)),
             Contains("'rejected' is a conversation whose turns before the answer"));
  CHECK_THAT(problem(context, R"({"prompt":"R",)" + sides(asked, asked)), Contains("'chosen'"));
  CHECK_THAT(problem(context, R"({"prompt":"Q","chosen":[)" + asked + "," + asked +
                                  R"(],"rejected":"bad"})"),
             Contains("'chosen'") && Contains("not the assistant's"));
  // POVID's and ms-swift's rejected conversations as well.
  CHECK_THAT(problem(context, R"({"messages":[)" + asked + "," + good +
                                  R"(],"rejected_messages":[)" + more + "," + bad + "]}"),
             Contains("'rejected'"));
}

TEST_CASE_METHOD(Pictures,
                 "Alpaca without a dataset_info.json: an instruction's input and history") {
  const std::string answers = R"("chosen":"good","rejected":"bad"})";
  CHECK(shown(one(context, R"({"instruction":"Q?","input":"ctx",)" + answers).prompt) ==
        "user: Q?\nctx");
  CHECK(shown(one(context, R"({"instruction":"Q?","input":"",)" + answers).prompt) == "user: Q?");
  CHECK(shown(one(context, R"({"instruction":"","input":"ctx",)" + answers).prompt) == "user: ctx");
  CHECK(shown(one(context, R"({"prompt":"Q?","input":"not alpaca's",)" + answers).prompt) ==
        "user: Q?");
  CHECK(shown(one(context, R"({"instruction":"Q?","input":"ctx","system":"S","image":"a.png",)"
                           R"("history":[["one","1"],["<image>two","2"]],)" +
                               answers)
                  .prompt) ==
        "system: S | user: one | assistant: 1 | user: [a.png]two | assistant: 2 | user: Q?\nctx");
  CHECK(shown(one(context, R"({"instruction":"Q?","history":[],)" + answers).prompt) == "user: Q?");
  for (const char* history : {R"("one")", R"(["one","1"])", R"([["one"]])", R"([["one",2]])"})
    CHECK_THAT(problem(context,
                       R"({"instruction":"Q?","history":)" + std::string(history) + "," + answers),
               Contains("'history' must be a list of turns [question, answer]"));
  CHECK_THAT(problem(context, R"({"instruction":"Q?","input":{"a":1},)" + answers),
             Contains("'input' must be a text"));
  write_file(
      context, "dataset_info.json",
      R"({"mine":{"file_name":"data.jsonl","ranking":true,"columns":{"prompt":"q","query":"more","history":"before"}}})");
  CHECK(shown(one(context, R"({"q":"Q?","more":"ctx","before":[["one","1"]],)" + answers).prompt) ==
        "user: one | assistant: 1 | user: Q?\nctx");
  write_file(context, "dataset_info.json",
             R"({"mine":{"file_name":"data.jsonl","formatting":"sharegpt","ranking":true}})");
  CHECK(shown(one(context, R"({"prompt":"Q?","input":"not alpaca's",)" + answers).prompt) ==
        "user: Q?");
}

TEST_CASE_METHOD(Pictures, "Numbers that do not fit cost nothing where nobody asked for them") {
  const std::string odd =
      R"(,"hash":123456789012345678901234567890,"less":-9223372036854775809,"e":[1e400,-1.5E+999],)"
      R"("n":{"a":NaN,"b":[-Infinity, Infinity]},"text":"NaN 1e400 \" 123456789012345678901234567890"})";
  const AnswerRecord record = one(
      context,
      R"({"id":18446744073709551615,"prompt":"NaN\ud800","chosen":"good","rejected":"bad")" + odd);
  CHECK(record.id == "18446744073709551615");
  CHECK(shown(record.prompt) == "user: NaN\xEF\xBF\xBD");
  REQUIRE(record.responses.size() == 2);
  CHECK(record.responses[0].text == "good");
  // An id keeps its digits, also where another value is odd.
  CHECK(one(context,
            R"({"id":123456789012345678901234567890,"prompt":"Q","chosen":"a","rejected":"b"})")
            .id == "123456789012345678901234567890");
  CHECK(
      one(context, R"({"id":1234567890123456789,"prompt":"Q","chosen":"a","rejected":"b","x":NaN})")
          .id == "1234567890123456789");
  // Where they are asked for, they are as good as absent.
  CHECK_THAT(problem(context, R"({"prompt":1e400,"chosen":"a","rejected":"b"})"),
             Contains("has no prompt"));
  CHECK_THAT(problem(context, R"({"prompt":"Q","chosen":"a","rejected":NaN})"),
             Contains("'rejected'"));
  // What is no JSON stays so.
  for (const char* number : {"01e400", "1.e400", "-", "+1e400", "00123456789012345678901234567890",
                             "1e400e", "nan", "Inf", "1.2.3"})
    CHECK_THAT(problem(context, R"({"prompt":"Q","chosen":"a","rejected":"b","x":)" +
                                    std::string(number) + "}"),
               Contains("not valid JSON"));
}

TEST_CASE_METHOD(Pictures, "Only candidates have numbers: the sides of a pair have no places") {
  // Stage bias reads numbers as the places in which candidates were written.
  for (
      const char* text :
      {R"({"prompt":"Q","chosen":"good","rejected":"bad"})",
       R"({"prompt":"Q","chosen":"good","rejected":"bad","is_tie":true})",
       R"({"prompt":{"messages":[{"role":"user","content":"Q"}]},"chosen":{"text":"good"},"rejected":{"text":"bad"}})"}) {
    const AnswerRecord record = one(context, text);
    REQUIRE(record.responses.size() == 2);
    CHECK(record.responses[0].id == "chosen");
    CHECK(record.responses[1].id == "rejected");
  }
  const AnswerRecord given = one(
      context,
      R"({"prompt":{"messages":[{"role":"user","content":"Q"}]},"chosen":{"id":"3","text":"good"},"rejected":{"id":"1","text":"bad"}})");
  CHECK(given.responses[0].id == "3");
  CHECK(given.responses[1].id == "1");
  const AnswerRecord candidates = one(context, R"({"prompt":"Q","responses":["a","b"]})");
  CHECK(candidates.responses[0].id == "0");
  CHECK(candidates.responses[1].id == "1");
}
