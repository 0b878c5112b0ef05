// SPDX-License-Identifier: Apache-2.0
#include "core/calls/pace.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <queue>

#include "dt2it/rng.hpp"
#include "tests/calls/asker.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

// Answers a second over `seconds`, after as long again to find the pace.
double rate_of(const mock::Endpoint& endpoint, Asker& asker, int threads, double settle,
               double seconds) {
  std::atomic<bool> over{false};
  std::atomic<std::int64_t> next{0};
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; ++t)
    workers.emplace_back([&] {
      while (!over) asker.ask("question", next++);
    });
  const auto wait = [](double time) {
    std::this_thread::sleep_for(std::chrono::duration<double>(time));
  };
  wait(settle);
  const std::uint64_t before = endpoint.answered();
  const double from = steady_seconds();
  wait(seconds);
  const double rate = static_cast<double>(endpoint.answered() - before) / (steady_seconds() - from);
  over = true;
  for (std::thread& worker : workers) worker.join();
  return rate;
}

}  // namespace

TEST_CASE("Times in headers, in all their forms") {
  CHECK(duration_seconds("12ms") == Approx(0.012));
  CHECK(duration_seconds("1s") == 1);
  CHECK(duration_seconds("6m0s") == 360);
  CHECK(duration_seconds("1h2m3.5s") == Approx(3723.5));
  CHECK(duration_seconds("20") == 20);
  for (const char* bad : {"", "soon", "-1s", "1x", "3 s", "1s2"}) CHECK(duration_seconds(bad) < 0);
  CHECK(timestamp_seconds("1994-11-06T08:49:37Z") == 784111777);
  CHECK(timestamp_seconds("1994-11-06T10:49:37.250+02:00") == 784111777);
  CHECK(timestamp_seconds("yesterday") < 0);
  HttpAnswer answer;
  const auto wait = [&](const std::string& head) {
    answer.head = "HTTP/1.1 429 Said\r\n" + head + "\r\n\r\n";
    return told_wait(answer, 784111770);
  };
  CHECK(wait("Retry-After: 1.5") == 1.5);
  CHECK(wait("RETRY-AFTER:   2  ") == 2);
  CHECK(wait("retry-after-ms: 250\r\nRetry-After: 9") == 0.25);
  CHECK(wait("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT") == 7);
  CHECK(wait("Retry-After: Sun, 06 Nov 1994 08:49:27 GMT") == 0);
  CHECK(wait("Retry-After: -3") == 0);
  CHECK(wait("Retry-After: soon") < 0);
  CHECK(wait("X-Other: 1") < 0);
  answer.status = 429;
  answer.body = R"({"error":{"message":"Please try again in 6m0.5s. Thank you."}})";
  CHECK(wait("X-Other: 1") == Approx(360.5));
  answer.body = R"({"error":{"details":[{"retryDelay": "55s"}]}})";
  CHECK(wait("X-Other: 1") == 55);
}

TEST_CASE("Limits per minute are spread, in requests and in tokens") {
  Endpoint endpoint;
  endpoint.adapt = false;
  endpoint.max_in_flight = 1000;
  SECTION("requests") { endpoint.requests_per_minute = 600; }
  SECTION("tokens") { endpoint.tokens_per_minute = 60000; }
  Pace pace(endpoint);
  int in_first_half = 0, in_all = 0;
  for (double now = 100; now < 110; now += 0.001)
    if (pace.wait(now) <= 0) {
      pace.started(now, 100);  // ten calls a second either way
      ++in_all;
      in_first_half += now < 105;
    }
  CHECK(in_all >= 99);
  CHECK(in_all <= 102);
  CHECK(in_first_half <= 52);
}

TEST_CASE("Headers set limits; zero and less mean nothing; none left means to wait for the reset") {
  Endpoint endpoint;
  Pace pace(endpoint);
  HttpAnswer answer;
  answer.head =
      "x-ratelimit-limit-requests: -1\r\nx-ratelimit-remaining-requests: "
      "0\r\nx-ratelimit-reset-requests: 1h\r\n";
  pace.read_headers(100, answer);
  CHECK(pace.wait(100) == 0);
  answer.head =
      "X-RateLimit-Limit-Requests: 60\r\nX-RateLimit-Remaining-Requests: "
      "0\r\nX-RateLimit-Reset-Requests: 1m0.5s\r\n";
  pace.read_headers(100, answer);
  CHECK(pace.wait(100) == Approx(60.5));
  pace.started(161, 1);
  CHECK(pace.wait(161) == Approx(1).margin(0.05));  // sixty a minute: one a second
}

TEST_CASE("One call told off pauses all of the endpoint") {
  Endpoint endpoint;
  Pace pace(endpoint);
  for (int i = 0; i < 8; ++i) pace.started(100, 1);
  pace.ended(101, {.started = 100, .slow_down = true, .wait_seconds = 3});
  CHECK(pace.held_until() == Approx(104));
  pace.ended(101.1, {.started = 100,
                     .slow_down = true,
                     .wait_seconds = 3});  // of before the cut: no news of the rate
  CHECK(pace.wait(103) > 1);
  CHECK(pace.wait(104.2) == 0);
  pace.started(104.2, 1);
  CHECK(pace.wait(104.2) == Approx(1.0 / 7).margin(0.03));  // seven a second were not told off
}

namespace {

// A server without clocks and threads: so many places with a queue of any length before them, so many calls a
// second (a bucket of a tenth of a second's tokens), so many at once.
struct Server {
  double latency = 1;
  int places = 1 << 20;
  double rate = 0;
  int most_at_once = 0;
  bool tells_wait = true;
  double refuses = 0;  // this share, whatever the rate

  double best(int most_in_flight) const {  // answers a second
    double best = std::min(places, most_in_flight) / latency;
    if (rate > 0) best = std::min(best, rate);
    if (most_at_once > 0) best = std::min(best, most_at_once / latency);
    return best;
  }
};

// Answers a second behind `pace`, by the best that could be, after some time to find it; latencies vary by a third.
double share_of_best(const Endpoint& endpoint, const Server& server, double settle,
                     double seconds) {
  Pace pace(endpoint);
  Rng rng(7);
  struct Event {
    double at;
    Pace::End end;
    bool operator>(const Event& other) const { return at > other.at; }
  };
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events;
  std::priority_queue<double, std::vector<double>, std::greater<>> busy;  // when places come free
  const double begin = 1000;
  double now = begin, tokens = 1, filled = now;
  int at_once = 0;
  double counted = 0;
  while (now < begin + settle + seconds) {
    double wait = 0;
    while ((wait = pace.wait(now)) <= 0) {
      pace.started(now, 1);
      Event event{now, {.started = now, .at_once = pace.in_flight()}};
      if (server.rate > 0) {
        tokens = std::min(std::max(1.0, 0.1 * server.rate), tokens + server.rate * (now - filled));
        filled = now;
      }
      if (rng.uniform() < server.refuses || (server.rate > 0 && tokens < 1) ||
          (server.most_at_once > 0 && at_once >= server.most_at_once)) {
        event.end.slow_down = true;
        if (server.tells_wait)
          event.end.wait_seconds = server.rate > 0 ? std::max(0.0, 1 - tokens) / server.rate : 0.01;
        event.at += 0.001;
      } else {
        tokens -= 1;
        ++at_once;
        event.end.served = true;
        double from = now;
        if (static_cast<int>(busy.size()) >= server.places) {
          from = std::max(now, busy.top());
          busy.pop();
        }
        event.at = from + server.latency * (0.67 + 0.66 * rng.uniform());
        busy.push(event.at);
      }
      events.push(event);
    }
    const double next = events.empty() ? now + wait : std::min(events.top().at, now + wait);
    now = std::max(now, next);
    while (!events.empty() && events.top().at <= now) {
      const Event event = events.top();
      events.pop();
      at_once -= event.end.served;
      if (event.end.served && now >= begin + settle) ++counted;
      pace.ended(now, event.end);
    }
  }
  return counted / seconds / server.best(endpoint.max_in_flight);
}

}  // namespace

TEST_CASE("The best rate is found, whatever the server is like") {
  Endpoint endpoint;
  SECTION("that queues in silence") {
    for (const int places : {1, 3, 10, 40, 150, 1000})
      for (const double latency : {0.02, 1.0, 10.0}) {
        const double share = share_of_best(endpoint, {.latency = latency, .places = places},
                                           60 * latency + 5, 100 * latency + 10);
        CAPTURE(places, latency, share);
        CHECK(share >= 0.9);
      }
  }
  SECTION("that tells off above a rate") {
    for (const double rate : {2.0, 20.0, 400.0, 3000.0})
      for (const double latency : {0.02, 1.0})
        for (const bool tells_wait : {true, false}) {
          endpoint.max_in_flight = 4096;
          const double settle = (rate < 10 ? 100 : 10) + 50 * latency;  // a try takes a dozen calls
          const double share = share_of_best(
              endpoint, {.latency = latency, .rate = rate, .tells_wait = tells_wait}, settle, 300);
          CAPTURE(rate, latency, tells_wait, share);
          CHECK(share >= 0.9);
        }
  }
  SECTION("that tells off by chance") {
    for (const double latency : {0.02, 1.0}) {
      const double share =
          share_of_best(endpoint, {.latency = latency, .places = 40, .refuses = 0.05}, 60, 300);
      CAPTURE(latency, share);
      CHECK(share >= 0.8);
    }
  }
  SECTION("that tells off above a number at once") {
    for (const int most : {2, 20, 100}) {
      const double share = share_of_best(
          endpoint, {.latency = 1, .most_at_once = most, .tells_wait = false}, 200, 600);
      CAPTURE(most, share);
      CHECK(share >= 0.9);
    }
  }
}

// The same by way of HTTP. Slow servers, so that a machine with other work does not decide.

TEST_CASE("Behind a server that queues in silence the pace finds its places") {
  mock::Options options;
  options.latency = 0.1;
  options.slots = 20;
  mock::Endpoint endpoint(options), same(options);
  Asker asker(endpoint.url());
  const double rate = rate_of(endpoint, asker, 128, 6, 3);
  Asker fixed(same.url(), {{"adapt_in_flight", value_of(false)},
                           {"max_in_flight", value_of(options.slots + 8)}});
  const double best = rate_of(same, fixed, 128, 0.5, 2);
  CAPTURE(rate, best, endpoint.most_at_work());
  CHECK(rate >= 0.9 * best);
}

TEST_CASE("Below a rate that is told by 429 only, the pace stays near it") {
  mock::Options options;
  options.latency = 0.05;
  options.rate = 100;
  mock::Endpoint endpoint(options);
  Asker asker(endpoint.url());
  const double rate = rate_of(endpoint, asker, 64, 6, 4);
  CAPTURE(rate);
  CHECK(rate >= 0.9 * options.rate);
}
