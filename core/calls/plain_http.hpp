// SPDX-License-Identifier: Apache-2.0
#pragma once

// Exchanges over HTTP/1.1 without encryption or proxy: what model servers of one's own speak (vLLM,
// llama.cpp), which answer thousands of calls a second where a general client's work on each of
// them shows. libcurl makes the connections, Boost.Beast reads the framing; a call is one send and
// one receive, and bodies are not copied.

#include <curl/curl.h>

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/calls/channel.hpp"

namespace dt2it {

struct Exchange;

// In one thread, which owns `multi` and waits for events of `epoll`.
class PlainHttp {
 public:
  using Done = std::function<void(Exchange&)>;  // its answer holds

  PlainHttp(CURLM* multi, int epoll, Done done);
  ~PlainHttp();  // unfinished exchanges are dropped
  PlainHttp(const PlainHttp&) = delete;
  PlainHttp& operator=(const PlainHttp&) = delete;

  // False: it is not for plain HTTP, and nothing was done.
  bool start(Exchange& exchange);
  // False: the socket is not one of ours.
  bool event(int socket, std::uint32_t what);
  // A transfer of `multi` ended; false: it is not one of ours.
  bool connected(CURL* handle, CURLcode code);
  // Ends what takes too long; returns in how many seconds it wants to look again.
  double watch(double now);

 private:
  struct Connection;

  void connect(PlainTarget& target, Exchange& exchange);
  void begin(Connection& connection, Exchange& exchange);
  void send(Connection& connection);
  void receive(Connection& connection);
  void ended(Connection& connection);
  void broken(Connection& connection, const std::string& problem, bool again = true);
  void close(Connection& connection);
  void listen(Connection& connection, bool to_send);

  CURLM* const multi_;
  const int epoll_;
  const Done done_;
  struct Connecting {
    PlainTarget* target;
    Exchange* exchange;
  };
  std::unordered_map<CURL*, Connecting> connecting_;
  std::vector<std::unique_ptr<Connection>> connections_;  // by socket
  std::string buffer_;
  double watch_at_;
};

}  // namespace dt2it
