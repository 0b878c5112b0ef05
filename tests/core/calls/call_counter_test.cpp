// SPDX-License-Identifier: Apache-2.0
#include "core/calls/call_counter.hpp"

#include <catch2/catch.hpp>
#include <stdexcept>
#include <thread>
#include <vector>

#include "dt2it/testing/fakes.hpp"

namespace dt2it {

TEST_CASE("A counted MLLM answers as before, and calls from many threads are all counted") {
  const auto plain = std::make_shared<testing::FakeMllm>([](const ChatRequest& request) {
    ChatReply reply;
    reply.status = request.sampling.sample % 4 == 0 ? Status::refused : Status::ok;
    reply.text = "draw " + std::to_string(request.sampling.sample);
    reply.usage = {3, 0, 2};
    return reply;
  });
  const auto counter = std::make_shared<CallCounter>();
  std::atomic<int> told{0};
  counter->on_reply = [&](const ChatReply&) { ++told; };
  const auto counted = count_calls(plain, counter, true);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        ChatRequest request;
        request.sampling.sample = i;
        if (counted->chat(request).text != "draw " + std::to_string(i)) std::abort();
      }
    });
  for (std::thread& thread : threads) thread.join();
  const CallTotals totals = counter->totals();
  CHECK(totals.calls == 400);
  CHECK(totals.failures == 100);
  CHECK(totals.prompt_tokens == 1200);
  CHECK(totals.completion_tokens == 800);
  CHECK(told == 400);
}

TEST_CASE("Calls without an answer are counted of remote models only") {
  const auto silent = std::make_shared<testing::FakeMllm>([](const ChatRequest&) {
    ChatReply reply;
    reply.status = Status::unavailable;
    reply.detail = "gone";
    return reply;
  });
  const auto counter = std::make_shared<CallCounter>();
  count_calls(silent, counter, false)->chat({});
  CHECK(counter->totals().unanswered == 0);
  count_calls(silent, counter, true)->chat({});
  CHECK(counter->totals().unanswered == 1);
  CHECK(counter->why_unanswered() == "gone");
}

TEST_CASE("A call that throws is passed on and not counted as a reply") {
  const auto counter = std::make_shared<CallCounter>();
  const auto counted =
      count_calls(std::make_shared<testing::FakeMllm>(
                      [](const ChatRequest&) -> ChatReply { throw std::runtime_error("gone"); }),
                  counter, false);
  CHECK_THROWS_WITH(counted->chat({}), "gone");
  CHECK(counter->totals().calls == 0);
}

}  // namespace dt2it
