// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <fstream>

#include "core/nn/reward_head.hpp"
#include "core/nn/safetensors.hpp"
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
  head.weight = weights.load("model.language_model.embed_tokens.weight")
                    .slice(0, 20, 21)
                    .to(at::kFloat)
                    .contiguous();
  head.bias = head.weight.slice(1, 0, 1).reshape({1}).contiguous();
  head.save(folder);
  return folder;
}

std::vector<PreferencePair> some_pairs(FakeContext& context) {
  std::vector<PreferencePair> pairs;
  for (int i = 0; i < 5; ++i) {
    PreferencePair pair =
        sample_pair(std::to_string(i), "Is there a ring in the picture?",
                    i % 2 ? "yes." : "It is red.", "I think it may be no. That is only a guess.");
    for (int k = 0; k < i % 3; ++k)
      pair.prompt.messages[0].content.insert(
          pair.prompt.messages[0].content.begin(),
          Part::of_image(context.media().put_image(
              sample_image(64 + 16 * k, 48, static_cast<std::uint64_t>(i + k)), "drawn")));
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
  check_reward_model_contract(
      *reward_model(context, tiny_checkpoint(), {{"head", value_of("contrast")}}), pairs);
  check_reward_model_contract(
      *reward_model(context, tiny_checkpoint(),
                    {{"head", value_of("contrast")}, {"tokens_per_batch", value_of(1)}}),
      pairs);
}

TEST_CASE("Responses share their prompt without seeing each other") {
  FakeContext context;
  add_backbone(context);
  const auto model = reward_model(context, with_head(context));
  const PreferencePair pair = some_pairs(context)[2];
  const std::vector<Response> four = {pair.chosen, pair.rejected, sample_response("c", "no."),
                                      sample_response("d", "A red ring.")};
  const RewardRequest all{&pair.prompt, four, 0, {}};
  const auto together = model->rewards({&all, 1})[0];
  REQUIRE(together.size() == 4);
  for (std::size_t i = 0; i < four.size(); ++i) {
    const RewardRequest one{&pair.prompt, std::span(four).subspan(i, 1), 0, {}};
    CHECK(model->rewards({&one, 1})[0][0].value == Approx(together[i].value).epsilon(1e-4));
  }
  CHECK(together[0].value != together[1].value);
}

TEST_CASE("Rewards are the same alone, in a pack of 64, in any order, with shared prompts or not") {
  FakeContext context;
  add_backbone(context);
  const fs::path folder = with_head(context);
  // 64 requests about 16 prompts, some with the same picture; answers repeat.
  std::vector<Media> pictures;
  for (int i = 0; i < 3; ++i)
    pictures.push_back(context.media().put_image(
        sample_image(64 + 32 * i, 64, static_cast<std::uint64_t>(i)), "drawn"));
  std::vector<Prompt> prompts;
  for (std::size_t i = 0; i < 16; ++i)
    prompts.push_back(sample_prompt(
        std::to_string(i),
        i % 2 ? "What colour is the ring?" : std::string(i, 'o') + " Is there a ring?",
        i % 4 == 3 ? std::vector<Media>{} : std::vector<Media>{pictures[i % 3]}));
  const std::vector<std::string> texts{
      "It is red.", "yes.", "I think it may be no. That is only a guess.", "", "A ring\n", "no."};
  std::vector<std::vector<Response>> responses;
  std::vector<RewardRequest> requests;
  for (std::size_t i = 0; i < 64; ++i) {
    auto& some = responses.emplace_back();
    for (std::size_t k = 0; k <= i % 3; ++k)
      some.push_back(sample_response(std::to_string(k), texts[(i + 2 * k + i / 7) % texts.size()]));
  }
  for (std::size_t i = 0; i < 64; ++i) requests.push_back({&prompts[i % 16], responses[i], i, {}});

  const auto single = reward_model(context, folder);
  std::vector<std::vector<Reward>> alone;
  double lowest = 1e9, highest = -1e9;
  for (const RewardRequest& request : requests) {
    alone.push_back(single->rewards({&request, 1})[0]);
    for (const Reward& reward : alone.back()) {
      REQUIRE(reward.ok());
      lowest = std::min(lowest, reward.value), highest = std::max(highest, reward.value);
    }
  }
  REQUIRE(highest - lowest > 0.01);
  const std::uint64_t tokens_alone = single->work().tokens;

  const auto check = [&](std::vector<std::size_t> order, Table params) {
    const auto model = reward_model(context, folder, std::move(params));
    std::vector<RewardRequest> shown;
    for (const std::size_t i : order) shown.push_back(requests[i]);
    model->prepare(shown);
    const auto rewards = model->rewards(shown);
    REQUIRE(rewards.size() == order.size());
    for (std::size_t k = 0; k < order.size(); ++k) {
      REQUIRE(rewards[k].size() == alone[order[k]].size());
      for (std::size_t j = 0; j < rewards[k].size(); ++j) {
        INFO("request " << order[k] << ", answer " << j);
        CHECK(std::abs(rewards[k][j].value - alone[order[k]][j].value) <=
              1e-5 * std::max(1.0, std::abs(alone[order[k]][j].value)));
      }
    }
    return model->work().tokens;
  };
  std::vector<std::size_t> order(64);
  for (std::size_t i = 0; i < 64; ++i) order[i] = i;
  const std::uint64_t shared = check(order, {});
  CHECK(shared < tokens_alone / 2);  // each prompt once, each different answer once
  check(order, {{"tokens_per_batch", value_of(150)}, {"encoder_threads", value_of(3)}});
  check(order, {{"tokens_per_batch", value_of(1)}, {"encoder_threads", value_of(1)}});
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    Rng rng(seed);
    for (std::size_t i = 63; i > 0; --i)
      std::swap(order[i], order[static_cast<std::size_t>(rng.integer(0, static_cast<int>(i)))]);
    check(order, {{"tokens_per_batch", value_of(400)}});
  }
}

TEST_CASE("What was announced and not asked for, or asked for and not announced, changes nothing") {
  FakeContext context;
  add_backbone(context);
  auto model = reward_model(context, with_head(context));
  const auto pairs = some_pairs(context);
  std::vector<std::vector<Response>> responses;
  for (const auto& pair : pairs) responses.push_back({pair.chosen, pair.rejected});
  const auto ask = [&](std::size_t begin, std::size_t end) {
    std::vector<RewardRequest> requests;
    for (std::size_t i = begin; i < end; ++i)
      requests.push_back({&pairs[i].prompt, responses[i], i, {}});
    return requests;
  };
  const auto all = ask(0, 5), first = ask(0, 2), second = ask(2, 5);
  const auto expected = model->rewards(all);
  const auto near = [&](const std::vector<std::vector<Reward>>& rewards, std::size_t begin) {
    for (std::size_t i = 0; i < rewards.size(); ++i)
      for (std::size_t j = 0; j < 2; ++j)
        if (std::abs(rewards[i][j].value - expected[begin + i][j].value) > 1e-5) return false;
    return true;
  };
  model->prepare(first);
  model->prepare(second);
  CHECK(near(model->rewards(first), 0));
  CHECK(near(model->rewards(second), 2));
  model->prepare(second);
  CHECK(near(model->rewards(first), 0));  // something else
  CHECK(near(model->rewards(second), 2));
  model->prepare(all);
  model->prepare({});
  CHECK(near(model->rewards(all), 0));
  model->prepare(all);
  model.reset();  // before the requests do
}

TEST_CASE("A length limit cuts the same whoever else asks about the prompt, and is told once") {
  FakeContext context;
  add_backbone(context);
  const fs::path folder = with_head(context);
  const Prompt prompt =
      sample_prompt("p", "Is there a ring in the picture, and which colour does it have?");
  std::string longer = "It is red.";
  for (int i = 0; i < 20; ++i) longer += " It is red.";
  const std::vector<Response> brief{sample_response("0", "yes."),
                                    sample_response("1", "It is a red ring.")},
      wordy{sample_response("0", longer), sample_response("1", "no.")};
  const std::vector<RewardRequest> requests{{&prompt, brief, 0, {}}, {&prompt, wordy, 1, {}}};
  const auto model = reward_model(context, folder, {{"cutoff_len", value_of(40)}});
  const auto together = model->rewards(requests);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto alone = model->rewards(std::span(requests).subspan(i, 1))[0];
    for (std::size_t j = 0; j < 2; ++j)
      CHECK(alone[j].value == Approx(together[i][j].value).epsilon(1e-5));
  }
  CHECK(model->work().cut >= 2);
  CHECK_FALSE(context.logged("cutoff_len = 40"));
  model->finish(2);
  CHECK(context.logged("cutoff_len = 40"));
}

TEST_CASE(
    "The hidden state that the head reads: stated, as training.json says, or a loud default") {
  FakeContext context;
  add_backbone(context);
  const fs::path folder = with_head(context);
  fs::remove(folder / "training.json");
  const auto pairs = some_pairs(context);
  const std::vector<Response> responses{pairs[0].chosen, pairs[0].rejected};
  const RewardRequest request{&pairs[0].prompt, responses, 0, {}};
  const auto reward = [&](Table params) {
    return reward_model(context, folder, std::move(params))->rewards({&request, 1})[0][0].value;
  };
  const double after = reward({{"head_input", value_of("final_norm")}}),
               before = reward({{"head_input", value_of("before_norm")}});
  CHECK(after != Approx(before));
  CHECK_FALSE(context.logged("dt2it doctor"));
  CHECK(reward({}) == after);
  CHECK(context.logged("dt2it doctor"));
  for (const auto& [word, value] : {std::pair{"normed", after},
                                    {"unnormed", before},
                                    {"final_norm", after},
                                    {"before_norm", before}}) {
    std::ofstream(folder / "training.json") << "{\"head_input\": \"" << word << "\"}";
    CHECK(reward({}) == value);
  }
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
  for (std::size_t i = 0; i < pairs.size(); ++i)
    requests.push_back({&pairs[i].prompt, responses[i], i, {}});
  const auto rewards = model->rewards(requests);
  for (std::size_t i = 0; i < pairs.size(); ++i)
    for (const Reward& reward : rewards[i]) {
      CHECK(reward.status == (i == 1 ? Status::missing_media : Status::ok));
      CHECK((i == 1) == (reward.detail.find("gone.png") != std::string::npos));
    }
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
  fs::create_directories(context.scratch() / "adapter");
  std::ofstream(context.scratch() / "adapter/adapter_config.json") << "{}";
  CHECK_THAT(message(context.scratch() / "adapter"), Contains("--merge-adapter --base DIR"));
  // A run's folder, or a stage's: the checkpoint in it is named.
  const fs::path run = context.scratch() / "run";
  for (const char* stage : {"iterate.model_0", "train", "mix"})
    fs::create_directories(run / "stages" / stage / "checkpoint");
  CHECK_THAT(message(run), !Contains("did you mean"));
  for (const char* stage : {"iterate.model_0", "train"}) {
    const fs::path checkpoint = run / "stages" / stage / "checkpoint";
    std::ofstream(checkpoint / "config.json") << "{}";
    const std::string meant = "did you mean " + checkpoint.string() + "?";
    CHECK_THAT(message(run), Contains(meant));
    CHECK_THAT(message(run / "stages" / stage), Contains(meant));
  }
  CHECK_THAT(message(tiny_checkpoint()), Contains("contrast"));  // no reward head
  CHECK_THAT(message(tiny_checkpoint(),
                     {{"head", value_of("contrast")}, {"positive", value_of("red ring")}}),
             Contains("2 tokens"));
  const fs::path cut = context.scratch() / "cut";
  fs::copy(tiny_checkpoint(), cut);
  fs::resize_file(cut / "model.safetensors", 100000);
  CHECK_THAT(message(cut, {{"head", value_of("contrast")}}),
             Contains("model.safetensors") && Contains("outside"));
}
