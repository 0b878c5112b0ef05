// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "core/media/media_store.hpp"
#include "core/serve/reward_server.hpp"
#include "dt2it/testing/contracts.hpp"
#include "tests/core/serve/http_client.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

std::shared_ptr<RewardModel> endpoint(const std::string& url, Table params, FakeContext& context) {
  params["url"] = value_of(url);
  params.emplace("retry_delay_seconds", value_of(0.01));
  params.emplace("max_retry_delay_seconds", value_of(0.02));
  return PluginLibrary("reward_models/endpoint").make<RewardModel>("endpoint", params, context);
}

std::vector<Reward> ask(RewardModel& model, const std::vector<std::string>& texts,
                        const Prompt& prompt = sample_prompt("p", "Which?")) {
  std::vector<Response> responses;
  for (const std::string& text : texts) responses.push_back(sample_response("", text));
  const RewardRequest request{&prompt, responses, 0, {}};
  return model.rewards(std::span(&request, 1)).at(0);
}

std::string answer(int status, const std::string& body, const std::string& head = "") {
  return "HTTP/1.1 " + std::to_string(status) + " Said\r\nConnection: close\r\n" + head +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// `length` behind this software's own server.
struct Served {
  explicit Served(ServeOptions options = {})
      : model(PluginLibrary("reward_models/length").make<RewardModel>("length", {}, context)),
        below(folder.path(), [] { return std::shared_ptr<Codec>(); }),
        media(below, folder.path(), nullptr) {
    options.model = "length";
    server = std::make_unique<RewardServer>(*model, media, std::move(options),
                                            [](LogLevel, std::string_view) {});
    url = "http://127.0.0.1:" + std::to_string(server->port());
  }
  FakeContext context;
  std::shared_ptr<RewardModel> model;
  TemporaryFolder folder;
  FileMediaStore below;
  PassingMediaStore media;
  std::unique_ptr<RewardServer> server;
  std::string url;
};

}  // namespace

TEST_CASE("The endpoint gives what the served model gives, by all three routes") {
  Served served;
  for (const char* api : {"rewards", "pooling", "classify"}) {
    INFO(api);
    FakeContext context;
    const auto model =
        endpoint(served.url, {{"api", value_of(api)}, {"model", value_of("length")}}, context);
    Prompt prompt = sample_prompt("p", "Say \"\\\xE2\x82\xAC\n\"");
    const std::string png =
        "\x89PNG\r\n\x1a\n" + std::string("\0\0\0\rIHDR\0\0\0\2\0\0\0\3", 16) + "rest";
    prompt.messages[0].content.push_back(Part::of_image(context.media().put(
        std::span(reinterpret_cast<const std::uint8_t*>(png.data()), png.size()), "x.png")));
    const std::vector<Reward> rewards = ask(*model, {"four", "sevens!", "\"q\"\n"}, prompt);
    REQUIRE(rewards.size() == 3);
    for (const Reward& reward : rewards) INFO(reward.detail);
    CHECK(rewards[0].value == 4);
    CHECK(rewards[1].value == 7);
    CHECK(rewards[2].value == 4);
    CHECK(served.media.size() == 0);
  }
  FakeContext context;
  check_reward_model_contract(*endpoint(served.url + "/v1/", {}, context),
                              {sample_pair("a", "Q1", "a longer answer", "short"),
                               sample_pair("b", "Q2", "yes", "no, never")});
}

TEST_CASE("vLLM's answers are read") {
  FakeContext context;
  const auto reward = [&](const char* api, const std::string& data) {
    CannedServer server(
        {answer(200, R"({"id":"x","object":"list","created":1,"model":"m","data":[)" + data +
                         R"(],"usage":{"prompt_tokens":3}})")});
    return ask(*endpoint(server.url(), {{"api", value_of(api)}, {"retries", value_of(0)}}, context),
               {"a"})
        .at(0);
  };
  CHECK(reward("pooling", R"({"index":0,"object":"pooling","data":[-1.5]})").value == -1.5);
  CHECK(reward("pooling", R"({"index":0,"object":"pooling","data":-1.5})").value == -1.5);
  CHECK(reward("pooling", R"({"index":0,"object":"pooling","data":[[9.0],[8.0],[0.25]]})").value ==
        0.25);  // a token each
  CHECK(reward("classify", R"({"index":0,"label":"LABEL_0","probs":[3],"num_classes":1})").value ==
        3);
  for (const char* data : {"", R"({"index":0,"data":[]})", R"({"index":0,"data":[1,2]})",
                           R"({"index":0,"data":["x"]})", R"({"index":7,"data":[1]})",
                           R"({"index":0,"data":null})", R"({"index":0,"data":[[1,2]]})",
                           R"({"index":0})", R"({"index":0,"data":[1]},{"index":1,"data":[1]})"}) {
    INFO(data);
    const Reward read = reward("pooling", data);
    CHECK(read.status == Status::unparsed);
    CHECK_FALSE(read.detail.empty());
  }
}

TEST_CASE("Trouble is a status, passing trouble is tried again") {
  FakeContext context;
  const std::string good = answer(200, R"({"data":[{"index":0,"status":"ok","reward":2.5}]})");
  const std::string busy = answer(429, R"({"error":{"message":"busy"}})", "Retry-After: 1\r\n");
  const auto outcome = [&](std::vector<std::string> answers, int retries = 2) {
    CannedServer server(std::move(answers));
    return ask(*endpoint(server.url(), {{"retries", value_of(retries)}}, context), {"a"}).at(0);
  };
  CHECK(outcome({answer(500, "{}"), busy, busy, busy, good}).value == 2.5);
  CHECK(outcome({"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"data\"", good}).value ==
        2.5);  // cut off
  CHECK(outcome({answer(500, "{}"), answer(502, "<html>")}, 1).status == Status::unavailable);
  CHECK(outcome({answer(400, R"({"error":{"message":"no such thing"}})")}).status ==
        Status::invalid);
  CHECK(outcome({answer(422, R"({"error":{"message":"no such thing"}})")}).detail ==
        "status 422: no such thing");
  CHECK(outcome({answer(200, "<html>")}).status == Status::unparsed);
  CHECK(
      outcome({answer(200,
                      R"({"data":[{"index":0,"status":"refused","reward":null,"detail":"why"}]})")})
          .status == Status::refused);
  CHECK(outcome({answer(200, R"({"data":[{"index":0,"status":"ok","reward":null}]})")}).status ==
        Status::unparsed);
  const auto nobody = endpoint("http://127.0.0.1:1", {{"retries", value_of(1)}}, context);
  REQUIRE_THROWS_AS(endpoint("ftp://x", {}, context), ConfigError);
  REQUIRE_THROWS_AS(endpoint("http://x y", {}, context), ConfigError);
  REQUIRE_THROWS_WITH(endpoint("https://me:word@host/v1", {}, context),
                      Catch::Contains("api_key_env") && !Catch::Contains("word@"));
  Prompt absent = sample_prompt("p", "?");
  Media media;
  media.source = "gone.png";
  absent.messages[0].content.push_back(Part::of_image(media));
  CHECK(ask(*nobody, {"a"}, absent).at(0).status == Status::missing_media);
}

TEST_CASE("A wrong key stops the endpoint, the right one opens it") {
  ServeOptions options;
  options.key = "letters";
  Served served(options);
  FakeContext context;
  ::setenv("DT2IT_TEST_ENDPOINT_KEY", "other", 1);
  const auto wrong =
      endpoint(served.url, {{"api_key_env", value_of("DT2IT_TEST_ENDPOINT_KEY")}}, context);
  REQUIRE_THROWS_WITH(ask(*wrong, {"a"}), Catch::Contains("cannot be used: status 401"));
  const auto before =
      http("GET", served.url + "/metrics", "", {"Authorization: Bearer letters"}).body;
  REQUIRE_THROWS_AS(ask(*wrong, {"a"}), ModelError);  // not sent
  const auto count = [](const std::string& text) {
    return text.substr(text.find("code=\"401\"}"), 13);
  };
  CHECK(count(http("GET", served.url + "/metrics", "", {"Authorization: Bearer letters"}).body) ==
        count(before));
  ::setenv("DT2IT_TEST_ENDPOINT_KEY", "letters", 1);
  CHECK(ask(*endpoint(served.url, {{"api_key_env", value_of("DT2IT_TEST_ENDPOINT_KEY")}}, context),
            {"ab"})
            .at(0)
            .value == 2);
  REQUIRE_THROWS_AS(
      endpoint(served.url, {{"api_key_env", value_of("DT2IT_TEST_NO_SUCH_KEY")}}, context),
      ModelError);
}

TEST_CASE("An outage is an error and no result, and the next run finds the server back") {
  FakeContext context;
  const std::string good = answer(200, R"({"data":[{"index":0,"data":[2.5]}]})");
  const std::string broken = answer(500, "{}"), refused = answer(400, "{}");
  const Table one_by_one{{"api", value_of("pooling")},
                         {"retries", value_of(0)},
                         {"outage_limit", value_of(3)},
                         {"max_in_flight", value_of(1)}};
  const std::vector<std::string> five(5, "a");
  {
    CannedServer server({broken, broken, broken, good, good});
    const auto model = endpoint(server.url(), one_by_one, context);
    REQUIRE_THROWS_AS(ask(*model, five), ModelError);
    CHECK(server.asked() == 3);
    CHECK(ask(*model, {"a", "a"}).at(1).value == 2.5);
  }
  {  // an answer in between, of whatever kind, and it is none
    CannedServer server({broken, broken, refused, broken, broken});
    CHECK(ask(*endpoint(server.url(), one_by_one, context), five).at(4).status ==
          Status::unavailable);
  }
  {  // attempts are not counted, requests are; and calls are counted through
    CannedServer server(std::vector<std::string>(6, broken));
    Table params = one_by_one;
    params["retries"] = value_of(1);
    const auto model = endpoint(server.url(), params, context);
    CHECK(ask(*model, {"a"}).at(0).status == Status::unavailable);
    CHECK(ask(*model, {"a"}).at(0).status == Status::unavailable);
    REQUIRE_THROWS_WITH(ask(*model, {"a"}),
                        Catch::Contains("3 requests in a row") && Catch::Contains("status 500"));
  }
  {
    CannedServer server(std::vector<std::string>(5, broken));
    Table params = one_by_one;
    params["outage_limit"] = value_of(0);
    CHECK(ask(*endpoint(server.url(), params, context), five).size() == 5);
  }
}

TEST_CASE("What no further request would change ends it at once") {
  FakeContext context;
  const auto nobody = endpoint("http://127.0.0.1:1", {{"retries", value_of(1)}}, context);
  REQUIRE_THROWS_WITH(ask(*nobody, {"a"}), Catch::Contains("http://127.0.0.1:1/v1/rewards") &&
                                               Catch::Contains("gave no answer"));
  for (const int status : {302, 401, 403, 404}) {
    INFO(status);
    CannedServer server({answer(status, "{}", "Location: http://127.0.0.1:1/\r\n")});
    const auto model = endpoint(server.url(), {}, context);
    REQUIRE_THROWS_AS(ask(*model, {"a"}), ModelError);
    REQUIRE_THROWS_AS(ask(*model, {"a"}), ModelError);
    CHECK(server.asked() == 1);
  }
  // Certificates that cannot be read: no attempt after the first would fare better.
  CannedServer server({"", "", ""});
  const std::string tls = "https" + server.url().substr(4);
  REQUIRE_THROWS_WITH(ask(*endpoint(tls, {{"ca_file", value_of("/no/such.pem")}}, context), {"a"}),
                      Catch::Contains("cannot be used"));
  CHECK(server.asked() <= 1);
}

TEST_CASE("What is wrong is said in the server's words") {
  FakeContext context;
  const auto detail = [&](const std::string& body) {
    CannedServer server({answer(400, body)});
    return ask(*endpoint(server.url(), {}, context), {"a"}).at(0).detail;
  };
  CHECK(detail(R"({"error":{"message":"no such thing"}})") == "status 400: no such thing");
  CHECK(detail(R"({"error":"too long"})") == "status 400: too long");
  CHECK(detail(R"({"object":"error","message":"too wide"})") == "status 400: too wide");
  CHECK(detail(R"({"detail":"Not here"})") == "status 400: Not here");
  CHECK(
      detail(R"({"detail":[{"loc":["body","messages",0],"msg":"Field required"},{"msg":"x"}]})") ==
      "status 400: body.messages.0: Field required; x");
  CHECK(detail("<html>\r\n  <h1>Bad\tgateway</h1>\n") == "status 400: <html> <h1>Bad gateway</h1>");
  CHECK(detail(R"({"reason":7})") == R"(status 400: {"reason":7})");
  CHECK(detail("") == "status 400");
  std::string euros;
  for (int i = 0; i < 300; ++i) euros += "\xE2\x82\xAC";  // three bytes each
  CHECK(detail(euros) == "status 400: " + euros.substr(0, 498));
}

TEST_CASE("A key that a server sends back is blotted out") {
  FakeContext context;
  ::setenv("DT2IT_TEST_ENDPOINT_KEY", "sk-1234/5678", 1);
  const auto said = [&](int status, const std::string& body) {
    CannedServer server({answer(status, body)});
    try {
      return ask(*endpoint(server.url(), {{"api_key_env", value_of("DT2IT_TEST_ENDPOINT_KEY")}},
                           context),
                 {"a"})
          .at(0)
          .detail;
    } catch (const ModelError& error) {
      return std::string(error.what());
    }
  };
  const std::string filler(490, 'x');  // what is cut in two is no less a key
  for (const std::string key :
       {R"(sk-1234/5678)", R"(sk-1234\/5678)", R"(\u0073k-1234\/567\u0038)"})
    for (const std::string& text :
         {said(401, R"({"error":{"message":"wrong key )" + key + "\"}}"),
          said(400, R"({"detail":")" + filler + key + "\"}"),
          said(400, R"({"detail":[{"msg":"wrong )" + key + "\"}]}"),
          said(200, R"({"data":[{"index":0,"status":"invalid","detail":")" + key + "\"}]}")}) {
      INFO(text);
      CHECK_THAT(text, Catch::Contains("[key]"));
      CHECK_THAT(text, !Catch::Contains("sk-12"));
    }
  CHECK_THAT(said(400, "<html>" + filler + "sk-1234/5678"), !Catch::Contains("sk-1"));
}
