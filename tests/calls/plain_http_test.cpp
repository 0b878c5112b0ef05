// SPDX-License-Identifier: Apache-2.0
// What servers without encryption do on the wire, beside the cases of cases_test.cpp: PlainHttp's
// own work.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "tests/calls/asker.hpp"
#include "tests/mock_endpoint/cases.hpp"
#include "tests/plugins/mllms_openai/scripted_server.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

std::string said(const std::string& text) { return mock::chat_body(text); }

// What one call with no second attempt comes to.
ChatReply once(const ScriptedServer& server, Table more = {},
               const std::string& text = "What is 40 + 2?") {
  more["retries"] = value_of(0);
  Asker asker(server.endpoint(), more);
  return asker.ask(text);
}

}  // namespace

TEST_CASE("A connection that the server closed while it was idle is replaced without a word") {
  ScriptedServer server({{http(200, said("one")).bytes, 0, true}, http(200, said("two"))});
  Asker asker(server.endpoint(), {{"retries", value_of(0)}});
  CHECK(asker.ask("first").text == "one");
  while (server.requests().size() < 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // its end has come
  CHECK(asker.ask("second").text == "two");
  CHECK(server.connections() == 2);
}

TEST_CASE(
    "A kept connection that breaks before an answer is no failure of the call; a new one is") {
  SECTION("kept") {
    ScriptedServer server({http(200, said("one")), {""}, http(200, said("two"))});
    Asker asker(server.endpoint(), {{"retries", value_of(0)}});
    CHECK(asker.ask("first").text == "one");
    CHECK(asker.ask("second").text == "two");
    CHECK(server.connections() == 2);
    const auto requests = server.requests();
    REQUIRE(requests.size() == 3);
    CHECK(requests[1].body == requests[2].body);
  }
  SECTION("new") {
    ScriptedServer server({{""}, http(200, said("two"))});
    const ChatReply reply = once(server);
    CHECK(reply.status == Status::unavailable);
    CHECK(holds(reply.detail, "closed before an answer came"));
    CHECK(server.requests().size() == 1);
  }
}

TEST_CASE("Framings of an answer") {
  const std::string text = said("Yes.");
  SECTION("an interim answer before it") {
    ScriptedServer server(
        {{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" +
          http(200, text).bytes}});
    CHECK(once(server).text == "Yes.");
  }
  SECTION("until the connection ends") {
    ScriptedServer server({{"HTTP/1.0 200 OK\r\n\r\n" + text, 0, true}});
    CHECK(once(server).text == "Yes.");
  }
  SECTION("chunks with extensions and a trailer, and the connection is kept") {
    ScriptedServer server(
        {{fmt::format("HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                      "chunked\r\n\r\n{:x};a=b\r\n{}\r\n0\r\nX-End: 1\r\n\r\n",
                      text.size(), text)}});
    Asker asker(server.endpoint(), {{"retries", value_of(0)}});
    CHECK(asker.ask("first").text == "Yes.");
    CHECK(asker.ask("second").text == "Yes.");
    CHECK(server.connections() == 1);
  }
  SECTION("a server that says it hangs up is believed") {
    ScriptedServer server({http(200, text, "Connection: close\r\n")});
    Asker asker(server.endpoint(), {{"retries", value_of(0)}});
    CHECK(asker.ask("first").text == "Yes.");
    CHECK(asker.ask("second").text == "Yes.");
    CHECK(server.connections() == 2);
  }
  SECTION("more than an answer: what comes behind it is no answer to the next call") {
    ScriptedServer server({{http(200, said("one")).bytes + http(200, said("smuggled")).bytes},
                           http(200, said("two"))});
    Asker asker(server.endpoint(), {{"retries", value_of(0)}});
    CHECK(asker.ask("first").text == "one");
    CHECK(asker.ask("second").text == "two");
  }
  SECTION("an endless head, and no HTTP at all") {
    ScriptedServer head(
        {{"HTTP/1.1 200 OK\r\nX-Long: " + std::string(300 << 10, 'x') + "\r\n\r\n"}});
    CHECK(once(head).status == Status::unavailable);
    ScriptedServer other({{"SSH-2.0-OpenSSH_9.2\r\n", 0, true}});
    const ChatReply reply = once(other);
    CHECK(reply.status == Status::unavailable);
    CHECK(holds(reply.detail, "no HTTP"));
  }
  SECTION("compressed, but damaged") {
    ScriptedServer server(
        {http(200, std::string("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x05", 11),
              "Content-Encoding: gzip\r\n")});
    const ChatReply reply = once(server);
    CHECK(reply.status == Status::unavailable);
    CHECK(holds(reply.detail, "compression"));
  }
}

TEST_CASE("A body of many sends arrives whole, with its head said once") {
  ScriptedServer server({http(200, said("Yes."))});
  const std::string text(3 << 20, 'x');
  CHECK(once(server, {}, text).text == "Yes.");
  const auto requests = server.requests();
  REQUIRE(requests.size() == 1);
  CHECK(holds(requests[0].body, text));
  CHECK(requests[0].head.starts_with("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:"));
  for (const char* name :
       {"Content-Length: ", "Authorization: Bearer ", "Content-Type: application/json", "Host: "}) {
    INFO(name);
    const std::size_t at = requests[0].head.find(name);
    CHECK(at != std::string::npos);
    CHECK(requests[0].head.find(name, at + 1) == std::string::npos);
  }
}

TEST_CASE("Silence ends a call long before its time is over") {
  Answer half = http(200, said("Yes."));
  half.bytes.resize(half.bytes.size() / 2);
  ScriptedServer first({{"", 20}}), second({half});
  for (const ScriptedServer* server : {&first, &second}) {
    const double begin = steady_seconds();
    const ChatReply reply = once(*server, {{"silence_seconds", value_of(0.2)}});
    CHECK(reply.status == Status::unavailable);
    CHECK(holds(reply.detail, "time-out: not a byte for 0.2 s"));
    CHECK(steady_seconds() - begin < 5);
  }
}

TEST_CASE("A proxy is asked where one is configured, and only there") {
  ScriptedServer proxy({http(200, said("by way of the proxy"))});
  ScriptedServer server({http(200, said("directly"))});
  std::string address = proxy.endpoint();
  address.resize(address.size() - 3);  // without /v1
  CHECK(once(server, {{"proxy", value_of(address)}}).text == "by way of the proxy");
  CHECK(server.connections() == 0);
  REQUIRE(proxy.requests().size() == 1);
  CHECK(proxy.requests()[0].head.starts_with("POST " + server.endpoint() +
                                             "/chat/completions HTTP/1.1\r\n"));
  setenv("http_proxy", address.c_str(), 1);
  CHECK(once(server, {}, "And now?").text == "directly");
  unsetenv("http_proxy");
  CHECK(proxy.requests().size() == 1);
}
