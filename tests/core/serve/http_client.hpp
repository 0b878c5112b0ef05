// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <curl/curl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace dt2it::testing {

struct HttpReply {
  long status = 0;  // 0: none came
  std::string head, body;
};

inline HttpReply http(const std::string& method, const std::string& url,
                      const std::string& body = "", const std::vector<std::string>& headers = {}) {
  HttpReply reply;
  CURL* curl = curl_easy_init();
  const auto append = +[](char* data, std::size_t size, std::size_t count, void* to) {
    static_cast<std::string*>(to)->append(data, size * count);
    return size * count;
  };
  curl_slist* lines = nullptr;
  for (const std::string& line : headers) lines = curl_slist_append(lines, line.c_str());
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, lines);
  if (method == "POST") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
  } else {
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
  }
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, append);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &reply.head);
  curl_easy_perform(curl);
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
  curl_slist_free_all(lines);
  curl_easy_cleanup(curl);
  return reply;
}

// Sends bytes as they are and returns what comes back until the other side closes.
inline std::string exchange_bytes(int port, const std::string& bytes) {
  const int one = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, "127.0.0.1", &where.sin_addr);
  REQUIRE(::connect(one, reinterpret_cast<sockaddr*>(&where), sizeof where) == 0);
  REQUIRE(::send(one, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(bytes.size()));
  std::string all;
  char some[4096];
  for (ssize_t got; (got = ::read(one, some, sizeof some)) > 0;)
    all.append(some, static_cast<std::size_t>(got));
  ::close(one);
  return all;
}

// Listens at a loopback address and gives each of `answers` to one connection, after a while.
class CannedServer {
 public:
  explicit CannedServer(std::vector<std::string> answers, const char* address = "127.0.0.1",
                        std::chrono::milliseconds pause = {}) {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    ::inet_pton(AF_INET, address, &where.sin_addr);
    socklen_t length = sizeof where;
    REQUIRE(::bind(socket_, reinterpret_cast<sockaddr*>(&where), sizeof where) == 0);
    REQUIRE(::listen(socket_, 8) == 0);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&where), &length);
    port_ = ntohs(where.sin_port);
    url_ = "http://" + std::string(address) + ":" + std::to_string(port_);
    thread_ = std::thread([this, pause, answers = std::move(answers)] {
      for (const std::string& answer : answers) {
        const int one = ::accept(socket_, nullptr, nullptr);
        if (one < 0) return;
        std::string seen;
        char some[4096];
        // To the end of the body: closing with something unread would take the answer away.
        const auto whole = [&] {
          const std::size_t end = seen.find("\r\n\r\n"), length = seen.find("Content-Length: ");
          return end != std::string::npos &&
                 seen.size() >= end + 4 + (length < end ? std::stoul(seen.substr(length + 16)) : 0);
        };
        while (!whole()) {
          const ssize_t got = ::read(one, some, sizeof some);
          if (got <= 0) break;
          seen.append(some, static_cast<std::size_t>(got));
        }
        ++asked_;
        std::this_thread::sleep_for(pause);
        [[maybe_unused]] const auto sent = ::send(one, answer.data(), answer.size(), MSG_NOSIGNAL);
        ::close(one);
      }
    });
  }
  ~CannedServer() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
  }
  const std::string& url() const { return url_; }
  int port() const { return port_; }
  int asked() const { return asked_; }

 private:
  int socket_ = -1, port_ = 0;
  std::atomic<int> asked_{0};
  std::string url_;
  std::thread thread_;
};

}  // namespace dt2it::testing
