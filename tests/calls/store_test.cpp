// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "dt2it/request_key.hpp"
#include "tests/calls/asker.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

StoredCall invented(int number) {
  StoredCall call;
  call.identity = R"({"at":"here","model":"m"})";
  call.model = "m";
  call.request = request_text(question("What is " + std::to_string(number) + "?"));
  call.key = call_key(call.identity, call.request);
  call.purpose = number % 2 ? "odd" : "even";
  call.reply = {Status::ok, "It is " + std::to_string(number), "stop", "m-1", "", {10, 2, 3}};
  call.answer = "{}";
  call.cost = 0.5;
  call.time = 1000 + number;
  return call;
}

}  // namespace

TEST_CASE(
    "What is put is found, also by another process' connection, and a second put changes nothing") {
  TemporaryFolder folder;
  StoredCall first = invented(1), second = invented(2);
  {
    CallStore store(folder.path() / "deep" / "calls.sqlite");
    CHECK_FALSE(store.find(first.key));
    store.put({&first, &second});
    StoredCall other = first;
    other.reply.text = "changed";
    store.put({&other});
    CHECK(store.count() == 2);
  }
  CallStore store(folder.path() / "deep" / "calls.sqlite");
  const auto found = store.find(first.key);
  REQUIRE(found);
  CHECK(found->text == "It is 1");
  CHECK(found->status == Status::ok);
  CHECK(found->usage.cached_tokens == 2);
  CHECK(found->model == "m-1");
  int listed = 0;
  store.each({.purpose = "odd"}, [&](const StoredCall& call) {
    ++listed;
    CHECK(call.key == first.key);
    CHECK(call.request == first.request);
    CHECK(call.model == "m");
  });
  CHECK(listed == 1);
  StoredCall seeded = invented(3);
  seeded.identity = R"({"at":"here","model":"m","seed":2})";
  seeded.key = call_key(seeded.identity, seeded.request);
  store.put({&seeded});
  store.each({.identity = seeded.identity}, [&](const StoredCall& call) {
    ++listed;
    CHECK(call.key == seeded.key);
  });
  CHECK(listed == 2);
  CHECK(store.remove({.identity = seeded.identity}) == 1);
  CHECK(store.remove({.before = 1002}) == 1);
  CHECK(store.count() == 1);
  CHECK_FALSE(store.find(first.key));
  CHECK(store.find(second.key));
}

TEST_CASE("What is known not to be stored is looked up all the same once another process writes") {
  TemporaryFolder folder;
  CallStore ours(folder.path() / "calls.sqlite"), theirs(folder.path() / "calls.sqlite");
  std::vector<StoredCall> calls;
  for (int i = 0; i < 2000; ++i) calls.push_back(invented(i));
  for (int i = 0; i < 1000; ++i) {  // found at once, each of them, and nothing else
    REQUIRE_FALSE(ours.find(calls[static_cast<std::size_t>(i)].key));
    ours.put({&calls[static_cast<std::size_t>(i)]});
    REQUIRE(ours.find(calls[static_cast<std::size_t>(i)].key));
  }
  theirs.put({&calls[1000]});
  std::this_thread::sleep_for(
      std::chrono::milliseconds(100));  // longer than anything is taken as known
  CHECK(ours.find(calls[1000].key));
  theirs.put({&calls[1001]});
  ours.put({&calls[1002]});  // sees that the file is not ours alone
  CHECK(ours.find(calls[1001].key));
  theirs.put({&calls[1003]});
  CHECK(ours.find(calls[1003].key));
  CHECK(ours.remove({.purpose = "odd"}) > 0);
  CHECK_FALSE(ours.find(calls[1].key));
  // A store that was there before is read.
  CallStore later(folder.path() / "calls.sqlite");
  later.put({&calls[1004]});
  for (const int i : {0, 998, 1000, 1002, 1004})
    CHECK(later.find(calls[static_cast<std::size_t>(i)].key));
}

TEST_CASE("A file that is no store says so") {
  TemporaryFolder folder;
  folder.write("calls.sqlite",
               "This is a letter, not a data base, and it is long enough to be sure of it.");
  CHECK_THROWS_AS(CallStore(folder.path() / "calls.sqlite"), DataError);
}

TEST_CASE("Keys follow content alone") {
  const ChatRequest request = question("What is it?");
  const CallKey key = call_key("identity", request_text(request));
  ChatRequest same = request;
  same.purpose = "something else";
  CHECK(call_key("identity", request_text(same)) == key);
  CHECK(call_key("other", request_text(request)) != key);
  std::vector<ChatRequest> others(6, request);
  others[0].messages[0].content[0].text += " ";
  others[1].sampling.sample = 1;
  others[2].sampling.temperature = 0;
  others[3].format = ResponseFormat::json;
  others[4].messages.push_back(others[4].messages[0]);
  others[5].messages[0].content = {Part::of_text("What "), Part::of_text("is it?")};
  for (const ChatRequest& other : others) CHECK(call_key("identity", request_text(other)) != key);
  // Injection: text that looks like the form it is written in.
  ChatRequest sly = question(R"(What is it?"}]}],"sample":1})");
  CHECK(request_text(sly) != request_text(others[1]));
  CHECK(key_of_hex(hex_of(key)) == key);
}

TEST_CASE("Identical calls in flight are one, and an answer is on disk before anyone has it") {
  mock::Options options;
  options.latency = 0.1;
  mock::Endpoint endpoint(options);
  Asker asker(endpoint.url());
  std::vector<std::thread> threads;
  std::atomic<int> right{0}, on_disk{0};
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&] {
      right += asker.ask("the same").text == "The answer is 42.";
      on_disk += asker.calls().store().count() == 1;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(right == 16);
  CHECK(on_disk == 16);
  CHECK(endpoint.asked() == 1);
  const auto ledger = asker.calls().ledger("stage");
  REQUIRE(ledger.size() == 1);
  CHECK(ledger[0].calls == 1);
  CHECK(ledger[0].paid == 1);
}

TEST_CASE("Another process, another component and a run without a network find the answers") {
  mock::Endpoint endpoint({});
  TemporaryFolder folder;
  const auto file = folder.path() / "calls.sqlite";
  {
    Asker asker(endpoint.url(), {}, {}, file);
    for (int i = 0; i < 20; ++i) asker.ask("q", i);
  }
  CHECK(endpoint.asked() == 20);
  Asker again(endpoint.url(), {}, {}, file);
  for (int i = 0; i < 20; ++i) CHECK(again.ask("q", i).status == Status::ok);
  CHECK(endpoint.asked() == 20);
  Asker other_model(endpoint.url(), {{"model", value_of("mock2")}}, {}, file);
  CHECK(other_model.ask("q", 0).status == Status::ok);
  CHECK(endpoint.asked() == 21);
  Asker offline(endpoint.url(), {}, {.offline = true}, file);
  CHECK(offline.ask("q", 0).status == Status::ok);
  CHECK(offline.ask("q", 99).status == Status::unavailable);
  CHECK(endpoint.asked() == 21);
}

TEST_CASE(
    "Endpoints declared equal share their answers, and what is learned does not change keys") {
  mock::Endpoint one({}), two({});
  TemporaryFolder folder;
  const auto file = folder.path() / "calls.sqlite";
  Table params{{"store_as", value_of("ours")},
               {"model", value_of("mock:400_max_completion_tokens")}};
  ChatRequest request = question("q");
  request.sampling.max_tokens = 5;
  Asker first(one.url(), params, {}, file);
  CHECK(first.mllm->chat(request).status == Status::ok);
  CHECK(one.asked() == 2);  // learned on the way
  Asker second(two.url(), params, {}, file);
  CHECK(second.mllm->chat(request).status == Status::ok);
  CHECK(two.asked() == 0);
}
