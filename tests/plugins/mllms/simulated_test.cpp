// SPDX-License-Identifier: Apache-2.0
#include <simdjson.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <set>
#include <thread>

#include "dt2it/judge.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "dt2it/testing/loaded_plugin.hpp"
#include "plugins/common/mini_world/drawing.hpp"
#include "plugins/mllms/simulated/simulated_mllm.hpp"
#include "tests/paths.hpp"

using namespace dt2it;
using namespace dt2it::mini_world;
using dt2it::simulated::SimulatedMllm;
using dt2it::testing::FakeContext;
using dt2it::testing::sample_prompt;
using dt2it::testing::sample_response;

namespace {

struct Asked {
  Question question;
  std::vector<Scene> scenes;
  Prompt prompt;
};

Asked ask(Kind kind, FakeContext& context, Rng& rng, double noise = 8) {
  Asked asked;
  for (;;) {
    if (two_images(kind)) {
      ScenePair pair = random_scene_pair(rng);
      asked.scenes = {pair.first, pair.second};
    } else {
      asked.scenes = {random_scene(rng)};
    }
    const auto question = two_images(kind)
                              ? random_question(asked.scenes[0], asked.scenes[1], kind, rng)
                              : random_question(asked.scenes[0], kind, rng);
    if (!question) continue;
    asked.question = *question;
    std::vector<Media> images;
    for (const Scene& scene : asked.scenes)
      images.push_back(context.media().put_image(draw(scene, rng, {noise, 1}), "x"));
    asked.prompt =
        sample_prompt("p" + std::to_string(rng.next()), question_text(*question), images);
    return asked;
  }
}

ChatRequest request_of(const Prompt& prompt, std::int64_t sample = 0) {
  ChatRequest request;
  request.messages = prompt.messages;
  request.sampling.sample = sample;
  return request;
}

SimulatedMllm::Params model(double ability, std::string style = "plain") {
  SimulatedMllm::Params params;
  params.ability = ability;
  params.style = std::move(style);
  params.seed = 1;
  return params;
}

double right_share(double ability, Kind kind, double noise = 8, int count = 150) {
  FakeContext context;
  SimulatedMllm mllm(model(ability), context);
  Rng rng(21);
  int right = 0;
  for (int i = 0; i < count; ++i) {
    const Asked asked = ask(kind, context, rng, noise);
    right += grade(asked.question, asked.scenes, mllm.chat(request_of(asked.prompt)).text).right;
  }
  return right / double(count);
}

ChatRequest judging(const std::string& task, const Prompt& prompt,
                    const std::vector<std::string>& responses) {
  ChatRequest request;
  Message message;
  for (const Part& part : prompt.messages.back().content)
    if (part.kind == Part::Kind::image) message.content.push_back(part);
  std::string text = "<task>" + task + "</task>\n<question>\n" +
                     prompt.messages.back().content.back().text + "\n</question>\n";
  for (std::size_t i = 0; i < responses.size(); ++i)
    text += "<response id=\"" + std::to_string(i + 1) + "\">\n" + responses[i] + "\n</response>\n";
  message.content.push_back(Part::of_text(text));
  request.messages = {message};
  return request;
}

}  // namespace

TEST_CASE("it answers every kind of question in words that are understood") {
  FakeContext context;
  Rng rng(1);
  for (int s = 0; s < kStyleCount; ++s) {
    SimulatedMllm mllm(model(1, std::string(kStyleNames[s])), context);
    for (int k = 0; k < kKindCount; ++k) {
      const Asked asked = ask(static_cast<Kind>(k), context, rng);
      const ChatReply reply = mllm.chat(request_of(asked.prompt));
      INFO(reply.text);
      CHECK(reply.status == Status::ok);
      CHECK(parse_response(reply.text).answer);
      CHECK(reply.usage.prompt_tokens > 16);
      CHECK(reply.usage.completion_tokens > 0);
    }
  }
}

TEST_CASE("replies depend on the content of the call and on nothing else") {
  FakeContext context;
  Rng rng(2);
  SimulatedMllm one(model(.5), context), two(model(.5), context);
  std::set<std::string> texts;
  const Asked asked = ask(Kind::count, context, rng);
  for (int sample = 0; sample < 20; ++sample) {
    const auto request = request_of(asked.prompt, sample);
    const std::string text = one.chat(request).text;
    texts.insert(text);
    CHECK(text == two.chat(request).text);
    ChatRequest labelled = request;
    labelled.purpose = "something else";  // for the ledger only
    CHECK(text == one.chat(labelled).text);
  }
  CHECK(texts.size() > 3);
  auto other = model(.5);
  other.seed = 2;
  SimulatedMllm third(other, context);
  int same = 0;
  for (int sample = 0; sample < 40; ++sample)
    same += third.chat(request_of(asked.prompt, sample)).text ==
            one.chat(request_of(asked.prompt, sample)).text;
  CHECK(same < 40);
}

TEST_CASE("abler models are right more often, harder questions are answered worse") {
  const double weak = right_share(-.1, Kind::count);
  const double strong = right_share(1.6, Kind::count);
  INFO(weak << " " << strong);
  CHECK(strong > weak + .2);
  CHECK(right_share(.6, Kind::colour) > right_share(.6, Kind::arithmetic) + .2);
}

TEST_CASE("it looks at the pixels: noise in the picture makes answers worse") {
  const double clean = right_share(2.5, Kind::count);
  const double noised =
      right_share(2.5, Kind::count, 90);  // what diversity/enhance does by default
  INFO(clean << " " << noised);
  CHECK(clean > noised + .2);
}

TEST_CASE("with a reference answer it is right 97 times of 100, whatever its ability") {
  FakeContext context;
  SimulatedMllm mllm(model(-3), context);
  Rng rng(3);
  int right = 0;
  constexpr int kCount = 450;
  for (int i = 0; i < kCount; ++i) {
    const Asked asked = ask(static_cast<Kind>(i % kSingleKindCount), context, rng);
    ChatRequest request = request_of(asked.prompt);
    Statement reference = right_statement(asked.question, asked.scenes, rng);
    request.messages.back().content.push_back(
        Part::of_text("Here is an answer.\n<reference_answer>\n" +
                      response_text(reference, Style::terse, rng) + "\n</reference_answer>"));
    right += grade(asked.question, asked.scenes, mllm.chat(request).text).right;
  }
  CHECK(right / double(kCount) == Approx(.97).margin(.025));
}

TEST_CASE("two pictures are told apart") {
  CHECK(right_share(3, Kind::match) > .8);
  CHECK(right_share(3, Kind::has) > .85);
}

TEST_CASE("what it cannot look at or make sense of is a status or a plain sentence") {
  FakeContext context;
  SimulatedMllm mllm(model(1), context);
  Media absent;
  absent.source = "gone.png";
  CHECK(mllm.chat(request_of(sample_prompt("a", "Describe the picture.", {absent}))).status ==
        Status::missing_media);
  absent.id = std::string(64, 'f');
  CHECK(mllm.chat(request_of(sample_prompt("a", "Describe the picture.", {absent}))).status ==
        Status::missing_media);
  CHECK(mllm.chat({}).status == Status::invalid);
  const ChatReply foreign = mllm.chat(request_of(sample_prompt("a", "Who wrote this poem?")));
  CHECK(foreign.status == Status::ok);
  CHECK_FALSE(parse_response(foreign.text).answer);
  CHECK(mllm.chat(request_of(sample_prompt("a", "How many rings do you see?"))).status ==
        Status::ok);  // no picture: a guess
  ChatRequest shortened = request_of(sample_prompt("a", "How many rings do you see?"));
  shortened.sampling.max_tokens = 2;
  CHECK(mllm.chat(shortened).status == Status::truncated);
  CHECK(mllm.chat(shortened).finish_reason == "length");
}

TEST_CASE("it keeps the contract of models") {
  FakeContext context;
  Rng rng(9);
  SimulatedMllm mllm(model(1), context);
  dt2it::testing::check_mllm_contract(mllm, request_of(ask(Kind::count, context, rng).prompt));
}

TEST_CASE("wrong parameters are refused") {
  FakeContext context;
  for (const std::vector<double>& claims : {std::vector<double>{1, 1}, {0, 0, 0}, {1, -1, 1}}) {
    auto params = model(1);
    params.claims = claims;
    CHECK_THROWS_AS(SimulatedMllm(params, context), ConfigError);
  }
  CHECK_THROWS_AS(SimulatedMllm(model(1, "baroque"), context), ConfigError);
}

TEST_CASE("as a judge it writes valid JSON except where it breaks off") {
  FakeContext context;
  auto params = model(2);
  params.break_json = .1;
  SimulatedMllm mllm(params, context);
  Rng rng(4);
  int broken = 0;
  simdjson::dom::parser parser;
  for (int i = 0; i < 300; ++i) {
    const Asked asked = ask(static_cast<Kind>(i % kSingleKindCount), context, rng);
    const char* task = i % 3 == 0 ? "listwise" : i % 3 == 1 ? "pointwise" : "pairwise";
    std::vector<std::string> responses{"red.", "It is a ring."};
    if (i % 3 == 1) responses.pop_back();
    const ChatReply reply = mllm.chat(judging(task, asked.prompt, responses));
    simdjson::dom::element root;
    if (parser.parse(reply.text).get(root)) {
      ++broken;
      continue;
    }
    CHECK(root["responses"].get_array().value().size() == responses.size());
    CHECK((root["better"].error() == simdjson::SUCCESS) == (i % 3 == 2));
    const simdjson::dom::array list = root["responses"].get_array().value();
    for (simdjson::dom::element response : list)
      for (std::string_view name : kCriteria) {
        const std::int64_t score = response["scores"][name].get_int64().value();
        REQUIRE(score >= 0);
        REQUIRE(score <= 10);
        REQUIRE(root["weights"][name].get_double().value() > 0);
      }
  }
  CHECK(broken > 10);
  CHECK(broken < 60);
}

TEST_CASE("the position bias favours the front of a list, and only there") {
  FakeContext context;
  Rng rng(5);
  const auto mean_lead = [&](double bias, const char* task) {
    auto params = model(2);
    params.break_json = 0;
    params.position_bias = bias;
    SimulatedMllm mllm(params, context);
    simdjson::dom::parser parser;
    double lead = 0;
    for (int i = 0; i < 150; ++i) {
      const Asked asked = ask(Kind::count, context, rng);
      // Middling responses: the clipping at 10 would hide the bias of perfect ones.
      const auto reply = mllm.chat(judging(task, asked.prompt, {"99.", "99."}));
      const auto root = parser.parse(reply.text);
      lead += root["responses"].at(0)["overall"].get_double().value() -
              root["responses"].at(1)["overall"].get_double().value();
    }
    return lead / 150;
  };
  CHECK(mean_lead(1.5, "listwise") > 1);
  CHECK(mean_lead(1.5, "pairwise") > .4);
  CHECK(std::abs(mean_lead(0, "listwise")) < .25);
}

TEST_CASE("it can be asked by many threads at once") {
  FakeContext context;
  Rng rng(6);
  SimulatedMllm mllm(model(1), context);
  std::vector<Prompt> prompts;
  for (int i = 0; i < 50; ++i) prompts.push_back(ask(Kind::count, context, rng).prompt);
  std::vector<std::string> alone;
  {
    SimulatedMllm single(model(1), context);
    for (const Prompt& prompt : prompts) alone.push_back(single.chat(request_of(prompt)).text);
  }
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        const std::size_t at = (i + static_cast<std::size_t>(t) * 13) % prompts.size();
        wrong += mllm.chat(request_of(prompts[at])).text != alone[at];
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("with the real rubric judge, agreement of listwise and pointwise makes labels cleaner") {
  FakeContext context;
  auto teacher = model(2.5, "formal");
  context.add<Mllm>("teacher", std::make_shared<SimulatedMllm>(teacher, context));
  const dt2it::testing::LoadedPlugin rubric(build_path("/lib/dt2it/plugins/judges/rubric.so"));
  const auto judge = rubric.make<Judge>("rubric", {{"mllm", {std::string("teacher")}}}, context);
  const std::array<std::pair<double, const char*>, 6> pool{{{1.6, "verbose"},
                                                            {.6, "friendly"},
                                                            {0, "plain"},
                                                            {.9, "step"},
                                                            {-.1, "hedge"},
                                                            {.8, "bullet"}}};
  std::vector<std::shared_ptr<SimulatedMllm>> writers;
  for (const auto& [ability, style] : pool)
    writers.push_back(std::make_shared<SimulatedMllm>(model(ability, style), context));

  Rng rng(7);
  int list_pairs = 0, list_wrong = 0, agreed_pairs = 0, agreed_wrong = 0, unread = 0, scored = 0;
  for (int i = 0; i < 400; ++i) {
    const Asked asked = ask(static_cast<Kind>(i % kSingleKindCount), context, rng);
    SimulatedMllm& writer = *writers[rng.below(writers.size())];
    std::vector<Response> responses;
    std::vector<double> truth;
    for (int k = 0; k < 4; ++k) {
      responses.push_back(
          sample_response(std::to_string(k), writer.chat(request_of(asked.prompt, k)).text));
      truth.push_back(grade(asked.question, asked.scenes, responses.back().text).overall);
    }
    const auto listwise = judge->score(asked.prompt, responses);
    REQUIRE(listwise.size() == 4);
    std::vector<Score> pointwise;
    for (const Response& response : responses)
      pointwise.push_back(judge->score(asked.prompt, {&response, 1})[0]);
    for (std::size_t a = 0; a < 4; ++a) {
      ++scored;
      unread += !listwise[a].ok();
      for (std::size_t b = 0; b < 4; ++b) {
        if (!listwise[a].ok() || !listwise[b].ok() || listwise[a].overall <= listwise[b].overall)
          continue;
        ++list_pairs;
        list_wrong += truth[a] < truth[b] - 1e-9;
        if (!pointwise[a].ok() || !pointwise[b].ok() ||
            pointwise[a].overall <= pointwise[b].overall)
          continue;
        ++agreed_pairs;
        agreed_wrong += truth[a] < truth[b] - 1e-9;
      }
    }
  }
  const double before = list_wrong / double(list_pairs);
  const double after = agreed_wrong / double(agreed_pairs);
  INFO("wrong labels: listwise alone " << before << " of " << list_pairs << ", agreed " << after
                                       << " of " << agreed_pairs);
  CHECK(unread < .08 * scored);
  CHECK(before > .08);
  CHECK(before < .35);
  CHECK(after < before - .03);
}

TEST_CASE("it is fast enough for whole experiments", "[!hide][bench]") {
  FakeContext context;
  Rng rng(8);
  SimulatedMllm mllm(model(1), context);
  std::vector<Asked> asked;
  for (int i = 0; i < 200; ++i)
    asked.push_back(ask(static_cast<Kind>(i % kSingleKindCount), context, rng));
  for (const Asked& one : asked) mllm.chat(request_of(one.prompt));  // fill the cache
  const auto rate = [](int calls, auto&& call) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call(i);
    return calls / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  WARN("answers a second: " << rate(
           4000, [&](int i) { mllm.chat(request_of(asked[i % 200].prompt, i)); }));
  WARN("listwise judgements of 4 a second: " << rate(4000, [&](int i) {
         mllm.chat(
             judging("listwise", asked[i % 200].prompt,
                     {"red.", "It is a ring. I can see a bar.", "Well, the answer is 2.", "no."}));
       }));
}
