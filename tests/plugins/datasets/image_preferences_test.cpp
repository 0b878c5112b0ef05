// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <fstream>

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
  static const PluginLibrary plugin("datasets/image_preferences");
  params["file"] = value_of(file.string());
  return plugin.make<Dataset>("image_preferences", params, context);
}

// "text: better>worse" of each; unusable ones by what is wrong.
std::vector<std::string> read(const fs::path& file, FakeContext& context,
                              const Table& params = {}) {
  std::vector<std::string> all;
  for (const ImagePreference& one : drain(*open(file, context, params)->image_preferences()))
    all.push_back(one.text.empty() ? "bad " + one.better.source
                                   : one.text + ": " + one.better.source + ">" + one.worse.source);
  return all;
}

}  // namespace

TEST_CASE("HPDv2: in train.json 1 is better, in test.json the lower rank is") {
  FakeContext context;
  put(context.scratch() / "a.png", "a");
  const auto train =
      put(context.scratch() / "train.json",
          R"([{"prompt":"cat","file_path":["a.png","b.png"],"human_preference":[0,1]},
                             {"prompt":"dog","file_path":["a.png","b.png"],"human_preference":[1,0]},
                             {"prompt":"cow","file_path":["a.png","b.png"],"human_preference":[1,1]}])");
  CHECK(read(train, context) == std::vector<std::string>{"cat: b.png>a.png", "dog: a.png>b.png"});
  const auto test = put(
      context.scratch() / "test.json",
      R"([{"prompt":"cat","image_path":["a.png","b.png","c.png","d.png"],"rank":[2,0,1,1],"raw_annotations":[]}])");
  CHECK(read(test, context) == std::vector<std::string>{"cat: b.png>a.png", "cat: c.png>a.png",
                                                        "cat: d.png>a.png", "cat: b.png>c.png",
                                                        "cat: b.png>d.png"});
  CHECK(read(test, context, {{"min_gap", value_of(1)}}) ==
        std::vector<std::string>{"cat: b.png>a.png"});
  const auto few = read(test, context, {{"max_pairs", value_of(2)}});
  CHECK(few.size() == 2);
  CHECK(read(test, context, {{"max_pairs", value_of(2)}}) == few);
  const auto images = drain(*open(train, context)->image_preferences());
  CHECK(images[0].worse.present());
  CHECK_FALSE(
      images[0].better.present());  // reported with its path, never another item in its place
  CHECK(images[0].better.source == "b.png");
  check_dataset_contract(*open(test, context), context);
}

TEST_CASE(
    "EvalMuse: images of one text are compared by their mean scores, ties dropped, small gaps "
    "too") {
  FakeContext context;
  const auto file =
      put(context.scratch() / "train_list.json",
          R"([{"prompt":"cat","img_path":"1.png","total_score":[4,5],"promt_meaningless":[0]},
                            {"prompt":"dog","img_path":"2.png","total_score":[1]},
                            {"prompt":"cat","img_path":"3.png","total_score":[2,2,2]},
                            {"prompt":"cat","img_path":"4.png","total_score":[4.5]},
                            {"prompt":"dog","img_path":"5.png","total_score":1.5},
                            {"prompt":"sun","img_path":"6.png","total_score":[3]},
                            {"prompt":"sun","img_path":"7.png","total_score":[]}])");
  CHECK(
      read(file, context) ==
      std::vector<std::string>{"bad " + file.string() + ":7: field 'total_score' is an empty list",
                               "cat: 1.png>3.png", "cat: 4.png>3.png", "dog: 5.png>2.png"});
  CHECK(read(file, context, {{"min_gap", value_of(0.5)}}).size() == 3);
  CHECK(context.logged("1 have equal scores"));
  CHECK(context.logged("1 differ by no more than min_gap"));
}

TEST_CASE("Omni-Reward: the caption is both answers, the preferred image comes first") {
  FakeContext context;
  const auto file = put(
      context.scratch() / "omni.json",
      R"([{"conversations":[{"from":"human","value":"<image>?"}],"chosen":{"from":"gpt","value":"a cat"},)"
      R"("rejected":{"from":"gpt","value":"a cat"},"images":["x.png","y.png"]},)"
      R"({"conversations":[],"chosen":{"value":"a"},"rejected":{"value":"b"},"images":["x.png","y.png"]},)"
      R"({"conversations":[],"chosen":{"value":"a"},"rejected":{"value":"a"},"images":["x","y","z"]},)"
      R"({"smell":1}])");
  const auto all = read(file, context);
  REQUIRE(all.size() == 4);
  CHECK(all[0] == "a cat: x.png>y.png");
  CHECK_THAT(all[1], Contains("same caption"));
  CHECK_THAT(all[2], Contains("3 images"));
  CHECK_THAT(all[3], Contains("omni.json:1") && Contains("HPDv2"));
  CHECK_THROWS_AS(read(file, context, {{"bad_records", value_of("stop")}}), DataError);
}

TEST_CASE("A value that is no image is one unusable preference; the rest is read") {
  FakeContext context;
  const auto file = put(
      context.scratch() / "set/train.json",
      R"([{"prompt":"cat","file_path":["a.png","b.png"],"human_preference":[0,1]},)"
      R"({"prompt":"dog","file_path":["data:image/png;base64,###","b.png"],"human_preference":[0,1]},)"
      R"({"prompt":"cow","file_path":["a.png",7],"human_preference":[0,1]},)"
      R"({"prompt":"sun","file_path":["a.png","b.png"],"human_preference":[1,0],"hash":123456789012345678901234567890},)"
      R"({"prompt":"sky","file_path":["a.png","b.png"],"human_preference":[NaN,0]}])");
  const auto all = read(file, context);
  REQUIRE(all.size() == 5);
  CHECK(all[0] == "cat: b.png>a.png");
  CHECK_THAT(all[1], Contains("bad set/1") && Contains("data URL"));
  CHECK_THAT(all[2], Contains("bad set/2") && Contains("is no image"));
  CHECK(all[3] == "sun: a.png>b.png");
  CHECK_THAT(all[4], Contains("train.json:1") && Contains("'human_preference' must hold numbers"));
  CHECK_THROWS_WITH(read(file, context, {{"bad_records", value_of("stop")}}),
                    Contains("set/1") && Contains("data URL"));
}
