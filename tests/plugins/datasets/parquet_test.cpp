// SPDX-License-Identifier: Apache-2.0
#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/writer.h>
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "dt2it/rng.hpp"
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
  for (const auto& value : values)
    must(value == "null" ? builder.AppendNull() : builder.Append(value));
  return *builder.Finish();
}

// Images {bytes, path}: "bytes:..." has bytes, "null" is null, others are paths.
std::shared_ptr<arrow::Array> images(const std::vector<std::string>& values) {
  auto bytes = std::make_shared<arrow::BinaryBuilder>();
  auto path = std::make_shared<arrow::StringBuilder>();
  arrow::StructBuilder builder(
      arrow::struct_({arrow::field("bytes", arrow::binary()), arrow::field("path", arrow::utf8())}),
      arrow::default_memory_pool(), {bytes, path});
  for (const auto& value : values) {
    must(builder.Append(value != "null"));
    const bool inside = value.starts_with("bytes:");
    must(inside ? bytes->Append(value.substr(6)) : bytes->AppendNull());
    must(inside || value == "null" ? path->AppendNull() : path->Append(value));
  }
  return *builder.Finish();
}

fs::path write(const fs::path& file,
               const std::vector<std::pair<std::string, std::shared_ptr<arrow::Array>>>& columns,
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
  must(parquet::arrow::WriteTable(*arrow::Table::Make(arrow::schema(fields), arrays),
                                  arrow::default_memory_pool(), *out, group_rows));
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
fs::path rlaif(const fs::path& file, std::size_t first, std::size_t count,
               std::int64_t group_rows) {
  std::vector<std::string> ids, questions, chosen, rejected, pictures;
  for (std::size_t i = first; i < first + count; ++i) {
    ids.push_back(number(i));
    questions.push_back("Q" + number(i));
    chosen.push_back("good\n" + number(i));
    rejected.push_back("bad \"" + number(i) + "\"");
    pictures.push_back("bytes:picture " + number(i % 3));
  }
  return write(file,
               {{"idx", strings(ids)},
                {"question", strings(questions)},
                {"chosen", strings(chosen)},
                {"rejected", strings(rejected)},
                {"image", images(pictures)},
                {"noise", strings(ids)}},
               group_rows);
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
  CHECK(rows ==
        std::vector<std::size_t>{3, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 54});
  CHECK(asked == 55);
}

TEST_CASE("Conversations, lists of images, paths and nulls") {
  FakeContext context;
  auto role = std::make_shared<arrow::StringBuilder>(),
       text = std::make_shared<arrow::StringBuilder>();
  const auto message =
      arrow::struct_({arrow::field("role", arrow::utf8()), arrow::field("content", arrow::utf8())});
  auto messages = std::make_shared<arrow::StructBuilder>(
      message, arrow::default_memory_pool(),
      std::vector<std::shared_ptr<arrow::ArrayBuilder>>{role, text});
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
    for (int i = 0; i < count; ++i)
      must(paths->Append("p" + number(static_cast<std::size_t>(i)) + ".png"));
  }
  const auto file =
      write(context.scratch() / "b.parquet", {{"messages", conversations},
                                              {"images", *path_list.Finish()},
                                              {"chosen", strings({"a", "a", "a"})},
                                              {"rejected", strings({"b", "b", "null"})}});
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
  const auto other = write(context.scratch() / "c.parquet",
                           {{"smell", strings({"a"})}, {"taste", strings({"b"})}});
  CHECK_THROWS_WITH(drain(*open(other, context)->answers({})), Contains("smell, taste"));
}

TEST_CASE(
    "WildVision's battles in Parquet; a shard that was written half is one bad record of several") {
  FakeContext context;
  auto role = std::make_shared<arrow::StringBuilder>(),
       text = std::make_shared<arrow::StringBuilder>();
  const auto message =
      arrow::struct_({arrow::field("role", arrow::utf8()), arrow::field("content", arrow::utf8())});
  const auto talks = [&](const std::vector<std::string>& answers) {
    auto messages = std::make_shared<arrow::StructBuilder>(
        message, arrow::default_memory_pool(),
        std::vector<std::shared_ptr<arrow::ArrayBuilder>>{role, text});
    arrow::ListBuilder list(arrow::default_memory_pool(), messages);
    for (const auto& answer : answers) {
      must(list.Append());
      for (const auto& [who, what] :
           {std::pair<std::string, std::string>{"user", "Q"}, {"assistant", answer}}) {
        must(messages->Append());
        must(role->Append(who));
        must(text->Append(what));
      }
    }
    return *list.Finish();
  };
  const auto battles = [&](const std::string& name) {
    return write(context.scratch() / "wildvision/data" / name,
                 {{"question_id", strings({"1", "2"})},
                  {"model_a", strings({"x", "x"})},
                  {"model_b", strings({"y", "y"})},
                  {"conversation_a", talks({"A1", "A2"})},
                  {"conversation_b", talks({"B1", "B2"})},
                  {"image", images({"bytes:picture", "bytes:picture"})},
                  {"winner", strings({"model_b", "tie"})}});
  };
  battles("train-00000-of-00003.parquet");
  const fs::path torn = battles("train-00001-of-00003.parquet");
  battles("train-00002-of-00003.parquet");
  fs::resize_file(torn, fs::file_size(torn) / 2);
  const auto dataset = open(context.scratch() / "wildvision", context);
  const auto made = drain(*dataset->pairs());
  REQUIRE(made.size() == 5);
  CHECK(made[0].chosen.text == "B1");
  CHECK(made[0].rejected.mllm == "x");
  CHECK(made[0].source == "wildvision");
  CHECK(made[0].prompt.messages[0].content[0].media.present());
  CHECK(made[1].extra == R"({"dropped":"tie"})");
  CHECK_THAT(made[2].extra, Contains("unusable record") && Contains("00001-of-00003"));
  CHECK(made[3].chosen.text == "B1");
  CHECK(dataset->count_answers() == 5);
  CHECK_THROWS_WITH(
      drain(*open(context.scratch() / "wildvision", context, {{"bad_records", value_of("stop")}})
                 ->pairs()),
      Contains("00001-of-00003"));
  // Damage behind the head: pages that do not unpack.
  const fs::path damaged = rlaif(context.scratch() / "damaged/a.parquet", 0, 3000, 1000);
  rlaif(context.scratch() / "damaged/b.parquet", 0, 10, 10);
  {
    std::fstream stream(damaged, std::ios::binary | std::ios::in | std::ios::out);
    stream.seekp(2000);
    stream << std::string(3000, '\xff');
  }
  const auto rest = drain(*open(context.scratch() / "damaged", context)->answers({}));
  std::size_t invalid = 0, good = 0;
  for (const auto& record : rest) ++(record.status == Status::ok ? good : invalid);
  CHECK(invalid == 1);
  CHECK(good >= 10);
}

TEST_CASE(
    "200 damaged Parquet files: records, statuses or an error with the file's name; bounded "
    "memory") {
  FakeContext context;
  const auto bytes_of = [](const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  const std::string whole = bytes_of(rlaif(context.scratch() / "whole.parquet", 0, 400, 100));
  const auto peak_mib = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
  };
  const long before = peak_mib();
  Rng rng(5);
  std::size_t refused = 0, some = 0;
  for (int i = 0; i < 200; ++i) {
    CAPTURE(i);
    std::string bytes = whole;
    const std::size_t tail = std::min<std::size_t>(bytes.size(), 4000);  // where the metadata are
    for (int changes = rng.integer(1, 6); changes > 0; --changes) {
      const std::size_t at = rng.chance(0.5)
                                 ? bytes.size() - 1 - rng.below(std::min(tail, bytes.size()))
                                 : rng.below(bytes.size());
      switch (rng.below(4)) {
        case 0: bytes[at] = static_cast<char>(rng.below(256)); break;
        case 1: bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8))); break;
        case 2:
          bytes.replace(at, std::min<std::size_t>(5, bytes.size() - at), "\xff\xff\xff\xff\x0f");
          break;  // a huge number
        default: bytes.resize(std::max<std::size_t>(at, 1));
      }
    }
    const fs::path file = context.scratch() / "damaged.parquet";
    std::ofstream(file, std::ios::binary) << bytes;
    std::size_t good = 0;
    try {
      const auto dataset = open(file, context);
      const auto stream = dataset->answers({});
      for (AnswerRecord record; good < 100'000 && stream->next(record);)
        good += record.status == Status::ok;
    } catch (const DataError& error) {
      ++refused;
      CHECK_THAT(error.what(), Contains("damaged.parquet"));
    }
    CHECK(good <= 100'000);
    some += good > 0;
  }
  CHECK(refused > 50);
  CHECK(some > 10);
  CHECK(peak_mib() - before < 600);
}

TEST_CASE("Files of a pattern keep each its own source and folder of images") {
  FakeContext context;
  const fs::path root = context.scratch();
  for (const std::string name : {"one", "two"}) {
    write(root / name / "train-00000-of-00001.parquet", {{"question", strings({"Q"})},
                                                         {"chosen", strings({"good"})},
                                                         {"rejected", strings({"bad"})},
                                                         {"image", images({name + ".png"})}});
    std::ofstream(root / name / (name + ".png")) << "picture of " << name;
  }
  const auto dataset = open(root / "*/train-*.parquet", context);
  const auto pairs = drain(*dataset->pairs());
  const auto records = drain(*dataset->answers({}));
  REQUIRE(pairs.size() == 2);
  REQUIRE(records.size() == 2);
  for (const std::size_t i : {0, 1}) {
    const std::string name = i == 0 ? "one" : "two";
    CHECK(pairs[i].source == name);
    CHECK(records[i].prompt.source == name);
    const Media& picture = pairs[i].prompt.messages[0].content[0].media;
    REQUIRE(picture.present());
    const Bytes bytes = context.media().bytes(picture);
    CHECK(std::string(bytes.begin(), bytes.end()) == "picture of " + name);
  }
  for (const auto& pair :
       drain(*open(root / "*/train-*.parquet", context, {{"source", value_of("mine")}})->pairs()))
    CHECK(pair.source == "mine");
  std::ofstream(root / "two/train-00000-of-00001.parquet") << "PAR1 this was never finished";
  const auto rest = drain(*dataset->pairs());
  REQUIRE(rest.size() == 2);
  CHECK_THAT(rest[1].extra, Contains("unusable record"));
  CHECK(rest[1].source == "two");
}
