// SPDX-License-Identifier: Apache-2.0
#include "tests/cli/process.hpp"
#include "tests/core/weights/checkpoints.hpp"

namespace dt2it {
namespace {

using Catch::Matchers::Contains;
using testing::made;

}  // namespace

TEST_CASE("convert says what it wrote and what was lost, and loads no LibTorch for it") {
  const testing::TemporaryFolder folder;
  const std::string a = (folder.path() / "a model").string(), b = (folder.path() / "b").string();
  testing::write_folder(a, testing::body(true));
  testing::write_one(a + "/value_head.safetensors", {{"v_head.summary.weight", made("w", {1, 8})},
                                                     {"v_head.summary.bias", made("b", {1})}});
  testing::write_text(
      a + "/config.json",
      R"({"architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl"})");
  testing::write_text(a + "/tokenizer.json", "{}");
  const Finished run = dt2it({"convert", a, b, "--head-layout", "score", "--dtype", "bf16",
                              "--max-shard-size", "0.0003MB"},
                             {{"LD_DEBUG", "files"}});
  CHECK(run.code == 0);
  CHECK_THAT(run.out, Contains(b + ": 9 tensors") && Contains("copied: tokenizer.json") &&
                          Contains("note: ") && Contains("is dropped"));
  CHECK(run.err.find("libtorch") == std::string::npos);
  CHECK(std::filesystem::exists(b + "/model.safetensors.index.json"));
  CHECK_THAT(read_file(b + "/config.json"),
             Contains("\"num_labels\": 1") && Contains("Qwen3VLForSequenceClassification"));
}

TEST_CASE("convert's mistakes: exit codes and messages") {
  const testing::TemporaryFolder folder;
  const std::string a = (folder.path() / "a").string(), b = (folder.path() / "b").string();
  testing::write_folder(a, testing::body(true));
  const auto ends = [&](const Words& words, int code, const std::string& says) {
    const Finished run = dt2it(words);
    CHECK(run.code == code);
    CHECK_THAT(run.err, Contains(says));
  };
  ends({"convert", a}, 2, "source and a target");
  ends({"convert", a, b, "--head-layout", "trl"}, 2, "llama_factory, score");
  ends({"convert", a, b, "--dtype", "int8"}, 2, "bf16, f16, f32");
  ends({"convert", a, b, "--max-shard-size", "5 apples"}, 2, "5GB");
  ends({"convert", a, a}, 2, "is read");
  ends({"convert", a, b, "--head-layout", "score"}, 5, "no reward head");
  ends({"convert", a + "x", b}, 5, "no such folder");
  CHECK_FALSE(std::filesystem::exists(b));
  const std::string within = a + "/src";
  testing::write_folder(within, testing::body(true));
  ends({"convert", within, a, "--overwrite"}, 2, "is read");
  testing::write_folder(b, testing::body(true));
  testing::write_text(b + "/precious.txt", "x");
  ends({"convert", a, b, "--overwrite"}, 2, "'precious.txt'");
  CHECK(std::filesystem::exists(within + "/model.safetensors"));
  CHECK(std::filesystem::exists(b + "/precious.txt"));
}

}  // namespace dt2it
