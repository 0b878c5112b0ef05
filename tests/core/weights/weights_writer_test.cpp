// SPDX-License-Identifier: Apache-2.0
#include "core/weights/weights_writer.hpp"

#include "core/weights/weights_file.hpp"
#include "tests/core/weights/checkpoints.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using testing::complaint;
using testing::files_of;
using testing::made;
using testing::Tensors;
using Names = std::vector<std::string>;

Tensors five() {
  Tensors tensors;
  for (const char* name : {"b", "a", "d\"q", "c", "e"})
    tensors.emplace_back(name, made(name, {10, 10}));  // 400 bytes each
  return tensors;
}

void check_values(const fs::path& file, const Tensors& tensors) {
  const WeightsFile stored(file);
  for (const auto& [name, tensor] : tensors)
    if (const StoredTensor* found = stored.find(name)) {
      std::vector<float> values(found->count());
      stored.read(*found, 0, values.data(), found->bytes());
      CHECK(values == tensor.values);
    }
}

}  // namespace

TEST_CASE("Small weights are one file, large ones are shards with an index, the same bytes twice") {
  const testing::TemporaryFolder folder;
  testing::write_folder(folder.path(), five());
  CHECK(files_of(folder.path()) == Names{"model.safetensors"});
  check_values(folder.path() / "model.safetensors", five());

  testing::write_folder(folder.path(), five(), Dtype::f32, 900);  // two each
  const Names shards{"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                     "model-00003-of-00003.safetensors", "model.safetensors.index.json"};
  CHECK(files_of(folder.path()) == shards);  // the single file is gone
  std::map<std::string, std::string> bytes;
  for (const std::string& name : shards) bytes[name] = read_file(folder.path() / name);
  CHECK(bytes["model.safetensors.index.json"] ==
        "{\n  \"metadata\": {\n    \"total_parameters\": 500,\n    \"total_size\": 2000\n  },\n  "
        "\"weight_map\": {\n"
        "    \"a\": \"model-00001-of-00003.safetensors\",\n    \"b\": "
        "\"model-00001-of-00003.safetensors\",\n"
        "    \"c\": \"model-00002-of-00003.safetensors\",\n    \"d\\\"q\": "
        "\"model-00002-of-00003.safetensors\",\n"
        "    \"e\": \"model-00003-of-00003.safetensors\"\n  }\n}\n");
  for (int i = 0; i < 3; ++i)
    check_values(folder.path() / shards[static_cast<std::size_t>(i)], five());

  testing::write_folder(folder.path(), five(), Dtype::f32, 900);  // over itself
  CHECK(files_of(folder.path()) == shards);
  for (const std::string& name : shards) CHECK(read_file(folder.path() / name) == bytes[name]);
  testing::write_folder(folder.path(), five(), Dtype::f32,
                        1);  // every tensor is larger than a shard
  CHECK(files_of(folder.path()).size() == 6);
  testing::write_folder(folder.path(), five());
  CHECK(files_of(folder.path()) == Names{"model.safetensors"});
}

TEST_CASE("Wider types come first, so that every tensor is aligned") {
  const testing::TemporaryFolder folder;
  const std::map<std::string, testing::Made> held{{"half", made("half", {3})},
                                                  {"full", made("full", {3})}};
  write_weights_file(folder.path() / "x.safetensors",
                     {{"half", Dtype::bf16, {3}}, {"full", Dtype::f32, {3}}}, {},
                     testing::source_of(held));
  const WeightsFile file(folder.path() / "x.safetensors");
  CHECK(file.find("full")->begin == 0);
  CHECK(file.find("half")->begin == 12);
  CHECK(file.aligned(*file.find("half")));
  CHECK(file.header().metadata.empty());
}

TEST_CASE("A source that fails leaves the folder as it was") {
  const testing::TemporaryFolder folder;
  testing::write_folder(folder.path(), five(), Dtype::f32, 900);
  const auto before = files_of(folder.path());
  const std::string index = read_file(folder.path() / "model.safetensors.index.json");
  const std::vector<TensorPlan> plans{{"x", Dtype::f32, {4}}, {"y", Dtype::f32, {4}}};
  const auto failing = [&](std::size_t bytes) {
    return complaint([&] {
      write_weights(folder.path(), plans, {}, [&](const TensorPlan&, const ByteSink& sink) {
        sink(std::vector<std::byte>(bytes));
      });
    });
  };
  CHECK_THAT(failing(12), Contains("'x'") && Contains("4 bytes too few"));
  CHECK_THAT(failing(20), Contains("'x'") && Contains("more bytes"));
  CHECK_THAT(complaint([&] {
               write_weights(folder.path(), {{"x", Dtype::f32, {1}}, {"x", Dtype::f32, {1}}}, {},
                             {});
             }),
             Contains("'x'"));
  CHECK_THAT(complaint([&] { write_weights(folder.path(), {{"x", Dtype::f8_e4m3, {1}}}, {}, {}); }),
             Contains("'x'"));
  CHECK_THAT(complaint([&] { write_weights("/proc/self/nowhere", plans, {}, {}); }),
             Contains("cannot be written"));
  CHECK(files_of(folder.path()) == before);
  CHECK(read_file(folder.path() / "model.safetensors.index.json") == index);
  // What a killed process left is removed by the next one; other files stay.
  testing::write_text(folder.path() / "model-00001-of-00009.safetensors.partial", "half");
  testing::write_text(folder.path() / "value_head.safetensors", "kept");
  testing::write_folder(folder.path(), five());
  CHECK(files_of(folder.path()) == Names{"model.safetensors", "value_head.safetensors"});
}

TEST_CASE("A view shows the file, takes writes in memory only, and outlives its file object") {
  const testing::TemporaryFolder folder;
  testing::write_one(folder.path() / "x.safetensors", five());
  const std::string bytes = read_file(folder.path() / "x.safetensors");
  std::shared_ptr<std::byte> a, again, b;
  {
    const WeightsFile file(folder.path() / "x.safetensors");
    a = file.view(*file.find("a"));
    again = file.view(*file.find("a"));
    b = file.view(*file.find("b"));
  }
  CHECK(a.get() == again.get());
  fs::remove(folder.path() / "x.safetensors");
  auto* values = reinterpret_cast<float*>(a.get());
  CHECK(values[7] == made("a", {10, 10}).values[7]);
  values[7] = 42;
  CHECK(reinterpret_cast<float*>(again.get())[7] == 42);
  CHECK(reinterpret_cast<float*>(b.get())[99] == made("b", {10, 10}).values[99]);

  folder.write("x.safetensors", bytes);
  const WeightsFile file(folder.path() / "x.safetensors");
  reinterpret_cast<float*>(file.view(*file.find("a")).get())[0] = 42;
  CHECK(read_file(folder.path() / "x.safetensors") == bytes);
  fs::resize_file(folder.path() / "x.safetensors", bytes.size() - 100);
  char last[100];
  CHECK_THAT(complaint([&] { file.read(*file.find("e"), 300, last, 100); }),
             Contains("cut short while"));
  CHECK_THAT(complaint([&] { file.read(*file.find("a"), 400, last, 1); }),
             Contains("past the end"));
}

}  // namespace dt2it
