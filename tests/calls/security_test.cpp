// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/calls/call_store.hpp"
#include "core/calls/secrets.hpp"
#include "tests/calls/asker.hpp"
#include "tests/mock_endpoint/cases.hpp"
#include "tests/plugins/mllms_openai/scripted_server.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

std::string all_bytes_below(const std::filesystem::path& folder) {
  std::string bytes;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    bytes += text.str();
  }
  return bytes;
}

}  // namespace

TEST_CASE("Certificates are checked: unknown, right, and of another address") {
  TemporaryFolder folder;
  if (!make_certificate(folder.path(), "good", "127.0.0.1") ||
      !make_certificate(folder.path(), "other", "127.0.0.9")) {
    WARN("skipped: no openssl program to make certificates with");
    return;
  }
  mock::Options options;
  options.certificate = folder.path() / "good.pem";
  options.key = folder.path() / "good.key";
  mock::Endpoint good(options);
  SECTION("one that nobody has signed is refused, and nothing is sent") {
    Asker asker(good.url());
    CHECK_THROWS_AS(asker.ask("hello"), ModelError);
    CHECK(good.asked() == 0);
  }
  SECTION("one that is trusted will do") {
    Asker asker(good.url(), {{"ca_file", value_of((folder.path() / "good.pem").string())}});
    CHECK(asker.ask("hello").status == Status::ok);
  }
  SECTION("trusted, but of another address") {
    options.certificate = folder.path() / "other.pem";
    options.key = folder.path() / "other.key";
    mock::Endpoint other(options);
    Asker asker(other.url(), {{"ca_file", value_of((folder.path() / "other.pem").string())}});
    CHECK_THROWS_AS(asker.ask("hello"), ModelError);
    CHECK(other.asked() == 0);
  }
}

TEST_CASE("A redirect to another host is not followed, so the key stays") {
  mock::Options options;
  options.record = true;
  mock::Endpoint other(options);
  options.content = other.url();
  mock::Endpoint endpoint(options);
  Asker asker(endpoint.url(), {{"model", value_of("mock:redirect")}});
  CHECK_THROWS_AS(asker.ask("hello"), ModelError);
  CHECK(endpoint.requests().at(0).authorization == std::string("Bearer ") + kSecret);
  CHECK(endpoint.asked() == 1);
  CHECK(other.connections() == 0);
}

TEST_CASE("The key is in one header, and in no store, log or message") {
  TemporaryFolder folder;
  mock::Options options;
  options.record = true;
  // A server that says all it was sent, in an answer and in errors.
  options.answer = [](const mock::Request& request) { return "You sent " + request.authorization; };
  mock::Endpoint endpoint(options);
  {
    Asker asker(endpoint.url(), {}, {}, folder.path() / "calls.sqlite");
    const ChatReply reply = asker.ask("What did I send?");
    CHECK(reply.text == "You sent Bearer [key]");
    Asker refused(endpoint.url(), {{"model", value_of("mock:401")}}, {},
                  folder.path() / "calls.sqlite");
    try {
      refused.ask("And now?");
      FAIL("it must throw");
    } catch (const ModelError& error) {
      CHECK_FALSE(holds(error.what(), kSecret));
    }
    for (const auto& line : asker.context.log_lines()) CHECK_FALSE(holds(line.message, kSecret));
    CHECK(holds(all_bytes_below(folder.path()), "What did I send?"));
    CHECK_FALSE(holds(all_bytes_below(folder.path()), kSecret));
  }
  setenv("DT2IT_TEST_WORD", "EMPTY", 1);  // what users of servers that check no keys set; no secret
  options.answer = [](const mock::Request&) { return "The glass is EMPTY."; };
  mock::Endpoint local(options);
  Asker unchecked(local.url(), {{"api_key_env", value_of("DT2IT_TEST_WORD")}});
  CHECK(unchecked.ask("What is in the glass?").text == "The glass is EMPTY.");
  const auto requests = endpoint.requests();
  REQUIRE(requests.size() == 2);
  CHECK(requests[0].authorization == std::string("Bearer ") + kSecret);
  CHECK_FALSE(holds(requests[0].body, kSecret));
}

TEST_CASE("A key that JSON writes in another way is found all the same") {
  const std::string secret = "sk/a+b/c-4711";
  for (const std::string form :
       {R"(sk/a+b/c-4711)", R"(sk\/a+b\/c-4711)", R"(sk\u002fa\u002Bb\u002fc-4711)",
        R"(\u0073k/a+b/c\u002d\u0034711)", R"(sk\\\/a+b\\\/c-4711)"}) {
    std::string text = "It is " + form + ", and \\n " + form + "!";
    blot_out(text, secret);
    CHECK(text == "It is [key], and \\n [key]!");
  }
  for (const std::string other : {R"(sk\/a+b\/c-471)", R"(sk\na+b/c-4711)",
                                  R"(a \"quote\" \u00e9 \\ \)", R"(\u00)", R"(\)"}) {
    std::string text = other;
    blot_out(text, secret);
    CHECK(text == other);
  }
  TemporaryFolder folder;
  setenv("DT2IT_TEST_SLASHES", secret.c_str(), 1);
  const Table params{{"api_key_env", value_of("DT2IT_TEST_SLASHES")}};
  const auto echo = [](std::string text) {
    const std::string name = "KEY", form = R"(sk\/a\u002bb\/c-4711)";
    for (std::size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += form.size())
      text.replace(at, name.size(), form);
    return text;
  };
  {
    ScriptedServer server(
        {http(200, echo(mock::chat_body("You sent KEY."))),
         http(400, echo(R"({"error":{"message":"KEY may not do this"}})")),
         http(401, echo(R"({"error":{"message":"Incorrect API key provided: KEY"}})"))});
    Asker asker(server.endpoint(), params, {}, folder.path() / "calls.sqlite");
    CHECK(asker.ask("What did I send?").text == "You sent [key].");
    CHECK(holds(asker.ask("And now?").detail, "[key] may not"));
    CHECK_THROWS_WITH(asker.ask("And then?"), Catch::Contains("provided: [key]"));
  }
  CHECK(holds(all_bytes_below(folder.path()), "What did I send?"));
  CHECK_FALSE(holds(all_bytes_below(folder.path()), "c-4711"));
}

TEST_CASE("No data gets out of its string: not into headers, not into the body's structure") {
  mock::Options options;
  options.record = true;
  mock::Endpoint endpoint(options);
  Asker asker(endpoint.url());
  const std::vector<std::string> texts{"line\r\nX-Evil: 1\r\n\r\n{\"model\":\"evil\"}",
                                       R"("}],"model":"evil","x":[{"y":")",
                                       R"(\"}],"model":"evil)",
                                       std::string("zero\0byte", 9),
                                       "\xff\xfe\"},\"model\":\"evil\"",
                                       "\xe2\x80\xa8 line separator",
                                       std::string(1, '\x7f') + "\x1b[31m"};
  int number = 0;
  for (const std::string& text : texts) {
    ChatRequest request = question(text, number++);
    request.purpose = "p\r\nX-Evil: 2";
    request.format = ResponseFormat::json;
    request.json_schema =
        R"({"type":"object"}},"model":"evil","x":{"y":{)";  // no JSON by itself: left out
    CHECK(asker.mllm->chat(request).status == Status::ok);
  }
  for (const mock::Request& request : endpoint.requests()) {
    CHECK_FALSE(holds(request.head, "Evil"));
    CHECK(holds(request.body, R"({"model":"mock","messages":[)"));
    // Outside of strings the model is named once.
    std::size_t named = 0;
    bool inside = false;
    for (std::size_t i = 0; i < request.body.size(); ++i) {
      if (inside && request.body[i] == '\\') {
        ++i;
        continue;
      }
      if (request.body[i] != '"') continue;
      if (!inside && request.body.compare(i, 8, "\"model\":") == 0) ++named;
      inside = !inside;
    }
    CHECK(named == 1);
    CHECK_FALSE(inside);
  }
}

TEST_CASE("Configurations that would smuggle are refused") {
  mock::Endpoint endpoint({});
  setenv("DT2IT_TEST_BAD_KEY", "abc\r\nX-Evil: 1", 1);
  CHECK_THROWS_AS(Asker(endpoint.url(), {{"api_key_env", value_of("DT2IT_TEST_BAD_KEY")}}),
                  ModelError);
  CHECK_THROWS_AS(Asker(endpoint.url(), {{"api_key_header", value_of("a: b\r\nc")}}), ConfigError);
  CHECK_THROWS_AS(Asker(endpoint.url() + "\r\nX-Evil: 1"), ConfigError);
  CHECK_THROWS_AS(Asker("https://user:word@127.0.0.1/v1"), ConfigError);
  TemporaryFolder folder;
  folder.write("key", "sk-from-file \n");
  mock::Options options;
  options.record = true;
  mock::Endpoint other(options);
  Asker asker(other.url(), {{"api_key_file", value_of((folder.path() / "key").string())}});
  CHECK(asker.ask("hello").status == Status::ok);
  CHECK(other.requests().at(0).authorization == "Bearer sk-from-file");
}
