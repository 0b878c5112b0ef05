// SPDX-License-Identifier: Apache-2.0
#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/writer.h>

#include <catch2/catch.hpp>

#include "dt2it/testing/contracts.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

void must(const arrow::Status& status) {
  INFO(status.ToString());
  REQUIRE(status.ok());
}

std::shared_ptr<arrow::Array> strings(const std::vector<std::string>& values) {
  arrow::StringBuilder builder;
  for (const auto& value : values) must(value == "null" ? builder.AppendNull() : builder.Append(value));
  return *builder.Finish();
}

// Images {bytes, path}: "bytes:..." has bytes, "null" is null, others are paths.
std::shared_ptr<arrow::Array> images(const std::vector<std::string>& values) {
  auto bytes = std::make_shared<arrow::BinaryBuilder>();
  auto path = std::make_shared<arrow::StringBuilder>();
  arrow::StructBuilder builder(arrow::struct_({arrow::field("bytes", arrow::binary()), arrow::field("path", arrow::utf8())}),
                               arrow::default_memory_pool(), {bytes, path});
  for (const auto& value : values) {
    must(builder.Append(value != "null"));
    const bool inside = value.starts_with("bytes:");
    must(inside ? bytes->Append(value.substr(6)) : bytes->AppendNull());
    must(inside || value == "null" ? path->AppendNull() : path->Append(value));
  }
  return *builder.Finish();
}

fs::path write(const fs::path& file, const std::vector<std::pair<std::string, std::shared_ptr<arrow::Array>>>& columns,
               std::int64_t group_rows = 100) {
  std::vector<std::shared_ptr<arrow::Field>> fields;
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  for (const auto& [name, array] : columns) {
    fields.push_back(arrow::field(name, array->type()));
    arrays.push_back(array);
  }
  fs::create_directories(file.parent_path());
  auto out = arrow::io::FileOutputStream::Open(file.string());
  REQUIRE(out.ok());
  must(parquet::arrow::WriteTable(*arrow::Table::Make(arrow::schema(fields), arrays), arrow::default_memory_pool(), *out, group_rows));
  must((*out)->Close());
  return file;
}

std::shared_ptr<Dataset> open(const fs::path& file, FakeContext& context, Table params = {}) {
  static const PluginLibrary plugin("datasets/parquet");
  params["file"] = value_of(file.string());
  return plugin.make<Dataset>("parquet", params, context);
}

std::string number(std::size_t i) { return std::to_string(i); }

// RLAIF-V's shape, `count` rows numbered from `first`.
fs::path rlaif(const fs::path& file, std::size_t first, std::size_t count, std::int64_t group_rows) {
  std::vector<std::string> ids, questions, chosen, rejected, pictures;
  for (std::size_t i = first; i < first + count; ++i) {
    ids.push_back(number(i));
    questions.push_back("Q" + number(i));
    chosen.push_back("good\n" + number(i));
    rejected.push_back("bad \"" + number(i) + "\"");
    pictures.push_back("bytes:picture " + number(i % 3));
  }
  return write(file, {{"idx", strings(ids)}, {"question", strings(questions)}, {"chosen", strings(chosen)},
                      {"rejected", strings(rejected)}, {"image", images(pictures)}, {"noise", strings(ids)}}, group_rows);
}

}  // namespace

TEST_CASE("datasets/parquet reads pairs with pictures inside, group after group") {
  FakeContext context;
  const auto dataset = open(rlaif(context.scratch() / "a.parquet", 0, 50, 20), context);
  CHECK(dataset->count_answers() == 50);
  const auto records = drain(*dataset->answers({}));
  REQUIRE(records.size() == 50);
  for (std::size_t i = 0; i < records.size(); ++i) {
    INFO(records[i].detail);
    REQUIRE(records[i].status == Status::ok);
    CHECK(records[i].row == i);
    CHECK(records[i].id == number(i));
    CHECK(records[i].pair);
    CHECK(records[i].responses[0].text == "good\n" + number(i));
    CHECK(records[i].responses[1].text == "bad \"" + number(i) + "\"");
    const auto& content = records[i].prompt.messages.at(0).content;
    REQUIRE(content.size() == 2);
    const Bytes bytes = context.media().bytes(content[0].media);
    CHECK(std::string(bytes.begin(), bytes.end()) == "picture " + number(i % 3));
    CHECK(content[1].text == "Q" + number(i));
  }
  check_dataset_contract(*dataset, context);
}

TEST_CASE("Only wanted rows, of all files of a folder in order") {
  FakeContext context;
  rlaif(context.scratch() / "data/train-00001-of-00002.parquet", 30, 25, 10);
  rlaif(context.scratch() / "data/train-00000-of-00002.parquet", 0, 30, 7);
  const auto dataset = open(context.scratch() / "data", context);
  CHECK(dataset->count_answers() == 55);
  std::size_t asked = 0;
  auto stream = dataset->answers([&](std::size_t row) {
    CHECK(row == asked++);
    return row == 3 || (row >= 28 && row < 41) || row == 54;
  });
  std::vector<std::size_t> rows;
  for (AnswerRecord record; stream->next(record);) {
    rows.push_back(record.row);
    CHECK(record.id == number(record.row));
  }
  CHECK(rows == std::vector<std::size_t>{3, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 54});
  CHECK(asked == 55);
}

TEST_CASE("Conversations, lists of images, paths and nulls") {
  FakeContext context;
  auto role = std::make_shared<arrow::StringBuilder>(), text = std::make_shared<arrow::StringBuilder>();
  const auto message = arrow::struct_({arrow::field("role", arrow::utf8()), arrow::field("content", arrow::utf8())});
  auto messages = std::make_shared<arrow::StructBuilder>(
      message, arrow::default_memory_pool(), std::vector<std::shared_ptr<arrow::ArrayBuilder>>{role, text});
  arrow::ListBuilder list(arrow::default_memory_pool(), messages);
  const auto talk = [&](const std::vector<std::pair<std::string, std::string>>& turns) {
    must(list.Append());
    for (const auto& [who, what] : turns) {
      must(messages->Append());
      must(role->Append(who));
      must(text->Append(what));
    }
  };
  talk({{"user", "<image>A <image>"}});
  talk({{"user", "no picture"}});
  talk({{"user", "<image>"}});
  const auto conversations = *list.Finish();
  auto paths = std::make_shared<arrow::StringBuilder>();
  arrow::ListBuilder path_list(arrow::default_memory_pool(), paths);
  for (const int count : {2, 0, 0}) {
    must(path_list.Append());
    for (int i = 0; i < count; ++i) must(paths->Append("p" + number(static_cast<std::size_t>(i)) + ".png"));
  }
  const auto file = write(context.scratch() / "b.parquet",
                          {{"messages", conversations}, {"images", *path_list.Finish()},
                           {"chosen", strings({"a", "a", "a"})}, {"rejected", strings({"b", "b", "null"})}});
  const auto records = drain(*open(file, context)->answers({}));
  REQUIRE(records.size() == 3);
  CHECK(records[0].prompt.messages[0].content[0].media.source == "p0.png");
  CHECK(records[0].prompt.messages[0].content[2].media.source == "p1.png");
  CHECK(records[1].status == Status::ok);
  CHECK(records[2].status == Status::invalid);  // nothing rejected
  CHECK_THAT(records[2].detail, Contains("b.parquet: row 2"));
}

TEST_CASE("What is no Parquet file, or has other columns, is refused") {
  FakeContext context;
  CHECK_THROWS_WITH(open(context.scratch() / "gone.parquet", context), Contains("gone.parquet"));
  const auto file = context.scratch() / "text.parquet";
  std::ofstream(file) << "this is no Parquet file, whatever its name says";
  CHECK_THROWS_WITH(drain(*open(file, context)->answers({})), Contains("text.parquet"));
  const auto other = write(context.scratch() / "c.parquet", {{"smell", strings({"a"})}, {"taste", strings({"b"})}});
  CHECK_THROWS_WITH(drain(*open(other, context)->answers({})), Contains("smell, taste"));
}
