// SPDX-License-Identifier: Apache-2.0
#include "core/serve/reward_server.hpp"

#include <simdjson.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/media/media_store.hpp"
#include "core/util/files.hpp"
#include "dt2it/error.hpp"
#include "tests/core/serve/http_client.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using std::chrono::milliseconds;

namespace {

// Rewards are the lengths of answers; "bad" breaks it, an empty answer is refused. Works on nothing
// while the gate is shut.
class GatedModel final : public RewardModel {
 public:
  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    std::unique_lock lock(mutex);
    ++asked;
    changed.notify_all();
    changed.wait(lock, [this] { return open; });
    groups.push_back(requests.size());
    std::vector<std::vector<Reward>> all;
    for (const RewardRequest& request : requests) {
      auto& row = all.emplace_back();
      for (const Response& response : request.responses) {
        if (response.text == "bad") throw ModelError("cannot do that one");
        row.push_back(response.text.empty()
                          ? Reward{Status::refused, 0, "nothing there"}
                          : Reward{Status::ok, static_cast<double>(response.text.size()), {}});
      }
      last_prompt = *request.prompt;
    }
    return all;
  }
  void set_open(bool now) {
    std::lock_guard lock(mutex);
    open = now;
    changed.notify_all();
  }
  void wait_for_work() {
    std::unique_lock lock(mutex);
    REQUIRE(changed.wait_for(lock, std::chrono::seconds(20), [this] { return asked > 0; }));
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool open = true;
  int asked = 0;
  std::vector<std::size_t> groups;
  Prompt last_prompt;
};

struct Served {
  explicit Served(ServeOptions options = {})
      : below(folder.path(), [] { return std::shared_ptr<Codec>(); }),
        media(below, folder.path(), nullptr) {
    options.model = "tiny";
    server = std::make_unique<RewardServer>(model, media, std::move(options),
                                            [](LogLevel, std::string_view) {});
    url = "http://127.0.0.1:" + std::to_string(server->port());
  }
  ~Served() { model.set_open(true); }
  HttpReply post(const std::string& path, const std::string& body,
                 const std::vector<std::string>& headers = {}) const {
    return http("POST", url + path, body, headers);
  }
  HttpReply rewards(const std::string& answer) const {
    return post("/v1/rewards",
                R"({"messages":[{"role":"user","content":"Q"}],"candidates":[")" + answer + "\"]}");
  }
  bool wait_until(const std::string& metric) const {
    for (int i = 0; i < 2000; ++i) {
      if (http("GET", url + "/metrics").body.find("\n" + metric + "\n") != std::string::npos)
        return true;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return false;
  }

  TemporaryFolder folder;
  GatedModel model;
  FileMediaStore below;
  PassingMediaStore media;
  std::unique_ptr<RewardServer> server;
  std::string url;
};

const std::string kPixel =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+"
    "M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

std::string with_image(const std::string& url, const std::string& rest = R"(,"candidates":["a"])") {
  return R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":")" +
         url + R"("}},{"type":"text","text":"What?"}]}])" + rest + "}";
}

}  // namespace

TEST_CASE(
    "Candidates get their rewards in order, images are kept no longer than the answer takes") {
  Served served;
  const HttpReply reply = served.post(
      "/v1/rewards",
      with_image("data:image/png;base64," + kPixel,
                 R"(,"model":"tiny","candidates":["abc",{"role":"assistant","content":"de"},""])"));
  REQUIRE(reply.status == 200);
  simdjson::dom::parser parser;
  simdjson::dom::element root = parser.parse(reply.body);
  CHECK(std::string_view(root["model"]) == "tiny");
  CHECK(double(root["data"].at(0)["reward"]) == 3);
  CHECK(double(root["data"].at(1)["reward"]) == 2);
  CHECK(root["data"].at(2)["reward"].is_null());
  CHECK(std::string_view(root["data"].at(2)["status"]) == "refused");
  CHECK(std::string_view(root["data"].at(2)["detail"]) == "nothing there");
  REQUIRE(served.model.last_prompt.messages.size() == 1);
  const Part& image = served.model.last_prompt.messages[0].content.at(0);
  CHECK(image.kind == Part::Kind::image);
  CHECK(image.media.mime == "image/png");
  CHECK(image.media.width == 1);
  CHECK(served.media.size() == 0);
}

TEST_CASE("Pooling and classify have vLLM's shapes") {
  Served served;
  const std::string messages =
      R"({"model":"tiny","messages":[{"role":"system","content":"S"},{"role":"user","content":"Q"},{"role":"assistant","content":[{"type":"text","text":"ab"}]}])";
  simdjson::dom::parser parser;
  {
    const HttpReply reply = served.post("/pooling", messages + "}");
    REQUIRE(reply.status == 200);
    simdjson::dom::element entry = parser.parse(reply.body)["data"].at(0);
    CHECK(std::string_view(entry["object"]) == "pooling");
    CHECK(std::int64_t(entry["index"]) == 0);
    CHECK(double(entry["data"].at(0)) == 2);
    CHECK(served.model.last_prompt.messages.size() == 2);
  }
  for (const bool activation : {true, false}) {
    const HttpReply reply =
        served.post("/classify", messages + (activation ? "}" : R"(,"use_activation":false})"));
    REQUIRE(reply.status == 200);
    simdjson::dom::element entry = parser.parse(reply.body)["data"].at(0);
    CHECK(std::int64_t(entry["num_classes"]) == 1);
    CHECK(std::string_view(entry["label"]) == "LABEL_0");
    CHECK(double(entry["probs"].at(0)) == Approx(activation ? 1 / (1 + std::exp(-2.0)) : 2.0));
  }
  CHECK(
      served
          .post("/pooling",
                R"({"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":""}]})")
          .status == 422);
}

TEST_CASE("What cannot be served is refused with what is wrong") {
  ServeOptions options;
  options.api.candidates = 2;
  options.api.images = 1;
  options.api.image_bytes = 1000;
  options.body_bytes = 20000;
  Served served(options);
  const auto image = [](const std::string& part) {
    return R"({"messages":[{"role":"user","content":[)" + part + R"(]}],"candidates":["a"]})";
  };
  const std::string pixel =
      R"({"type":"image_url","image_url":{"url":"data:image/png;base64,)" + kPixel + R"("}})";
  const struct {
    std::string body;
    long status;
    const char* words;
  } cases[] = {
      {"nonsense", 400, "no JSON"},
      {"[]", 400, "object is expected"},
      {R"({"candidates":["a"]})", 400, "messages"},
      {R"({"input":"text"})", 400, "rendered text"},
      {R"({"messages":[],"candidates":["a"]})", 400, "is empty"},
      {R"({"messages":[{"role":"user","content":"Q"}]})", 400, "candidates"},
      {R"({"messages":[{"role":"user","content":"Q"}],"candidates":[]})", 400,
       "candidates: is empty"},
      {R"({"messages":[{"role":"user","content":"Q"}],"candidates":["1","2","3"]})", 413,
       "more than 2"},
      {R"({"messages":[{"role":"user","content":"Q"}],"candidates":[3]})", 400, "candidates[0]"},
      {R"({"messages":[{"role":"wizard","content":"Q"}],"candidates":["a"]})", 400, "'wizard'"},
      {R"({"messages":[{"role":"assistant","content":"Q"}],"candidates":["a"]})", 400,
       "must be the user's"},
      {R"({"model":"large","messages":[{"role":"user","content":"Q"}],"candidates":["a"]})", 404,
       "'large'"},
      {image(R"({"type":"sound"})"), 400, "'sound'"},
      {image(pixel + "," + pixel), 413, "more than 1 images"},
      {with_image("file:///etc/passwd"), 400, "neither a data URL"},
      {with_image("http://127.0.0.1/a.png"), 400, "fetches no images"},
      {with_image("data:image/png,abc"), 400, "data URL"},
      {with_image("data:image/png;base64,a"), 400, "base64"},
      {with_image("data:image/png;base64,????"), 400, "base64"},
      {with_image("data:image/png;base64,AAAA"), 400, "no known image"},
      {with_image("data:image/png;base64," + std::string(4000, 'A')), 413, "longer than 1000"},
      {std::string(30000, ' '), 413, "longer than 20000"},
  };
  for (const auto& [body, status, words] : cases) {
    INFO(body.substr(0, 200));
    const HttpReply reply = served.post("/v1/rewards", body);
    CHECK(reply.status == status);
    CHECK(reply.body.find(words) != std::string::npos);
    CHECK(reply.body.starts_with("{\"error\":"));
  }
  CHECK(served.media.size() == 0);
  CHECK(served.model.asked == 0);
  CHECK(http("GET", served.url + "/v1/rewards").status == 405);
  CHECK(http("GET", served.url + "/nowhere").status == 404);
  CHECK(http("GET", served.url + "/health").status == 200);
  CHECK(served.rewards("abcd").status == 200);  // it is none the worse for all that
}

TEST_CASE("A key is asked for everywhere but at /health") {
  ServeOptions options;
  options.key = "secret-1";
  Served served(options);
  CHECK(served.rewards("a").status == 401);
  CHECK(http("GET", served.url + "/metrics").status == 401);
  CHECK(http("GET", served.url + "/health").status == 200);
  const std::string body = R"({"messages":[{"role":"user","content":"Q"}],"candidates":["a"]})";
  CHECK(served.post("/v1/rewards", body, {"Authorization: Bearer secret-2"}).status == 401);
  CHECK(served.post("/v1/rewards", body, {"Authorization: Bearer secret-1"}).status == 200);
}

TEST_CASE("Whoever comes to a full house gets 429, whoever was let in gets an answer") {
  ServeOptions options;
  options.requests = 4;
  Served served(options);
  served.model.set_open(false);
  std::vector<HttpReply> replies(4);
  std::vector<std::thread> clients;
  for (std::size_t i = 0; i < 4; ++i) {
    clients.emplace_back([&, i] { replies[i] = served.rewards(std::string(i + 1, 'x')); });
    if (i == 0) served.model.wait_for_work();
  }
  REQUIRE(served.wait_until("dt2it_requests_in_house 4"));
  const HttpReply turned_away = served.rewards("late");
  CHECK(turned_away.status == 429);
  CHECK(turned_away.head.find("Retry-After: ") != std::string::npos);
  REQUIRE(served.wait_until("dt2it_requests_waiting 3"));
  served.model.set_open(true);
  for (std::thread& client : clients) client.join();
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(replies[i].status == 200);
    CHECK(replies[i].body.find("\"reward\":" + std::to_string(i + 1)) != std::string::npos);
  }
  CHECK(served.model.groups == std::vector<std::size_t>{1, 3});  // those that waited went together
  CHECK(served.rewards("again").status == 200);
  const std::string metrics = http("GET", served.url + "/metrics").body;
  CHECK(metrics.find("dt2it_requests_total{route=\"/v1/rewards\",code=\"429\"} 1\n") !=
        std::string::npos);
  CHECK(metrics.find("dt2it_requests_total{route=\"/v1/rewards\",code=\"200\"} 5\n") !=
        std::string::npos);
  CHECK(metrics.find("dt2it_request_seconds_count{route=\"/v1/rewards\"} 5\n") !=
        std::string::npos);
}

TEST_CASE("A group takes no more tokens than it may") {
  ServeOptions options;
  options.tokens_per_group = 50;
  Served served(options);
  served.model.set_open(false);
  std::vector<std::thread> clients;
  std::vector<HttpReply> replies(7);
  for (std::size_t i = 0; i < 7; ++i) {
    clients.emplace_back(
        [&, i] { replies[i] = served.rewards(std::string(80, 'x')); });  // 25 tokens each
    if (i == 0) served.model.wait_for_work();
  }
  REQUIRE(served.wait_until("dt2it_requests_waiting 6"));
  served.model.set_open(true);
  for (std::thread& client : clients) client.join();
  for (const HttpReply& reply : replies) CHECK(reply.status == 200);
  CHECK(served.model.groups == std::vector<std::size_t>{1, 2, 2, 2});
}

TEST_CASE("A request that breaks the model takes no other with it") {
  Served served;
  served.model.set_open(false);
  std::vector<HttpReply> replies(4);
  std::vector<std::thread> clients;
  const std::vector<std::string> answers{"first", "good", "bad", "better"};
  for (std::size_t i = 0; i < answers.size(); ++i) {
    clients.emplace_back([&, i] { replies[i] = served.rewards(answers[i]); });
    if (i == 0) served.model.wait_for_work();
  }
  REQUIRE(served.wait_until("dt2it_requests_waiting 3"));
  served.model.set_open(true);
  for (std::thread& client : clients) client.join();
  CHECK(replies[1].status == 200);
  CHECK(replies[2].status == 500);
  CHECK(replies[2].body.find("cannot do that one") != std::string::npos);
  CHECK(replies[3].status == 200);
}

TEST_CASE("What waits too long is told so") {
  ServeOptions options;
  options.answer_seconds = 0.2;
  Served served(options);
  served.model.set_open(false);
  HttpReply first, second;
  std::thread a([&] { first = served.rewards("a"); });
  served.model.wait_for_work();
  std::thread b([&] { second = served.rewards("b"); });
  REQUIRE(served.wait_until("dt2it_requests_waiting 1"));
  std::this_thread::sleep_for(milliseconds(300));
  served.model.set_open(true);
  a.join();
  b.join();
  CHECK(first.status == 200);
  CHECK(second.status == 504);
}

TEST_CASE("A stop answers what was accepted and takes nothing more") {
  Served served;
  served.model.set_open(false);
  HttpReply first, second;
  std::thread a([&] { first = served.rewards("a"); });
  served.model.wait_for_work();
  std::thread b([&] { second = served.rewards("bb"); });
  REQUIRE(served.wait_until("dt2it_requests_waiting 1"));
  std::thread stopping([&] { served.server->stop(); });
  for (int i = 0; i < 500 && http("GET", served.url + "/health").status != 0; ++i)
    std::this_thread::sleep_for(milliseconds(10));
  CHECK(served.rewards("c").status == 0);
  served.model.set_open(true);
  stopping.join();
  a.join();
  b.join();
  CHECK(first.status == 200);
  CHECK(second.status == 200);
}

TEST_CASE("A half request ends with its time") {
  ServeOptions options;
  options.read_seconds = 0.2;
  options.requests = 1;
  Served served(options);
  const int half = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(served.server->port());
  ::inet_pton(AF_INET, "127.0.0.1", &where.sin_addr);
  REQUIRE(::connect(half, reinterpret_cast<sockaddr*>(&where), sizeof where) == 0);
  const std::string head = "POST /v1/rewards HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
  REQUIRE(::write(half, head.data(), head.size()) == static_cast<ssize_t>(head.size()));
  char byte = 0;
  CHECK(::read(half, &byte, 1) <= 0);
  ::close(half);
  REQUIRE(served.wait_until("dt2it_requests_in_house 0"));
  CHECK(served.rewards("a").status == 200);  // its place is free again
}

TEST_CASE("Where no body is expected a long one is refused before it comes") {
  ServeOptions options;
  options.read_seconds = 3;
  options.key = "secret-1";
  Served served(options);
  for (const char* length : {"Content-Length: 62914560", "Transfer-Encoding: chunked"})
    for (const char* what : {"POST /health", "GET /health"}) {
      INFO(what << " " << length);
      CHECK_THAT(
          exchange_bytes(served.server->port(),
                         std::string(what) + " HTTP/1.1\r\nHost: x\r\n" + length + "\r\n\r\n"),
          Catch::StartsWith("HTTP/1.1 413 "));
    }
  // A short one is read on, and the connection stays.
  const std::string short_one = "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
  const std::string twice =
      exchange_bytes(served.server->port(),
                     short_one + "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  CHECK_THAT(twice, Catch::StartsWith("HTTP/1.1 200 "));
  CHECK(twice.find("HTTP/1.1 200 ", 1) != std::string::npos);
}

TEST_CASE("HEAD is answered as GET, without a body") {
  Served served;
  const auto head = [&](const std::string& path) {
    return exchange_bytes(served.server->port(),
                          "HEAD " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  };
  const std::pair<const char*, const char*> cases[] = {{"/health", "200"},
                                                       {"/metrics", "200"},
                                                       {"/v1/models", "200"},
                                                       {"/v1/rewards", "405"},
                                                       {"/nowhere", "404"}};
  for (const auto& [path, status] : cases) {
    INFO(path);
    const std::string reply = head(path);
    CHECK_THAT(reply, Catch::StartsWith("HTTP/1.1 " + std::string(status)));
    CHECK_THAT(reply, Catch::EndsWith("\r\n\r\n"));
    CHECK_THAT(reply, !Catch::Contains("Content-Length: 0\r\n"));
  }
}

TEST_CASE("What is refused at its head is counted") {
  ServeOptions options;
  options.body_bytes = 20000;
  Served served(options);
  CHECK(served.post("/v1/rewards", std::string(30000, ' ')).status == 413);
  const int port = served.server->port();
  CHECK_THAT(
      exchange_bytes(port, "POST /secret HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n"),
      Catch::StartsWith("HTTP/1.1 413 "));
  CHECK_THAT(exchange_bytes(port, "GET /x HTTP/1.1\r\nX: " + std::string(40000, 'x') + "\r\n\r\n"),
             Catch::StartsWith("HTTP/1.1 431 "));
  CHECK_THAT(exchange_bytes(port, "nonsense\r\n\r\n"), Catch::StartsWith("HTTP/1.1 400 "));
  // A body that turns out too long on the way.
  CHECK_THAT(exchange_bytes(port,
                            "POST /pooling HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                            "chunked\r\n\r\n7530\r\n" +
                                std::string(30000, ' ') + "\r\n0\r\n\r\n"),
             Catch::StartsWith("HTTP/1.1 413 "));
  const std::string metrics = http("GET", served.url + "/metrics").body;
  for (const char* line :
       {"{route=\"/v1/rewards\",code=\"413\"} 1\n", "{route=\"/pooling\",code=\"413\"} 1\n",
        "{route=\"other\",code=\"413\"} 1\n", "{route=\"other\",code=\"431\"} 1\n",
        "{route=\"other\",code=\"400\"} 1\n"})
    CHECK_THAT(metrics, Catch::Contains("dt2it_requests_total" + std::string(line)));
}

TEST_CASE("The pictures of a request share one time, and a stop ends their fetching") {
  const std::string png =
      "\x89PNG\r\n\x1a\n" + std::string("\0\0\0\rIHDR\0\0\0\2\0\0\0\3", 16) + "rest";
  const std::string picture =
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + std::to_string(png.size()) +
      "\r\n\r\n" + png;
  CannedServer slow(std::vector<std::string>(40, picture), "127.0.0.1", milliseconds(200));
  std::string parts;
  for (int i = 0; i < 20; ++i)
    parts += (i ? "," : "") + (R"({"type":"image_url","image_url":{"url":")" + slow.url() + "\"}}");
  const std::string body =
      R"({"messages":[{"role":"user","content":[)" + parts + R"(]}],"candidates":["a"]})";
  ServeOptions options;
  options.api.remote_images = true;
  options.remote.allowed = [](const sockaddr&) { return true; };
  SECTION("time") {
    options.read_seconds = 0.7;
    Served served(options);
    const HttpReply reply = served.post("/v1/rewards", body);
    CHECK(reply.status == 400);
    CHECK_THAT(reply.body, Catch::Contains("could not be fetched"));
    CHECK(slow.asked() >= 1);
    CHECK(slow.asked() <= 5);
    CHECK(served.media.size() == 0);
  }
  SECTION("stop") {
    Served served(options);
    HttpReply reply;
    std::thread client([&] { reply = served.post("/v1/rewards", body); });
    while (slow.asked() == 0) std::this_thread::sleep_for(milliseconds(5));
    served.server->stop();
    client.join();
    CHECK(reply.status == 503);
    CHECK(slow.asked() < 10);
    CHECK(served.media.size() == 0);
  }
}
