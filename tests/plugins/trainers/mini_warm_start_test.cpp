// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "core/nn/packed_batch.hpp"
#include "core/nn/tokenizer.hpp"
#include "dt2it/testing/model_contracts.hpp"
#include "plugins/common/mini_world/language.hpp"
#include "tests/plugins/trainers/tiny_models.hpp"

using namespace dt2it;
using namespace dt2it::testing;

TEST_CASE("The warm start keeps the trainer contract, interrupted in any phase") {
  const PluginLibrary plugin("trainers/mini_warm_start");
  Table params = short_warm_start();
  params["caption_steps"] = value_of(2);
  params["question_steps"] = value_of(2);
  for (const int stop : {1, 2, 4, 5}) {
    CAPTURE(stop);
    FakeContext context;
    check_trainer_contract(*plugin.make<Trainer>("mini_warm_start", params, context), {},
                           context.scratch(), {.stop_after = stop});
  }
}

TEST_CASE("The mini tokenizer knows every word of the mini world, however it is written") {
  const nn::Tokenizer tokenizer(tiny_checkpoint() / "tokenizer.json");
  const auto unknown = tokenizer.id("<unk>").value();
  for (const std::string& word : mini_world::vocabulary()) {
    CAPTURE(word);
    CHECK(tokenizer.encode(word).size() == 1);
    CHECK(tokenizer.encode(word)[0] != unknown);
  }
  const auto ids = tokenizer.encode("<|im_start|>user\nImage 1:<|vision_start|>");
  REQUIRE(ids.size() == 5);
  CHECK(ids[2] == tokenizer.id("image1").value());
  CHECK(tokenizer.encode("<|im_end|>\n").size() == 1);
}

TEST_CASE("The mini backbone is a small plain Qwen3-VL") {
  const auto config = nn::ModelConfig::read(tiny_checkpoint() / "config.json");
  CHECK(config.text.layers == 3);
  CHECK(config.text.tied);
  nn::VlModel model(config);
  model.load(nn::Checkpoint(tiny_checkpoint()));
  std::int64_t weights = 0;
  for (const auto& [name, tensor] : model.parameters()) weights += tensor.numel();
  CHECK(weights > 200000);
  CHECK(weights < 300000);
  CHECK(std::filesystem::file_size(tiny_checkpoint() / "model.safetensors") < 1000000);
}
