// SPDX-License-Identifier: Apache-2.0
#include "core/weights/convert.hpp"

#include <cmath>

#include "tests/core/weights/checkpoints.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using testing::body;
using testing::complaint;
using testing::files_of;
using testing::made;
using testing::Tensors;
using testing::write_folder;
using testing::write_one;
using testing::write_text;

constexpr const char* kConfig = R"({
  "architectures": [
    "Qwen3VLForConditionalGeneration"
  ],
  "model_type": "qwen3_vl",
  "text_config": {
    "dtype": "float32",
    "architectures": "Qwen3VLForConditionalGeneration"
  },
  "torch_dtype": "float32"
}
)";

void write_model(const fs::path& folder, Tensors head, const Tensors& apart,
                 Dtype type = Dtype::f32, std::uint64_t shard = 5'000'000'000) {
  Tensors tensors = body(true);
  tensors.insert(tensors.end(), head.begin(), head.end());
  write_folder(folder, tensors, type, shard);
  if (!apart.empty()) write_one(folder / "value_head.safetensors", apart);
  write_text(folder / "config.json", kConfig);
  write_text(folder / "tokenizer.json", "{\"tokens\": 1}");
  write_text(folder / "chat_template.jinja", "{{ messages }}");
  write_text(folder / "training_args.bin", "pickle");
  write_text(folder / ".gitattributes", "x");
  fs::create_directories(folder / "checkpoint-5");
}

Converted convert_to(const fs::path& from, const fs::path& to, std::optional<HeadLayout> head,
                     std::optional<Dtype> type = {}) {
  ConvertRequest request;
  request.from = from;
  request.to = to;
  request.head = head;
  request.type = type;
  return convert_checkpoint(request);
}

void check_same(const fs::path& a, const fs::path& b) {
  const std::vector<std::string> kept = files_of(b);
  REQUIRE(!kept.empty());
  for (const std::string& name : kept) {
    CAPTURE(name);
    CHECK(read_file(a / name) == read_file(b / name));
  }
}

}  // namespace

TEST_CASE("A head goes from layout to layout, and back to the same bytes where nothing is lost") {
  const testing::TemporaryFolder folder;
  const fs::path a = folder.path() / "a", b = folder.path() / "b", c = folder.path() / "c";
  auto no_bias = made("b", {1});
  no_bias.values[0] = 0;
  const Tensors linear{{"v_head.summary.weight", made("w", {1, 8})},
                       {"v_head.summary.bias", no_bias}};
  for (const Dtype type : {Dtype::f32, Dtype::bf16})
    for (const HeadLayout layout : {HeadLayout::score, HeadLayout::v_head, HeadLayout::rm_head}) {
      CAPTURE(dtype_name(type), head_layout_name(layout));
      for (const fs::path& old : {a, b, c}) fs::remove_all(old);
      write_model(a, {}, linear, type);  // the head in float32, whatever the model
      const Converted done = convert_to(a, b, layout);
      CHECK(done.notes.empty());
      CHECK((done.copied == std::vector<std::string>{"chat_template.jinja", "tokenizer.json"}));
      CHECK_FALSE(fs::exists(b / "value_head.safetensors"));
      const Weights weights(b);
      const std::string name = std::string(head_layout_name(layout)) + ".weight";
      CHECK(weights.info(name).type == Dtype::f32);
      CHECK((weights.info(name).shape == std::vector<std::int64_t>{1, 8}));
      CHECK(weights.names().size() == body(true).size() + (layout == HeadLayout::rm_head ? 2 : 1));
      convert_to(b, c, HeadLayout::llama_factory);
      check_same(a, c);
      CHECK((files_of(c) == std::vector<std::string>{"chat_template.jinja", "config.json",
                                                     "model.safetensors", "tokenizer.json",
                                                     "value_head.safetensors"}));
    }
}

TEST_CASE("A two-layer head goes between rm_head and score, and nowhere else") {
  const testing::TemporaryFolder folder;
  const Tensors head{{"rm_head.dense.weight", made("dw", {8, 8})},
                     {"rm_head.dense.bias", made("db", {8})},
                     {"rm_head.out_proj.weight", made("ow", {1, 8})},
                     {"rm_head.out_proj.bias", made("ob", {1})}};
  write_model(folder.path() / "a", head, {});
  convert_to(folder.path() / "a", folder.path() / "b", HeadLayout::score);
  CHECK(Weights(folder.path() / "b").contains("score.out_proj.bias"));
  convert_to(folder.path() / "b", folder.path() / "c", HeadLayout::rm_head);
  check_same(folder.path() / "a", folder.path() / "c");
  CHECK_THAT(complaint([&] {
               convert_to(folder.path() / "a", folder.path() / "d", HeadLayout::llama_factory);
             }),
             Contains("two layers"));
  CHECK(files_of(folder.path()).size() == 3);  // nothing of the failed one
}

TEST_CASE("A bias that the layout has no place for is dropped with a note") {
  const testing::TemporaryFolder folder;
  auto bias = made("b", {1});
  bias.values[0] = 0.375f;
  write_model(folder.path() / "a", {},
              {{"v_head.summary.weight", made("w", {1, 8})}, {"v_head.summary.bias", bias}});
  const Converted done = convert_to(folder.path() / "a", folder.path() / "b", HeadLayout::score);
  REQUIRE(done.notes.size() == 1);
  CHECK_THAT(done.notes[0], Contains("0.375") && Contains("rankings and margins hold"));
  CHECK_FALSE(find_reward_head(folder.path() / "b").read().bias);
  const std::string config = read_file(folder.path() / "b/config.json");
  CHECK_THAT(
      config,
      Contains(
          "\"Qwen3VLForSequenceClassification\"\n  ],\n  \"num_labels\": 1,\n  \"model_type\""));
  CHECK_THAT(
      config,
      Contains("\"architectures\": \"Qwen3VLForConditionalGeneration\""));  // not the one within
}

TEST_CASE("Another type, smaller shards, and the head as it was") {
  const testing::TemporaryFolder folder;
  write_model(
      folder.path() / "a", {},
      {{"v_head.summary.weight", made("w", {1, 8})}, {"v_head.summary.bias", made("b", {1})}});
  ConvertRequest request;
  request.from = folder.path() / "a";
  request.to = folder.path() / "new/b";
  request.type = Dtype::bf16;
  request.max_shard_bytes = 200;
  const Converted done = convert_checkpoint(request);
  CHECK(done.written.files > 3);
  const Weights weights(folder.path() / "new/b");
  for (const auto& [name, tensor] : body(true)) {
    CHECK(weights.info(name).type == Dtype::bf16);
    std::vector<std::uint16_t> expected(tensor.values.size()), stored(tensor.values.size());
    convert(tensor.values.data(), Dtype::f32, expected.data(), Dtype::bf16, expected.size());
    weights.read(name, Dtype::bf16, 0, tensor.shape[0], stored.data());
    CHECK(stored == expected);
  }
  CHECK(read_file(folder.path() / "new/b/value_head.safetensors") ==
        read_file(folder.path() / "a/value_head.safetensors"));
  const std::string config = read_file(folder.path() / "new/b/config.json");
  CHECK(config.find("float32") == std::string::npos);
  CHECK_THAT(config,
             Contains("\"dtype\": \"bfloat16\"") && Contains("\"torch_dtype\": \"bfloat16\""));

  auto large = made("x", {1, 8});
  large.values[5] = 1e5f;
  write_folder(folder.path() / "large", {{"model.visual.x", large}});
  CHECK_THAT(
      complaint([&] { convert_to(folder.path() / "large", folder.path() / "d", {}, Dtype::f16); }),
      Contains("'model.visual.x'") && Contains("float16"));
}

TEST_CASE("An adapter and its base become one model") {
  const testing::TemporaryFolder folder;
  const fs::path base = folder.path() / "base", adapter = folder.path() / "adapter";
  write_model(base, {}, {});
  fs::create_directories(adapter);
  write_text(
      adapter / "adapter_config.json",
      R"({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "base_model_name_or_path": "../base"})");
  write_text(adapter / "tokenizer.json", "{\"tokens\": 2}");
  const std::string q = "base_model.model.model.language_model.layers.0.self_attn.q_proj.";
  write_one(adapter / "adapter_model.safetensors",
            {{q + "lora_A.weight", made("A", {2, 8})}, {q + "lora_B.weight", made("B", {6, 2})}});
  write_one(adapter / "value_head.safetensors", {{"v_head.summary.weight", made("w", {1, 8})},
                                                 {"v_head.summary.bias", made("b", {1})}});
  CHECK_THAT(complaint<ConfigError>([&] { convert_to(adapter, folder.path() / "x", {}); }),
             Contains("--merge-adapter"));
  for (const std::optional<HeadLayout> head :
       {std::optional<HeadLayout>(), std::optional(HeadLayout::llama_factory)}) {
    ConvertRequest request;
    request.from = adapter;
    request.to = folder.path() / "merged";
    request.head = head;
    request.merge_adapter = request.overwrite = true;
    CHECK(convert_checkpoint(request).notes.size() == 1);
    const Weights weights(request.to), source(adapter);
    CHECK(weights.names() == source.names());
    for (const std::string& name : weights.names()) {
      const auto shape = weights.info(name).shape;
      std::vector<float> a(StoredTensor{Dtype::f32, shape}.count()), b(a.size());
      weights.read(name, Dtype::f32, 0, shape[0], a.data());
      source.read(name, Dtype::f32, 0, shape[0], b.data());
      CHECK(a == b);
    }
    CHECK(find_reward_head(request.to).read().weight == made("w", {1, 8}).values);
    CHECK(read_file(request.to / "tokenizer.json") == "{\"tokens\": 2}");
    CHECK(read_file(request.to / "config.json") == kConfig);
    CHECK_FALSE(fs::exists(request.to / "adapter_config.json"));
  }
}

TEST_CASE("Folders that are in use are not written over") {
  const testing::TemporaryFolder folder;
  write_model(folder.path() / "a", {{"score.weight", made("w", {1, 8})}}, {});
  write_text(folder.path() / "file", "x");
  fs::create_directories(folder.path() / "full");
  write_text(folder.path() / "full/mine", "x");
  CHECK_THAT(
      complaint<ConfigError>([&] { convert_to(folder.path() / "a", folder.path() / "a", {}); }),
      Contains("is read"));
  CHECK_THAT(
      complaint<ConfigError>([&] { convert_to(folder.path() / "a", folder.path() / "file", {}); }),
      Contains("not a folder"));
  CHECK_THAT(
      complaint<ConfigError>([&] { convert_to(folder.path() / "a", folder.path() / "full", {}); }),
      Contains("not empty"));
  CHECK(read_file(folder.path() / "full/mine") == "x");
  fs::create_directories(folder.path() / "empty");
  convert_to(folder.path() / "a", folder.path() / "empty/", HeadLayout::v_head);
  CHECK(Weights(folder.path() / "empty").contains("v_head.weight"));
  CHECK((files_of(folder.path()) == std::vector<std::string>{"a", "empty", "file", "full"}));
}

TEST_CASE("Only a checkpoint with nothing beside it is overwritten") {
  const testing::TemporaryFolder folder;
  const fs::path a = folder.path() / "a", to = folder.path() / "to";
  write_model(a, {{"score.weight", made("w", {1, 8})}}, {});
  write_text(a / "notes of the maker.txt", "x");  // comes along
  const auto overwrite = [&](const fs::path& target) {
    ConvertRequest request{a, target};
    request.head = HeadLayout::v_head;
    request.overwrite = true;
    return complaint<ConfigError>([&] { convert_checkpoint(request); });
  };
  const auto refused = [&](const std::string& why) {
    const std::vector<std::string> there = files_of(to);
    CHECK_THAT(overwrite(to), Contains("is not replaced") && Contains(why));
    CHECK(files_of(to) == there);
    CHECK((files_of(folder.path()) == std::vector<std::string>{"a", "to"}));
    fs::remove_all(to);
  };
  write_model(to, {{"score.weight", made("other", {1, 8})}}, {});
  fs::remove(to / "checkpoint-5");
  CHECK(overwrite(to) == "nothing");
  CHECK(Weights(to).contains("v_head.weight"));
  CHECK(fs::exists(to / "notes of the maker.txt"));
  CHECK(overwrite(to) == "nothing");  // what a conversion wrote
  CHECK((files_of(folder.path()) == std::vector<std::string>{"a", "to"}));

  write_text(to / "notes of the maker.txt", "mine");
  refused("'notes of the maker.txt'");
  write_model(to, {}, {});
  fs::remove(to / "checkpoint-5");
  write_text(to / "precious.txt", "x");
  refused("'precious.txt' is in it, which is no file of a checkpoint");
  write_model(to, {}, {});
  write_text(to / "checkpoint-5/model.safetensors", "x");
  refused("'checkpoint-5'");
  fs::create_directories(to);
  write_text(to / "config.json", "{}");  // many programs have one
  write_text(to / "README.md", "x");
  refused("no weights");
  fs::create_directories(to);
  fs::create_symlink("nowhere", to / "model.safetensors");
  refused("'model.safetensors'");
  write_model(folder.path() / ".to.old", {}, {});  // where the old one would wait
  CHECK_THAT(overwrite(to), Contains(".to.old") && Contains("'checkpoint-5'"));
  CHECK(fs::exists(folder.path() / ".to.old/checkpoint-5"));
}

TEST_CASE("What is read is never written over, whatever way leads there") {
  const testing::TemporaryFolder folder;
  const fs::path w = folder.path() / "w";
  const Tensors head{{"score.weight", made("w", {1, 8})}};
  const auto overwrite = [&](ConvertRequest request) {
    request.merge_adapter = request.overwrite = true;
    return complaint<ConfigError>([&] { convert_checkpoint(request); });
  };
  const auto refused = [&](const ConvertRequest& request) {
    CHECK_THAT(overwrite(request), Contains("is read"));
  };
  // The source lies in the target, which is a checkpoint too.
  write_model(w, head, {});
  fs::remove(w / "checkpoint-5");
  write_model(w / "src", head, {});
  fs::create_directory_symlink(w, folder.path() / "link");
  fs::create_directory_symlink(w / "src", folder.path() / "src_link");
  for (const fs::path& target : {w, w / "", w / ".", w / "src" / "..", folder.path() / "link"})
    for (const fs::path& source :
         {w / "src", folder.path() / "link/src", folder.path() / "src_link"}) {
      CAPTURE(target.string(), source.string());
      refused({source, target});
    }
  CHECK(Weights(w / "src").contains("score.weight"));
  CHECK(Weights(w).contains("score.weight"));
  fs::remove_all(w / "src");
  fs::remove(folder.path() / "src_link");

  // A file of the source is a link into the target.
  const fs::path linked = folder.path() / "linked";
  fs::create_directories(linked);
  fs::copy_file(w / "config.json", linked / "config.json");
  fs::create_symlink("../w/model.safetensors", linked / "model.safetensors");
  refused({linked, w});

  // Base and adapter, given or named by adapter_config.json; and the folders that are only used on the way.
  const fs::path adapter = folder.path() / "adapter";
  fs::create_directories(adapter);
  write_text(
      adapter / "adapter_config.json",
      R"({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "base_model_name_or_path": "../w"})");
  const std::string q = "base_model.model.model.language_model.layers.0.self_attn.q_proj.";
  write_one(adapter / "adapter_model.safetensors",
            {{q + "lora_A.weight", made("A", {2, 8})}, {q + "lora_B.weight", made("B", {6, 2})}});
  ConvertRequest request{adapter, w};
  refused(request);
  request.options.base = folder.path() / "link";
  refused(request);
  request = {w, adapter};
  request.options.adapter = adapter;
  refused(request);
  fs::rename(w, folder.path() / ".new.partial");
  refused({folder.path() / ".new.partial", folder.path() / "new"});
  fs::rename(folder.path() / ".new.partial", w);

  // Below the source there is nothing that is read.
  CHECK(overwrite({w, w / "converted"}) == "nothing");
  CHECK(overwrite({w, w / "converted"}) == "nothing");
  CHECK(Weights(w / "converted").contains("score.weight"));
  CHECK(Weights(w).contains("score.weight"));
}

TEST_CASE("config.json keeps its text, however it is written") {
  for (const char* text : {R"({"architectures":["AForConditionalGeneration"],"x":1})",
                           R"({ "x": 1, "architectures": ["AForConditionalGeneration"] })",
                           "{\n \"architectures\": [\"AForConditionalGeneration\"]\n}\n",
                           R"({"x": "no architectures"})"}) {
    const std::string there = converted_config(text, HeadLayout::score, {});
    CHECK(there.find("ForConditionalGeneration") == std::string::npos);
    CHECK(converted_config(there, HeadLayout::score, {}) == there);
    CHECK(converted_config(there, HeadLayout::v_head, {}) == text);
    CHECK(converted_config(text, {}, {}) == text);
  }
  CHECK(converted_config(R"({"architectures":["AForConditionalGeneration"],"num_labels":2})",
                         HeadLayout::score, {}) ==
        R"({"architectures":["AForSequenceClassification"],"num_labels":1})");
}

}  // namespace dt2it
