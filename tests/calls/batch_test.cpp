// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "core/calls/request_text.hpp"
#include "dt2it/request_key.hpp"
#include "tests/calls/asker.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

constexpr int kItems = 25;

Table batch_params(const std::string& model) {
  return {{"model", value_of(model)},
          {"batch", value_of(true)},
          {"batch_poll_seconds", value_of(0.01)},
          {"price_input", value_of(2.0)},
          {"price_output", value_of(2.0)},
          {"price_date", value_of("2026-08-01")}};
}

// What the host does for the items of a stage; rounds until nothing waits, replies in the end.
struct Rounds {
  int rounds = 0;
  std::vector<ChatReply> replies;
};
Rounds work(Asker& asker, const std::atomic<bool>& stop) {
  Rounds result;
  for (bool again = true; again; ++result.rounds) {
    again = false;
    result.replies.clear();
    for (int i = 0; i < kItems; ++i) {
      CollectScope scope;
      ChatRequest request = question("question", i);
      request.sampling.max_tokens = 64;
      result.replies.push_back(asker.mllm->chat(request));
      again = scope.any() || again;
    }
    if (again && !asker.calls().finish_batches(stop)) return result;
  }
  return result;
}

int with(const Rounds& rounds, Status status) {
  return static_cast<int>(
      std::count_if(rounds.replies.begin(), rounds.replies.end(),
                    [&](const ChatReply& reply) { return reply.status == status; }));
}

}  // namespace

TEST_CASE("Calls go out as a batch, come back in any order, at half the price") {
  mock::Options options;
  options.answer = [](const mock::Request& request) {
    return request.body.find("question") == std::string::npos ? "no" : "yes";
  };
  mock::Endpoint endpoint(options);
  Asker asker(endpoint.url(), batch_params("mock"));
  const std::atomic<bool> stop{false};
  const Rounds rounds = work(asker, stop);
  CHECK(rounds.rounds == 2);
  CHECK(with(rounds, Status::ok) == kItems);
  CHECK(rounds.replies[0].text == "yes");
  CHECK(endpoint.asked() == 0);  // not one by the usual way
  const auto ledger = asker.calls().ledger("stage");
  REQUIRE(ledger.size() == 1);
  CHECK(ledger[0].paid == kItems);
  CHECK(ledger[0].cost == Approx(kItems * 129 * 2e-6 / 2));
  CHECK(asker.calls().store().batches(endpoint.url(), "mock").empty());
}

TEST_CASE("Files are split by lines and by bytes") {
  mock::Options options;
  options.record = true;
  mock::Endpoint endpoint(options);
  CallOptions limits;
  SECTION("lines") { limits.batches.lines = 10; }
  SECTION("bytes") { limits.batches.bytes = 2500; }
  Asker asker(endpoint.url(), batch_params("mock"), limits);
  const std::atomic<bool> stop{false};
  CHECK(with(work(asker, stop), Status::ok) == kItems);
  int files = 0;
  for (const mock::Request& request : endpoint.requests())
    files += request.method == "POST" && request.target.ends_with("/files");
  CHECK(files >= 3);
}

TEST_CASE("Expired, refused and partial batches") {
  mock::Endpoint endpoint({});
  const std::atomic<bool> stop{false};
  SECTION("expired: what is there counts, the rest goes into further batches, and not for ever") {
    Asker asker(endpoint.url(), batch_params("mock:batch_expired"));
    const Rounds rounds = work(asker, stop);
    CHECK(with(rounds, Status::ok) >= kItems / 2);
    CHECK(with(rounds, Status::ok) + with(rounds, Status::unavailable) == kItems);
    CHECK(rounds.rounds <= 7);
  }
  SECTION("lines in the error file are statuses") {
    Asker asker(endpoint.url(), batch_params("mock:batch_errors"));
    const Rounds rounds = work(asker, stop);
    CHECK(with(rounds, Status::invalid) == kItems / 3);
    CHECK(with(rounds, Status::ok) == kItems - kItems / 3);
    CHECK(holds(std::find_if(rounds.replies.begin(), rounds.replies.end(),
                             [](const ChatReply& reply) { return reply.status == Status::invalid; })
                    ->detail,
                "this line is refused"));
  }
  SECTION("refused as a whole") {
    Asker asker(endpoint.url(), batch_params("mock:batch_failed"));
    const Rounds rounds = work(asker, stop);
    CHECK(with(rounds, Status::invalid) == kItems);
    CHECK(holds(rounds.replies[0].detail, "takes no batches"));
  }
  SECTION("lines that were told off go into the next batch") {
    Asker asker(endpoint.url(), batch_params("mock:batch_limited"));
    const Rounds rounds = work(asker, stop);
    CHECK(with(rounds, Status::ok) == kItems);
    CHECK(rounds.rounds == 3);
  }
  SECTION("what lines are refused for is learned for the next batch") {
    Asker asker(endpoint.url(), batch_params("mock:batch_token_name"));
    const Rounds rounds = work(asker, stop);
    CHECK(with(rounds, Status::ok) == kItems);
    CHECK(rounds.rounds == 3);
  }
  SECTION(
      "no credit ends the run; what was answered is kept, and the batch is not waited for again") {
    Asker asker(endpoint.url(), batch_params("mock:batch_quota"));
    CHECK_THROWS_AS(work(asker, stop), ModelError);
    CHECK(asker.calls().store().count() == kItems - kItems / 3);
    CHECK(asker.calls().store().batches(endpoint.url(), "mock:batch_quota").empty());
  }
  SECTION("an output that breaks off is read again") {
    Asker asker(endpoint.url(), batch_params("mock:batch_partial"));
    CHECK(with(work(asker, stop), Status::ok) == kItems);
  }
}

TEST_CASE("A batch under way is found again by the next process, and made once") {
  mock::Options options;
  options.record = true;
  mock::Endpoint endpoint(options);
  TemporaryFolder folder;
  const auto file = folder.path() / "calls.sqlite";
  const std::atomic<bool> stopped{true}, stop{false};
  {
    Asker killed(endpoint.url(), batch_params("mock"), {}, file);
    CHECK(work(killed, stopped).rounds == 0);  // sent, and then the process ends
    CHECK(killed.calls().store().batches(endpoint.url(), "mock").size() == 1);
  }
  const bool answer_lost = GENERATE(false, true);
  if (answer_lost) {  // it died between the batch's making and noting its id
    CallStore store(file);
    CallStore::Batch batch = store.batches(endpoint.url(), "mock").at(0);
    batch.server_id.clear();
    store.update_batch(batch);
  }
  Asker next(endpoint.url(), batch_params("mock"), {}, file);
  const Rounds rounds = work(next, stop);
  CHECK(with(rounds, Status::ok) == kItems);
  int made = 0;
  for (const mock::Request& request : endpoint.requests())
    made += request.method == "POST" && request.target.ends_with("/batches");
  CHECK(made == 1);
}

TEST_CASE("Batches of several models are all under way before the first is waited for") {
  mock::Options options;
  options.record = true;
  mock::Endpoint endpoint(options);
  Asker asker(endpoint.url(), batch_params("mock"));
  Table other = batch_params("mock2");
  other["endpoint"] = value_of(endpoint.url());
  other["api_key_env"] = value_of("");
  const auto second = asker.calls().manage(
      PluginLibrary("mllms/openai").make<Mllm>("openai", other, asker.context), "stage", "other");
  for (Mllm* mllm : {asker.mllm.get(), second.get()}) {
    CollectScope scope;
    mllm->chat(question("one"));
  }
  const std::atomic<bool> stop{false};
  CHECK(asker.calls().finish_batches(stop));
  std::string order;
  for (const mock::Request& request : endpoint.requests())
    if (holds(request.target, "/batches")) order += request.method == "POST" ? 'c' : 'p';
  CHECK(order.starts_with("ccp"));
  CHECK(asker.mllm->chat(question("one")).status == Status::ok);
  CHECK(second->chat(question("one")).status == Status::ok);
  CHECK(endpoint.asked() == 0);
}

TEST_CASE("A request is read back from what it is stored as") {
  ChatRequest request = question("What is \"it\"?\n\x01", 3);
  Media image;
  image.id = "abc";
  Media video;
  video.frames = {"f1", "f2"};
  request.messages[0].content.push_back(Part::of_image(image));
  request.messages[0].content.push_back({Part::Kind::video, "", video});
  request.messages.insert(request.messages.begin(),
                          {Message::Role::system, {Part::of_text("Be brief.")}});
  request.messages.push_back({Message::Role::assistant, {Part::of_text("It is")}});
  request.sampling.temperature = 0;
  request.sampling.top_p = 0.3;
  request.sampling.max_tokens = 5;
  request.format = ResponseFormat::json;
  request.json_schema = R"({"type":"object"})";
  const std::string text = request_text(request);
  CHECK(request_text(request_of(text)) == text);
  CHECK(request_of("nonsense").messages.empty());
}

TEST_CASE("Outside of a stage's items a batch model answers at once") {
  mock::Endpoint endpoint({});
  Asker asker(endpoint.url(), batch_params("mock"));
  CHECK(asker.ask("question").status == Status::ok);
  CHECK(endpoint.asked() == 1);
}
