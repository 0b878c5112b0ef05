// SPDX-License-Identifier: Apache-2.0
#pragma once

// Contract suites: mllms, judges, scorers, diversity, codecs.

#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dt2it/diversity_strategy.hpp"
#include "dt2it/judge.hpp"
#include "dt2it/media.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/scorer.hpp"
#include "dt2it/testing/contract_checks.hpp"
#include "dt2it/testing/fake_media_store.hpp"
#include "dt2it/testing/fakes.hpp"

namespace dt2it::testing {

struct MllmContract {
  bool deterministic = true;  // the same request (sample included) gives the same reply
};

inline void check_mllm_contract(Mllm& mllm, const ChatRequest& request, MllmContract options = {}) {
  const auto text_of = [&mllm](const ChatRequest& one) {
    const ChatReply reply = mllm.chat(one);
    return std::pair(reply.status, reply.text);
  };
  const ChatReply reply = mllm.chat(request);
  if (reply.status == Status::ok) {
    CHECK_FALSE(reply.text.empty());
    CHECK_FALSE(reply.finish_reason.empty());
  } else {
    CHECK_FALSE(reply.detail.empty());
  }
  CHECK(reply.usage.prompt_tokens >= 0);
  CHECK(reply.usage.completion_tokens >= 0);
  CHECK(reply.usage.cached_tokens <= reply.usage.prompt_tokens);
  if (options.deterministic) {
    const std::pair<Status, std::string> first{reply.status, reply.text};
    CHECK(text_of(request) == first);
    check_from_threads<std::pair<Status, std::string>>([&] { return text_of(request); }, first);
  }
  SECTION("a request without messages is a status, not an exception") {
    ChatReply none;
    REQUIRE_NOTHROW(none = mllm.chat(ChatRequest{}));
    CHECK(none.status != Status::ok);
  }
  SECTION("a missing picture is a status, not an exception") {
    ChatRequest broken = request;
    Media absent;
    absent.source = "no/such/picture.png";
    broken.messages.insert(broken.messages.begin(),
                           Message{Message::Role::user, {Part::of_image(absent)}});
    REQUIRE_NOTHROW(mllm.chat(broken));
  }
}

inline void check_judge_contract(Judge& judge, const Prompt& prompt,
                                 const std::vector<Response>& responses) {
  REQUIRE(responses.size() >= 2);
  const Prompt prompt_before = prompt;
  const std::vector<Response> before = responses;
  const std::vector<Score> scores = judge.score(prompt, responses);
  REQUIRE(scores.size() == responses.size());
  for (const Score& score : scores) check_score(score);

  const std::vector<Score> single = judge.score(prompt, std::span(responses).first(1));
  REQUIRE(single.size() == 1);
  check_score(single[0]);
  CHECK(judge.score(prompt, {}).empty());

  for (const bool swapped : {false, true}) {
    const Response& first = responses[swapped ? 1 : 0];
    const Response& second = responses[swapped ? 0 : 1];
    const Verdict verdict = judge.compare(prompt, first, second);
    if (!verdict.ok()) {
      CHECK_FALSE(verdict.detail.empty());
    } else if (verdict.first_score && verdict.second_score) {
      INFO("the winner is the one with the higher score");
      const double margin = *verdict.first_score - *verdict.second_score;
      CHECK((verdict.winner == Verdict::Winner::first) == (margin > 0));
      CHECK((verdict.winner == Verdict::Winner::second) == (margin < 0));
    }
    CHECK(same(judge.compare(prompt, first, second), verdict));
  }
  CHECK(same(judge.score(prompt, responses), scores));
  check_from_threads<std::vector<Score>>([&] { return judge.score(prompt, responses); }, scores);
  CHECK(prompt == prompt_before);
  CHECK(responses == before);
}

struct ScorerContract {
  bool order_independent = false;  // each candidate is judged alone (pointwise)
};

inline void check_scorer_contract(Scorer& scorer, const Prompt& prompt,
                                  const std::vector<Response>& candidates,
                                  ScorerContract options = {}) {
  REQUIRE(candidates.size() >= 2);
  const Prompt prompt_before = prompt;
  const std::vector<Response> before = candidates;
  const std::vector<Score> scores = scorer.score(prompt, candidates);
  REQUIRE(scores.size() == candidates.size());
  for (const Score& score : scores) check_score(score);
  CHECK(same(scorer.score(prompt, candidates), scores));
  CHECK(scorer.score(prompt, {}).empty());
  check_from_threads<std::vector<Score>>([&] { return scorer.score(prompt, candidates); }, scores);

  const std::vector<Response> reversed(candidates.rbegin(), candidates.rend());
  const std::vector<Score> backwards = scorer.score(prompt, reversed);
  REQUIRE(backwards.size() == candidates.size());
  if (options.order_independent)
    for (std::size_t i = 0; i < scores.size(); ++i) {
      INFO("candidate " << i << " keeps its score when the order is reversed");
      CHECK(same_number(backwards[scores.size() - 1 - i].overall, scores[i].overall));
    }
  // A candidate that could not be generated gets a status, whatever the judge would say.
  std::vector<Response> with_failure = candidates;
  with_failure[0].status = Status::unavailable;
  with_failure[0].text.clear();
  std::vector<Score> partial;
  REQUIRE_NOTHROW(partial = scorer.score(prompt, with_failure));
  REQUIRE(partial.size() == with_failure.size());
  CHECK(prompt == prompt_before);
  CHECK(candidates == before);
}

inline void check_diversity_contract(DiversityStrategy& strategy, const Prompt& prompt,
                                     const std::vector<Response>& candidates) {
  REQUIRE(candidates.size() >= 2);
  const Prompt prompt_before = prompt;
  const std::vector<Response> before = candidates;
  const auto with_scores = [&](const std::vector<Score>& scores) {
    std::vector<Response> added;
    REQUIRE_NOTHROW(added = strategy.extend(prompt, candidates, scores));
    std::set<std::string> ids;
    for (const Response& candidate : candidates) ids.insert(candidate.id);
    for (const Response& candidate : added) {
      INFO("new candidate '" << candidate.id << "'");
      CHECK_FALSE(candidate.id.empty());
      CHECK(ids.insert(candidate.id).second);  // only new ones, each once
      CHECK_FALSE(candidate.origin.empty());
      if (candidate.status == Status::ok) CHECK_FALSE(candidate.text.empty());
    }
    CHECK(same(strategy.extend(prompt, candidates, scores), added));
    check_from_threads<std::vector<Response>>(
        [&] { return strategy.extend(prompt, candidates, scores); }, added);
  };
  const auto all = [&](double overall) {
    return std::vector<Score>(candidates.size(), ok_score(overall));
  };
  with_scores(all(9));
  with_scores(all(1));
  std::vector<Score> mixed = all(9);
  mixed.back() = ok_score(1);
  with_scores(mixed);
  Score failed;
  failed.status = Status::unparsed;
  failed.detail = "by the test";
  with_scores(std::vector<Score>(candidates.size(), failed));
  CHECK(prompt == prompt_before);
  CHECK(candidates == before);
}

inline void check_codec_contract(Codec& codec) {
  const auto pixels = [](const DecodedImage& decoded) { return decoded.image.rgb; };
  for (const auto& [width, height] : {std::pair{1, 1}, {3, 5}, {16, 16}, {64, 48}}) {
    const Image image = sample_image(width, height, 7);
    const Bytes png = codec.encode_png(image);
    REQUIRE_FALSE(png.empty());
    const DecodedImage back = codec.decode(png);
    REQUIRE(back.status == Status::ok);
    CHECK(back.image.width == width);
    CHECK(back.image.height == height);
    CHECK(back.image.rgb == image.rgb);
    check_from_threads<std::vector<std::uint8_t>>([&] { return pixels(codec.decode(png)); },
                                                  image.rgb);

    const Bytes foreign = detail::plain_png(image);  // not from this codec
    CHECK(codec.decode(foreign).image.rgb == image.rgb);

    const Bytes cut(png.begin(), png.begin() + 20);
    DecodedImage broken;
    REQUIRE_NOTHROW(broken = codec.decode(cut));
    CHECK(broken.status != Status::ok);
    CHECK_FALSE(broken.detail.empty());
  }
  const VideoReading nothing{[](const VideoInfo&) { return std::vector<std::int64_t>{}; },
                             [](Image) {}};
  DecodedVideo absent;
  REQUIRE_NOTHROW(absent = codec.decode_video("no/such/file", nothing));
  CHECK(absent.status != Status::ok);
  CHECK_FALSE(absent.detail.empty());
  for (const Bytes& bytes : {Bytes{}, Bytes{'n', 'o', ' ', 'i', 'm', 'a', 'g', 'e'}}) {
    DecodedImage broken;
    REQUIRE_NOTHROW(broken = codec.decode(bytes));
    CHECK(broken.status != Status::ok);
    CHECK_FALSE(broken.detail.empty());
  }
}

}  // namespace dt2it::testing
