// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <thread>

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
Rounds work(Asker& asker, const std::atomic<bool>& stop, const std::string& about = "question",
            std::int64_t max_tokens = 64) {
  Rounds result;
  for (bool again = true; again; ++result.rounds) {
    again = false;
    result.replies.clear();
    for (int i = 0; i < kItems; ++i) {
      CollectScope scope;
      ChatRequest request = question(about, i);
      request.sampling.max_tokens = max_tokens;
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

// What work() ends with.
std::string problem_of(Asker& asker) {
  const std::atomic<bool> stop{false};
  try {
    work(asker, stop);
  } catch (const ModelError& error) {
    return error.what();
  }
  return "none";
}

// Requests to make something at ".../batches" or ".../files".
int posted(const mock::Endpoint& endpoint, const std::string& where) {
  const auto requests = endpoint.requests();
  return static_cast<int>(
      std::count_if(requests.begin(), requests.end(), [&](const mock::Request& request) {
        return request.method == "POST" &&
               request.target.substr(0, request.target.find('?')).ends_with(where);
      }));
}

bool warned(const Asker& asker, const std::string& of) {
  const auto lines = asker.context.log_lines();
  return std::any_of(lines.begin(), lines.end(), [&](const auto& line) {
    return line.level == LogLevel::warning && holds(line.message, of);
  });
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
  SECTION("refused as a whole: the run ends and says why; the next one asks again") {
    TemporaryFolder folder;
    for (int run = 0; run < 2; ++run) {
      Asker asker(endpoint.url(), batch_params("mock:batch_failed"), {},
                  folder.path() / "calls.sqlite");
      const std::string problem = problem_of(asker);
      CHECK(holds(problem, "refused batch batch-"));
      CHECK(holds(problem, "with 25 calls: invalid_model: this model takes no batches"));
      CHECK(holds(problem, "run again"));
      CHECK(asker.calls().store().batches(endpoint.url(), "mock:batch_failed").empty());
      CHECK(asker.calls().store().count() == 0);
    }
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

TEST_CASE("Batches that the server's queue has no room for are made when others have ended") {
  mock::Options options;
  options.record = true;
  CallOptions limits;
  limits.batches.lines = 10;
  limits.batches.rounds = 1;  // being told off is no attempt
  SECTION("room for some of them: each is uploaded once") {
    options.batch_queue = 15;
    mock::Endpoint endpoint(options);
    Asker asker(endpoint.url(), batch_params("mock"), limits);
    const std::atomic<bool> stop{false};
    const Rounds rounds = work(asker, stop);
    CHECK(with(rounds, Status::ok) == kItems);
    CHECK(rounds.rounds == 2);
    CHECK(posted(endpoint, "/files") == 3);
    CHECK(posted(endpoint, "/batches") > 3);
    CHECK(asker.calls().ledger("stage").at(0).paid == kItems);
  }
  SECTION("room for none: they become smaller until they fit") {
    options.batch_queue = 4;
    mock::Endpoint endpoint(options);
    Asker asker(endpoint.url(), batch_params("mock"), limits);
    const std::atomic<bool> stop{false};
    CHECK(with(work(asker, stop), Status::ok) == kItems);
    CHECK(asker.calls().ledger("stage").at(0).paid == kItems);
  }
  SECTION("not even for one call: the run ends, nothing is a result") {
    options.batch_queue = 0;
    mock::Endpoint endpoint(options);
    Asker asker(endpoint.url(), batch_params("mock"), limits);
    CHECK(holds(problem_of(asker), "Enqueued token limit reached"));
    CHECK(asker.calls().store().count() == 0);
  }
}

TEST_CASE("Answers of a batch that are more than a call may answer are read") {
  mock::Endpoint endpoint({});
  Asker asker(endpoint.url(), batch_params("mock:batch_large"));
  const std::atomic<bool> stop{false};
  CHECK(with(work(asker, stop), Status::ok) == kItems);
}

TEST_CASE("A batch or a file that the server does not know goes into the next batch") {
  mock::Options options;
  options.record = true;
  mock::Endpoint endpoint(options);
  const std::atomic<bool> stopped{true}, stop{false};
  SECTION("a batch") {
    TemporaryFolder folder;
    const auto file = folder.path() / "calls.sqlite";
    {
      Asker before(endpoint.url(), batch_params("mock"), {}, file);
      work(before, stopped);
      CallStore::Batch batch = before.calls().store().batches(endpoint.url(), "mock").at(0);
      batch.server_id = "batch-of-another-project";
      before.calls().store().update_batch(batch);
    }
    Asker asker(endpoint.url(), batch_params("mock"), {}, file);
    CHECK(with(work(asker, stop), Status::ok) == kItems);
    CHECK(warned(asker, "batch-of-another-project"));
    CHECK(posted(endpoint, "/batches") == 2);
  }
  SECTION("its output") {
    Asker asker(endpoint.url(), batch_params("mock:batch_file_gone"));
    CHECK(with(work(asker, stop), Status::ok) == kItems);
    CHECK(warned(asker, "not known"));
    CHECK(posted(endpoint, "/batches") == 2);
  }
  SECTION("the file that a lost batch was to be made of") {
    TemporaryFolder folder;
    const auto file = folder.path() / "calls.sqlite";
    {
      Asker before(endpoint.url(), batch_params("mock"), {}, file);
      work(before, stopped);
      CallStore::Batch batch = before.calls().store().batches(endpoint.url(), "mock").at(0);
      batch.server_id.clear();
      batch.file_id = "file-expired";
      before.calls().store().update_batch(batch);
    }
    Asker asker(endpoint.url(), batch_params("mock"), {}, file);
    CHECK(with(work(asker, stop), Status::ok) == kItems);
    CHECK(warned(asker, "file-expired"));
  }
}

TEST_CASE("A batch whose making was not answered is made once") {
  TemporaryFolder folder;
  mock::Options options;
  options.record = true;
  const bool encrypted = GENERATE(false, true);  // by way of libcurl, on a connection that was used
  if (encrypted) {
    if (!make_certificate(folder.path(), "good", "127.0.0.1")) {
      WARN("skipped: no openssl program to make certificates with");
      return;
    }
    options.certificate = folder.path() / "good.pem";
    options.key = folder.path() / "good.key";
  }
  mock::Endpoint endpoint(options);
  const std::atomic<bool> stop{false};
  const auto ask = [&](const char* model) {
    Table more = batch_params(model);
    if (encrypted) more["ca_file"] = value_of(options.certificate);
    Asker asker(endpoint.url(), more);
    CHECK(with(work(asker, stop), Status::ok) == kItems);
  };
  SECTION("it was made") {
    ask("mock:batch_unheard");
    CHECK(posted(endpoint, "/batches") == 1);
  }
  SECTION("it was not") {
    ask("mock:batch_unmade");
    CHECK(posted(endpoint, "/batches") == 2);
  }
  CHECK(posted(endpoint, "/files") == 1);
}

TEST_CASE("Two processes in one folder make a batch once, and ordinary calls go on meanwhile") {
  mock::Options options;
  options.record = true;
  options.batch_delay = 0.5;
  mock::Endpoint endpoint(options);
  TemporaryFolder folder;
  const auto file = folder.path() / "calls.sqlite";
  Asker one(endpoint.url(), batch_params("mock"), {}, file);
  Asker other(endpoint.url(), batch_params("mock"), {}, file);
  const std::atomic<bool> stop{false};
  const bool later = GENERATE(false, true);  // it begins when the first is about to make the batch
  Rounds first, second;
  std::thread working([&] { first = work(one, stop); });
  while (later && posted(endpoint, "/batches") == 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::thread beside([&] { second = work(other, stop); });
  while (posted(endpoint, "/batches") == 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const double begin = steady_seconds();
  CHECK(other.ask("outside of any item").status == Status::ok);
  CHECK(steady_seconds() - begin < 0.4);
  working.join();
  beside.join();
  CHECK(with(first, Status::ok) == kItems);
  CHECK(with(second, Status::ok) == kItems);
  CHECK(posted(endpoint, "/batches") == 1);
  CHECK(posted(endpoint, "/files") == 1);
}

TEST_CASE("A cap lets batches go one after the other, as far as it reaches") {
  // Each call sets aside some 1,130 tokens and takes 129.
  mock::Options options;
  options.record = true;
  mock::Endpoint endpoint(options);
  const std::string long_question = "question " + std::string(439, 'x');
  const std::atomic<bool> stop{false};
  const auto under = [&](std::int64_t cap, Rounds& rounds) {
    Asker asker(endpoint.url(), batch_params("mock"), {.max_tokens = cap});
    std::string problem;
    try {
      rounds = work(asker, stop, long_question, 1000);
    } catch (const ModelError& error) {
      problem = error.what();
    }
    CHECK(asker.calls().store().count() * 129 <= cap);
    return std::pair(problem, asker.calls().store().count());
  };
  Rounds rounds;
  CHECK(under(5000, rounds) == std::pair(std::string(), std::int64_t{kItems}));
  CHECK(with(rounds, Status::ok) == kItems);
  CHECK(rounds.rounds > 3);
  const auto [problem, answered] = under(3000, rounds);
  CHECK(holds(problem, "cap is reached"));
  CHECK(answered > 10);
  CHECK(answered < kItems);
  const int before = posted(endpoint, "/batches");
  CHECK(holds(under(1000, rounds).first, "cap is reached"));  // not even one
  CHECK(posted(endpoint, "/batches") == before);
}

TEST_CASE("Batches behind an endpoint with a query; one that does not say how it is") {
  mock::Options options;
  options.record = true;
  mock::Endpoint endpoint(options);
  const std::atomic<bool> stop{false};
  SECTION("a query") {
    TemporaryFolder folder;
    const auto file = folder.path() / "calls.sqlite";
    const std::string url = endpoint.url() + "?api-version=1";
    const std::atomic<bool> stopped{true};
    {
      Asker before(url, batch_params("mock"), {}, file);
      work(before, stopped);
      CallStore::Batch batch = before.calls().store().batches(url, "mock").at(0);
      batch.server_id.clear();  // looked for in the server's list
      before.calls().store().update_batch(batch);
    }
    Asker asker(url, batch_params("mock"), {}, file);
    CHECK(with(work(asker, stop), Status::ok) == kItems);
    CHECK(posted(endpoint, "/batches") == 1);
    std::set<std::string> targets;
    for (const mock::Request& request : endpoint.requests()) targets.insert(request.target);
    CHECK(targets == std::set<std::string>{"/v1/files?api-version=1", "/v1/batches?api-version=1",
                                           "/v1/batches?api-version=1&limit=100",
                                           "/v1/batches/batch-2?api-version=1",
                                           "/v1/files/file-out-3/content?api-version=1"});
  }
  SECTION("no status") {
    Asker asker(endpoint.url(), batch_params("mock:batch_stateless"));
    CHECK(holds(problem_of(asker), "has no \"status\""));
  }
}

TEST_CASE("A stage that ends leaves its model to those who wait for the same batches") {
  mock::Endpoint endpoint({});
  Asker asker(endpoint.url(), batch_params("other"));
  Table params = batch_params("mock");
  params["endpoint"] = value_of(endpoint.url());
  params["api_key_env"] = value_of("");
  auto made = PluginLibrary("mllms/openai").make<Mllm>("openai", params, asker.context);
  const std::weak_ptr<Mllm> alive = made;
  auto mllm = asker.calls().manage(std::move(made), "stage", "it");
  {
    CollectScope scope;
    mllm->chat(question("one"));
    CHECK(scope.any());
  }
  mllm.reset();
  CHECK_FALSE(alive.expired());
  const std::atomic<bool> stop{false};
  CHECK(asker.calls().finish_batches(stop));
  CHECK(asker.calls().store().count() == 1);
  CHECK(alive.expired());  // and no longer than that
}

TEST_CASE("What one stage's failure leaves behind is the next finish's") {
  mock::Endpoint endpoint({});
  Asker asker(endpoint.url(), batch_params("mock"));
  Table failing = batch_params("mock:batch_failed");
  failing["endpoint"] = value_of(endpoint.url());
  failing["api_key_env"] = value_of("");
  const auto second = asker.calls().manage(
      PluginLibrary("mllms/openai").make<Mllm>("openai", failing, asker.context), "b", "other");
  const std::atomic<bool> stop{false};
  {
    CollectScope scope;
    asker.mllm->chat(question("one"));
    second->chat(question("one"));
  }
  CHECK_THROWS_AS(asker.calls().finish_batches(stop), ModelError);
  int rounds = 0;
  for (bool again = true; again && rounds < 5; ++rounds) {
    CollectScope scope;
    const ChatReply reply = asker.mllm->chat(question("one"));
    again = scope.any();
    CHECK((reply.status == Status::ok) == !again);
    if (again) CHECK(asker.calls().finish_batches(stop));
  }
  CHECK(rounds == 2);
  CHECK(asker.calls().store().count() == 1);
}

TEST_CASE("A key in an escaped form does not get out of a batch") {
  setenv("DT2IT_TEST_SLASHES", "sk/secret/4711", 1);
  mock::Endpoint endpoint({});
  TemporaryFolder folder;
  Table params = batch_params("mock:batch_echo");
  params["api_key_env"] = value_of("DT2IT_TEST_SLASHES");
  Asker asker(endpoint.url(), params, {}, folder.path() / "calls.sqlite");
  const std::atomic<bool> stop{false};
  const Rounds rounds = work(asker, stop);
  CHECK(with(rounds, Status::invalid) == kItems / 3);
  for (const ChatReply& reply : rounds.replies) {
    CHECK_FALSE(holds(reply.detail, "secret"));
    if (reply.status == Status::invalid) CHECK(holds(reply.detail, "Bearer [key] may not"));
  }
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
