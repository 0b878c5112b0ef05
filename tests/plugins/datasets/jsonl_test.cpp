// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <fstream>

#include "dt2it/testing/contracts.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

std::filesystem::path write_file(FakeContext& context, const std::string& name,
                                 const std::string& text) {
  const auto file = context.scratch() / name;
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

std::shared_ptr<Dataset> open(const std::filesystem::path& file, FakeContext& context) {
  return PluginLibrary("datasets/jsonl")
      .make<Dataset>("jsonl", {{"file", value_of(file.string())}}, context);
}

const char kPrompts[] =
    R"({"id":"p1","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"image","image":"a.png"},{"type":"text","text":"What is it?"}]}],"reference":"A cup.","source":"own","truth":{"kind":"exist"}}
{"id":"p2","messages":[{"role":"user","content":[{"type":"video","video":{"id":"ab","frames":["cd"]}},{"type":"text","text":"Why?"}]}],"source":"own"}
)";

const char kPairs[] =
    R"({"id":"1","prompt":{"id":"p","messages":[{"role":"user","content":"Q"}]},"chosen":{"id":"0","text":"yes","origin":"sampled"},"rejected":{"id":"1","text":"no","status":"truncated"},"source":"own","strength":-0.25,"strengths":[0.5,-1],"note":[1,2]}
)";

}  // namespace

TEST_CASE("datasets/jsonl reads prompts, with the short forms that people write") {
  FakeContext context;
  write_file(context, "a.png", "bytes of a picture");
  const auto dataset = open(write_file(context, "prompts.jsonl", kPrompts), context);
  const auto prompts = drain(*dataset->prompts());
  REQUIRE(prompts.size() == 2);
  CHECK(prompts[0].messages[0].role == Message::Role::system);
  CHECK(prompts[0].messages[0].content[0].text == "Be brief.");
  CHECK(prompts[0].messages[1].content[0].media.present());
  CHECK(prompts[0].messages[1].content[0].media.source == "a.png");
  CHECK(prompts[0].reference == "A cup.");
  CHECK(prompts[0].extra == R"({"truth":{"kind":"exist"}})");
  CHECK(prompts[1].messages[0].content[0].kind == Part::Kind::video);
  CHECK(prompts[1].messages[0].content[0].media.frames == std::vector<std::string>{"cd"});
}

TEST_CASE("datasets/jsonl reads pairs and text-to-image preferences, also from a stage's folder") {
  FakeContext context;
  write_file(context, "pairs.jsonl", kPairs);
  write_file(
      context, "image_preferences.jsonl",
      R"({"id":"t1","text":"a red cup","better":{"source":"none.png"},"worse":"other.png","source":"own"})"
      "\n");
  const auto dataset = open(context.scratch(), context);
  const auto pairs = drain(*dataset->pairs());
  REQUIRE(pairs.size() == 1);
  CHECK(pairs[0].chosen.text == "yes");
  CHECK(pairs[0].rejected.status == Status::truncated);
  CHECK(pairs[0].strength == -0.25);
  CHECK(pairs[0].strengths == std::vector<double>{0.5, -1});
  CHECK(pairs[0].extra == R"({"note":[1,2]})");
  const auto images = drain(*dataset->image_preferences());
  REQUIRE(images.size() == 1);
  CHECK(images[0].worse.source == "other.png");
  CHECK_FALSE(images[0].worse.present());
}

TEST_CASE("datasets/jsonl names what is wrong with its line") {
  FakeContext context;
  const auto problem = [&](const std::string& line) -> std::string {
    const auto dataset = open(write_file(context, "x.jsonl", line + "\n"), context);
    try {
      drain(*dataset->prompts());
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK_THAT(problem(R"({"messages":[]})"), Catch::Contains("x.jsonl:1: field 'id' is missing"));
  CHECK_THAT(problem(R"({"id":"a","messages":[{"role":"assistant","content":"x"}]})"),
             Catch::Contains("must end with a message of the user"));
  CHECK_THAT(problem(R"({"id":"a","messages":[{"role":"human","content":"x"}]})"),
             Catch::Contains("allowed: system, user, assistant"));
  CHECK_THAT(problem(R"({"id":"a","messages":[{"role":"user","content":[{"type":"sound"}]}]})"),
             Catch::Contains("allowed: text, image, video"));
  CHECK_THAT(problem("{"), Catch::Contains("x.jsonl:1: not valid JSON"));
}

TEST_CASE("datasets/jsonl: the contract") {
  FakeContext context;
  const std::string prompts =
      R"({"id":"p1","messages":[{"role":"user","content":"Q"}],"source":"own"})"
      "\n"
      R"({"id":"p2","messages":[{"role":"user","content":"Q"}],"source":"own"})"
      "\n";
  write_file(context, "prompts.jsonl", prompts);
  write_file(context, "pairs.jsonl", kPairs);
  write_file(context, "image_preferences.jsonl",
             R"({"id":"t1","text":"a","better":"x.png","worse":"y.png","source":"own"})"
             "\n");
  check_dataset_contract(*open(context.scratch(), context), context);
}
