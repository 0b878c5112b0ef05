// SPDX-License-Identifier: Apache-2.0
#include "core/serve/remote_image.hpp"

#include <cstring>

#include "dt2it/error.hpp"
#include "tests/core/serve/http_client.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

bool is_public(const std::string& text) {
  sockaddr_storage storage{};
  if (text.find(':') == std::string::npos) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    v4->sin_family = AF_INET;
    REQUIRE(::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    REQUIRE(::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1);
  }
  return is_public_address(reinterpret_cast<const sockaddr&>(storage));
}

// As if 127.0.0.1, and no other address, were public.
RemoteImageRules lenient() {
  RemoteImageRules rules;
  rules.allowed = [](const sockaddr& address) {
    return address.sa_family == AF_INET &&
           reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr == htonl(INADDR_LOOPBACK);
  };
  return rules;
}

}  // namespace

TEST_CASE("Only addresses of the public internet are public") {
  for (const char* address :
       {"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1",
        "192.167.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"}) {
    INFO(address);
    CHECK(is_public(address));
  }
  for (const char* address : {"0.0.0.0",
                              "10.1.2.3",
                              "100.64.0.1",
                              "127.0.0.1",
                              "127.255.255.255",
                              "169.254.169.254",
                              "172.16.0.1",
                              "172.31.255.255",
                              "192.0.2.1",
                              "192.168.1.1",
                              "198.18.0.1",
                              "198.51.100.7",
                              "203.0.113.9",
                              "224.0.0.1",
                              "255.255.255.255",
                              "::",
                              "::1",
                              "fe80::1",
                              "fc00::1",
                              "fd12::1",
                              "ff02::1",
                              "::ffff:127.0.0.1",
                              "::ffff:10.0.0.1",
                              "64:ff9b::7f00:1",
                              "2001:db8::1",
                              "2001::1",
                              "2002:7f00:1::",
                              "::7f00:1"}) {
    INFO(address);
    CHECK_FALSE(is_public(address));
  }
}

TEST_CASE("Images are fetched, over redirects too, but never from an address that is not allowed") {
  {
    CannedServer server({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbytes"});
    const Bytes bytes = fetch_remote_image(server.url() + "/a", lenient());
    CHECK(std::string(bytes.begin(), bytes.end()) == "bytes");
  }
  {
    CannedServer server({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbytes"});
    REQUIRE_THROWS_WITH(fetch_remote_image(server.url() + "/a", {}),
                        Catch::Contains("not on the public internet"));
    REQUIRE_THROWS_WITH(fetch_remote_image("http://localhost:" + std::to_string(server.port()), {}),
                        Catch::Contains("not on the public internet"));
    CHECK(server.asked() == 0);
  }
  {
    CannedServer target({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbytes"});
    CannedServer server(
        {"HTTP/1.1 302 Found\r\nLocation: " + target.url() + "/b\r\nContent-Length: 0\r\n\r\n"});
    CHECK(fetch_remote_image(server.url(), lenient()).size() == 5);
  }
  {
    CannedServer target({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbytes"}, "127.0.0.2");
    CannedServer server(
        {"HTTP/1.1 302 Found\r\nLocation: " + target.url() + "/b\r\nContent-Length: 0\r\n\r\n"});
    REQUIRE_THROWS_WITH(fetch_remote_image(server.url(), lenient()),
                        Catch::Contains("not on the public internet"));
    CHECK(target.asked() == 0);
  }
  {
    CannedServer server(
        {"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"});
    REQUIRE_THROWS_AS(fetch_remote_image(server.url(), lenient()), DataError);
  }
  REQUIRE_THROWS_AS(fetch_remote_image("file:///etc/passwd", lenient()), DataError);
  {
    RemoteImageRules rules = lenient();
    rules.most_bytes = 4;
    CannedServer server(
        {"HTTP/1.1 200 OK\r\n\r\nbytes", "HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx"});
    REQUIRE_THROWS_WITH(fetch_remote_image(server.url(), rules), Catch::Contains("longer than 4"));
    REQUIRE_THROWS_AS(fetch_remote_image(server.url(), rules), DataError);
  }
}
