// SPDX-License-Identifier: Apache-2.0
// Five minutes: makes the backbone that ships in experiments/mini_backbone again, and asks it the same questions.
#include <simdjson.h>

#include <catch2/catch.hpp>
#include <iostream>

#include "core/nn/safetensors.hpp"
#include "dt2it/trainer.hpp"
#include "tests/paths.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;

TEST_CASE("A rerun of the warm start reaches the accuracy of the shipped backbone") {
  const std::filesystem::path shipped =
      std::filesystem::path(source_path()) / "experiments/mini_backbone";
  simdjson::dom::parser parser, other;
  const simdjson::dom::element then = parser.load((shipped / "training.json").string());
  FakeContext context;
  TrainRequest request;
  request.output = context.scratch() / "again";
  std::filesystem::create_directories(request.output);
  request.seed = then["seed"].get_uint64();
  const PluginLibrary plugin("trainers/mini_warm_start");
  REQUIRE(plugin.make<Trainer>("mini_warm_start", {}, context)->train(request));

  const simdjson::dom::element now = other.load((request.output / "training.json").string());
  for (const auto [skill, value] : then["probes"].get_object()) {
    const double before = value.get_double(), after = now["probes"][skill].get_double();
    std::cout << skill << ": shipped " << before << ", again " << after << "\n";
    CAPTURE(skill);
    CHECK(std::abs(after - before) <=
          .1);  // 200 questions: two standard errors, and another machine's last bits
  }
  for (const char* file : {"config.json", "tokenizer.json", "preprocessor_config.json"})
    CHECK(nn::read_text_file(shipped / file) == nn::read_text_file(request.output / file));
}
