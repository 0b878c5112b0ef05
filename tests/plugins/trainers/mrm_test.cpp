// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "core/nn/safetensors.hpp"
#include "core/nn/reward_head.hpp"
#include "dt2it/testing/fakes.hpp"
#include "dt2it/testing/model_contracts.hpp"
#include "tests/plugins/trainers/tiny_models.hpp"

using namespace dt2it;
using namespace dt2it::testing;
namespace fs = std::filesystem;

namespace {

// The tiny checkpoint with a reward head of its own.
fs::path with_head(FakeContext& context) {
  const fs::path folder = context.scratch() / "scored";
  fs::copy(tiny_checkpoint(), folder);
  nn::RewardHead head;
  const nn::SafetensorsFile weights(folder / "model.safetensors");
  head.weight = weights.load("model.language_model.embed_tokens.weight").slice(0, 20, 21).to(at::kFloat).contiguous();
  head.bias = head.weight.slice(1, 0, 1).reshape({1}).contiguous();
  head.save(folder);
  return folder;
}

std::vector<PreferencePair> some_pairs(FakeContext& context) {
  std::vector<PreferencePair> pairs;
  for (int i = 0; i < 5; ++i) {
    PreferencePair pair = sample_pair(std::to_string(i), "Is there a ring in the picture?", i % 2 ? "yes." : "It is red.",
                                      "I think it may be no. That is only a guess.");
    for (int k = 0; k < i % 3; ++k)
      pair.prompt.messages[0].content.insert(
          pair.prompt.messages[0].content.begin(),
          Part::of_image(context.media().put_image(sample_image(64 + 16 * k, 48, static_cast<std::uint64_t>(i + k)), "drawn")));
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

}  // namespace

TEST_CASE("A reward model from a checkpoint keeps the contract, with either head") {
  FakeContext context;
  add_backbone(context);
  const auto pairs = some_pairs(context);
  check_reward_model_contract(*reward_model(context, with_head(context)), pairs);
  check_reward_model_contract(*reward_model(context, tiny_checkpoint(), {{"head", value_of("contrast")}}), pairs);
  check_reward_model_contract(*reward_model(context, tiny_checkpoint(), {{"head", value_of("contrast")}, {"batch_tokens", value_of(1)}}),
                              pairs);
}

TEST_CASE("Responses share their prompt without seeing each other") {
  FakeContext context;
  add_backbone(context);
  const auto model = reward_model(context, with_head(context));
  const PreferencePair pair = some_pairs(context)[2];
  const std::vector<Response> four = {pair.chosen, pair.rejected, sample_response("c", "no."), sample_response("d", "A red ring.")};
  const RewardRequest all{&pair.prompt, four, 0, {}};
  const auto together = model->rewards({&all, 1})[0];
  REQUIRE(together.size() == 4);
  for (std::size_t i = 0; i < four.size(); ++i) {
    const RewardRequest one{&pair.prompt, std::span(four).subspan(i, 1), 0, {}};
    CHECK(model->rewards({&one, 1})[0][0].value == Approx(together[i].value).epsilon(1e-4));
  }
  CHECK(together[0].value != together[1].value);
}

TEST_CASE("A missing picture is a status, not a score") {
  FakeContext context;
  add_backbone(context);
  const auto model = reward_model(context, with_head(context));
  auto pairs = some_pairs(context);
  Media absent;
  absent.source = "gone.png";
  pairs[1].prompt.messages[0].content[0] = Part::of_image(absent);
  std::vector<RewardRequest> requests;
  std::vector<std::vector<Response>> responses;
  for (const auto& pair : pairs) responses.push_back({pair.chosen, pair.rejected});
  for (std::size_t i = 0; i < pairs.size(); ++i) requests.push_back({&pairs[i].prompt, responses[i], i, {}});
  const auto rewards = model->rewards(requests);
  for (std::size_t i = 0; i < pairs.size(); ++i)
    for (const Reward& reward : rewards[i]) CHECK(reward.status == (i == 1 ? Status::missing_media : Status::ok));
  CHECK(context.logged("gone.png"));
}

TEST_CASE("Checkpoints that cannot be used are refused with a reason") {
  FakeContext context;
  add_backbone(context);
  const auto message = [&](const fs::path& folder, Table params = {}) {
    try {
      reward_model(context, folder, std::move(params));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(message(""), Contains("'checkpoint' is required"));
  CHECK_THAT(message(context.scratch() / "nowhere"), Contains("config.json"));
  CHECK_THAT(message(tiny_checkpoint()), Contains("contrast"));  // no reward head
  CHECK_THAT(message(tiny_checkpoint(), {{"head", value_of("contrast")}, {"positive", value_of("red ring")}}), Contains("2 tokens"));
  const fs::path cut = context.scratch() / "cut";
  fs::copy(tiny_checkpoint(), cut);
  fs::resize_file(cut / "model.safetensors", 100000);
  CHECK_THAT(message(cut, {{"head", value_of("contrast")}}), Contains("model.safetensors") && Contains("outside"));
}
