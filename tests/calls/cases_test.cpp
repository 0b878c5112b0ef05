// SPDX-License-Identifier: Apache-2.0
// Every case of the mock endpoint, and what the client must make of it.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <set>

#include "dt2it/rng.hpp"
#include "tests/calls/asker.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

struct Expected {
  const char* name;
  Status status;
  const char* text;    // of the answer
  const char* detail;  // part of it
  std::uint64_t asked;
  double wait = 0;  // seconds at least, since the server says so
};

const std::vector<Expected> kAnswers{
    {"ok", Status::ok, "The answer is 42.", "", 1},
    {"refusal", Status::refused, "", "I cannot help with that.", 1},
    {"length_null", Status::truncated, "", "before any text", 1},
    {"length_loop", Status::truncated, nullptr, "in a loop", 1},
    {"content_filter_200", Status::refused, "", "content filter", 1},
    {"content_filter_400", Status::refused, "", "The prompt was filtered", 1},
    {"tool_calls", Status::unparsed, "", "called a tool", 1},
    {"no_choices", Status::unparsed, "", "no choices", 1},
    {"empty", Status::unparsed, nullptr, "", 1},
    {"429_ms", Status::ok, "The answer is 42.", "", 2},
    {"429_long", Status::ok, "The answer is 42.", "", 2, 0.4},
    {"429_seconds", Status::ok, "The answer is 42.", "", 2},
    {"429_date", Status::ok, "The answer is 42.", "", 2},
    {"429_none", Status::ok, "The answer is 42.", "", 2},
    {"429_words", Status::ok, "The answer is 42.", "", 2},
    {"429_slow_down", Status::ok, "The answer is 42.", "", 2},
    {"rate_headers_minus", Status::ok, "The answer is 42.", "", 1},
    {"reset_long", Status::ok, "The answer is 42.", "", 1},
    {"400_max_completion_tokens", Status::ok, "The answer is 42.", "", 2},
    {"400_context", Status::invalid, "", "maximum context length", 1},
    {"code_number", Status::invalid, "", "a number", 1},
    {"413", Status::invalid, "", "too large", 1},
    {"500_html", Status::ok, "The answer is 42.", "", 2},
    {"502_html", Status::ok, "The answer is 42.", "", 2},
    {"503_html", Status::ok, "The answer is 42.", "", 2},
    {"503_loading", Status::ok, "The answer is 42.", "", 3},
    {"529", Status::ok, "The answer is 42.", "", 2},
    {"always_500", Status::unavailable, "",
     "7 attempts, the last: HTTP 500: The server had an error", 7},
    {"500_flat", Status::ok, "The answer is 42.", "", 2},
    {"500_list", Status::ok, "The answer is 42.", "", 2},
    {"error_in_200", Status::ok, "The answer is 42.", "", 2},
    {"starting_in_200", Status::ok, "The answer is 42.", "", 2},
    {"closed_before_headers", Status::ok, "The answer is 42.", "", 2},
    {"closed_in_body", Status::ok, "The answer is 42.", "", 2},
    {"length_too_long", Status::ok, "The answer is 42.", "", 2},
    {"length_too_short", Status::ok, "The answer is 42.", "", 2},
    {"drip", Status::ok, "slow", "", 1},
    {"no_answer", Status::ok, "The answer is 42.", "", 2},
    {"chunked", Status::ok, "The answer is 42.", "", 1},
    {"gzip", Status::ok, "The answer is 42.", "", 1},
    {"blank_lines", Status::ok, "The answer is 42.", "", 1},
    {"no_usage", Status::ok, "uncounted", "", 1},
    {"content_list", Status::ok, "in parts", "", 1},
    {"think", Status::ok, "The answer is 42.", "", 1},
    {"fenced_json", Status::ok, "Here it is:\n```json\n{\"winner\": \"A\"}\n```", "", 1},
    {"trailing_text", Status::ok, "{\"winner\": \"A\"} I hope this helps!", "", 1},
    {"duplicate_keys", Status::ok, "{\"winner\": \"A\", \"winner\": \"B\"}", "", 1},
    {"nan", Status::ok, "{\"score\": NaN, \"other\": Infinity}", "", 1},
    {"invalid_utf8", Status::ok, "bad \xef\xbf\xbd\xef\xbf\xbd bytes", "", 1},
};
const std::vector<Expected> kStops{
    {"429_quota", Status::ok, "", "You exceeded your current quota", 1},
    {"401", Status::ok, "", "Incorrect API key provided", 1},
    {"404", Status::ok, "", "does not exist", 1},
    {"redirect", Status::ok, "", "HTTP 302", 1},
};

// `how`: the endpoint's certificate, if any; `more`: parameters that go with it.
void check_answers(const mock::Options& how, const Table& more) {
  for (const Expected& expected : kAnswers) {
    INFO("case " << expected.name);
    mock::Options options = how;
    options.record = true;
    mock::Endpoint endpoint(options);
    Table params = more;
    params["model"] = value_of(std::string("mock:") + expected.name);
    params["timeout_seconds"] = value_of(std::string(expected.name) == "no_answer" ? 0.3 : 10.0);
    Asker asker(endpoint.url(), params);
    ChatRequest request = question("What is 40 + 2?");
    request.sampling.max_tokens = 64;
    const double begin = steady_seconds();
    const ChatReply reply = asker.mllm->chat(request);
    CHECK(steady_seconds() - begin >= expected.wait);
    CHECK(reply.status == expected.status);
    if (expected.text) CHECK(reply.text == expected.text);
    CHECK(holds(reply.detail, expected.detail));
    CHECK(endpoint.asked() == expected.asked);
    CHECK_FALSE(holds(reply.detail, kSecret));
    // What was answered is kept, what was not is asked again another time.
    const bool kept = expected.status != Status::invalid &&
                      expected.status != Status::unavailable &&
                      std::string(expected.name) != "content_filter_400";
    CHECK(asker.calls().store().count() == (kept ? 1 : 0));
    if (kept) {
      CHECK(asker.mllm->chat(request).text == reply.text);
      CHECK(endpoint.asked() == expected.asked);
    }
  }
}

}  // namespace

TEST_CASE("Each case of an endpoint with encryption, by way of libcurl, ends as it must") {
  TemporaryFolder folder;
  if (!make_certificate(folder.path(), "good", "127.0.0.1")) {
    WARN("skipped: no openssl program to make certificates with");
    return;
  }
  mock::Options options;
  options.certificate = folder.path() / "good.pem";
  options.key = folder.path() / "good.key";
  check_answers(options, {{"ca_file", value_of(options.certificate)}});
}

TEST_CASE("Each case of an endpoint ends as it must") {
  check_answers({}, {});
  std::set<std::string> covered;
  for (const Expected& expected : kAnswers) covered.insert(expected.name);
  for (const Expected& expected : kStops) {
    INFO("case " << expected.name);
    covered.insert(expected.name);
    mock::Endpoint endpoint({});
    Asker asker(endpoint.url(), {{"model", value_of(std::string("mock:") + expected.name)}});
    std::string problem;
    try {
      asker.ask("What is 40 + 2?");
    } catch (const ModelError& error) {
      problem = error.what();
    }
    CHECK(holds(problem, expected.detail));
    CHECK(holds(problem, "What is done is kept"));
    CHECK_FALSE(holds(problem, kSecret));
    CHECK_THROWS_AS(asker.ask("And 40 + 3?"), ModelError);
    CHECK(endpoint.asked() == 1);
    CHECK(asker.calls().store().count() == 0);
  }
  for (const std::string& name : mock::cases()) {
    INFO("case " << name << " is not tested");
    CHECK(covered.contains(name));
  }
}

TEST_CASE("A missing usage is estimated and marked") {
  mock::Endpoint endpoint({});
  Asker asker(endpoint.url(), {{"model", value_of("mock:no_usage")}});
  asker.ask("What is 40 + 2?");
  const auto ledger = asker.calls().ledger("stage");
  REQUIRE(ledger.size() == 1);
  CHECK(ledger[0].usage_unknown == 1);
  CHECK(ledger[0].prompt_tokens > 0);
}

TEST_CASE("10,000 calls, a fifth of them into trouble: each ends once and right") {
  // Passing trouble ends well, lasting trouble as what it is; by a hash of the question, not by luck.
  static const std::vector<std::string> kPassing{
      "429_ms",         "429_seconds",     "429_none",         "429_words",
      "500_html",       "502_html",        "503_html",         "529",
      "500_flat",       "500_list",        "error_in_200",     "closed_before_headers",
      "closed_in_body", "length_too_long", "length_too_short", "429_slow_down"};
  static const std::map<std::string, Status> kLasting{{"refusal", Status::refused},
                                                      {"length_null", Status::truncated},
                                                      {"content_filter_200", Status::refused},
                                                      {"content_filter_400", Status::refused},
                                                      {"tool_calls", Status::unparsed},
                                                      {"400_context", Status::invalid},
                                                      {"413", Status::invalid},
                                                      {"empty", Status::unparsed},
                                                      {"no_choices", Status::unparsed}};
  constexpr int kCalls = 10000;
  const auto case_of = [](int number) -> std::string {
    const std::uint64_t hash = stable_hash("fault " + std::to_string(number));
    if (hash % 100 >= 20) return "ok";
    const std::uint64_t which = hash / 100;
    if (which % 3 > 0) return kPassing[which / 3 % kPassing.size()];
    return std::next(kLasting.begin(), static_cast<std::ptrdiff_t>(which / 3 % kLasting.size()))
        ->first;
  };
  std::map<Status, int> expected;
  int faults = 0;
  for (int i = 0; i < kCalls; ++i) {
    const std::string name = case_of(i);
    faults += name != "ok";
    const auto lasting = kLasting.find(name);
    ++expected[lasting == kLasting.end() ? Status::ok : lasting->second];
  }
  REQUIRE(faults > kCalls * 18 / 100);

  mock::Options options;
  options.choose = [&](const mock::Request& request) {
    const std::size_t at = request.body.find("question ");
    return case_of(std::atoi(request.body.c_str() + at + 9));
  };
  mock::Endpoint endpoint(options);
  Asker asker(endpoint.url(), {{"retries", value_of(6)}});
  const std::map<Status, int> found = asker.ask_all(kCalls, 64);
  CHECK(found == expected);
  int sum = 0;
  for (const auto& [status, number] : found) sum += number;
  CHECK(sum == kCalls);

  // In the store: each paid answer once.
  std::map<std::string, int> keys;
  std::map<Status, int> stored;
  asker.calls().store().each({}, [&](const StoredCall& call) {
    ++keys[call.key];
    ++stored[call.reply.status];
  });
  for (const auto& [key, number] : keys) REQUIRE(number == 1);
  int filtered_400 = 0;
  for (int i = 0; i < kCalls; ++i) filtered_400 += case_of(i) == "content_filter_400";
  expected.erase(Status::invalid);
  expected[Status::refused] -= filtered_400;
  CHECK(stored == expected);
  // The ledger knows of all.
  const auto ledger = asker.calls().ledger("stage");
  REQUIRE(ledger.size() == 1);
  CHECK(ledger[0].calls == kCalls);
  CHECK(ledger[0].failed == kCalls - found.at(Status::ok));
  CHECK(ledger[0].prompt_tokens > 0);
  // A second run asks only what had no answer that could be kept.
  const std::uint64_t asked = endpoint.asked();
  CHECK(asker.ask_all(kCalls, 16) == found);
  CHECK(endpoint.asked() - asked ==
        static_cast<std::uint64_t>(found.at(Status::invalid) + filtered_400));
}
