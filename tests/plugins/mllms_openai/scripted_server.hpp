// SPDX-License-Identifier: Apache-2.0
#pragma once

// An HTTP server on 127.0.0.1 that answers requests with prepared bytes, in order; the last answer
// is repeated. It records what it was sent.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dt2it::testing {

struct Answer {
  std::string bytes;   // as sent; empty: the connection is closed without a word
  double after = 0;    // seconds of silence before
  bool close = false;  // hang up behind it
};

inline Answer http(int status, const std::string& body, const std::string& headers = "") {
  return {"HTTP/1.1 " + std::to_string(status) +
          " Said\r\nContent-Type: application/json\r\nContent-Length: " +
          std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body};
}

class ScriptedServer {
 public:
  struct Request {
    std::string head, body;
    std::chrono::steady_clock::time_point at;
  };

  explicit ScriptedServer(std::vector<Answer> script) : script_(std::move(script)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        listen(listener_, 64) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
      throw std::runtime_error("the test's server cannot listen");
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { accept_all(); });
  }

  ~ScriptedServer() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    accepting_.join();
    {
      std::lock_guard lock(mutex_);
      for (const int connection : open_) shutdown(connection, SHUT_RDWR);
    }
    for (std::thread& thread : serving_) thread.join();
    close(listener_);
  }

  std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1"; }

  std::vector<Request> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  int connections() const { return connections_; }

 private:
  void accept_all() {
    while (!stopping_) {
      const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) continue;
      ++connections_;
      std::lock_guard lock(mutex_);
      open_.push_back(connection);
      serving_.emplace_back([this, connection] {
        while (serve(connection)) {
        }
        {
          std::lock_guard closing(mutex_);
          open_.erase(std::find(open_.begin(), open_.end(), connection));
        }
        close(connection);
      });
    }
  }

  bool serve(int connection) {
    std::string text;
    std::size_t wanted = std::string::npos, body_at = 0;
    while (text.size() < wanted) {
      char buffer[4096];
      const ssize_t got = recv(connection, buffer, sizeof buffer, 0);
      if (got <= 0) return false;
      text.append(buffer, static_cast<std::size_t>(got));
      const std::size_t end = text.find("\r\n\r\n");
      if (wanted != std::string::npos || end == std::string::npos) continue;
      body_at = end + 4;
      const std::size_t field = text.find("Content-Length: ");
      wanted = body_at + (field < end ? std::strtoul(&text[field + 16], nullptr, 10) : 0);
    }
    Answer answer;
    {
      std::lock_guard lock(mutex_);
      answer = script_[std::min(requests_.size(), script_.size() - 1)];
      requests_.push_back(
          {text.substr(0, body_at), text.substr(body_at), std::chrono::steady_clock::now()});
    }
    for (double waited = 0; waited < answer.after && !stopping_; waited += 0.01)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (answer.bytes.empty()) return false;
    for (std::size_t sent = 0; sent < answer.bytes.size();) {
      const ssize_t more =
          send(connection, answer.bytes.data() + sent, answer.bytes.size() - sent, MSG_NOSIGNAL);
      if (more <= 0) return false;
      sent += static_cast<std::size_t>(more);
    }
    return !answer.close;
  }

  const std::vector<Answer> script_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> connections_ = 0;
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::vector<int> open_;
  std::vector<std::thread> serving_;
  std::thread accepting_;
};

}  // namespace dt2it::testing
