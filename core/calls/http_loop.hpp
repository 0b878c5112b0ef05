// SPDX-License-Identifier: Apache-2.0
#pragma once

// All HTTP of the calls, in one thread: libcurl's multi interface over epoll, and beside it PlainHttp for the POSTs to
// servers without encryption.

#include <curl/curl.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "dt2it/remote_mllm.hpp"

namespace dt2it {

// What transfers of one kind share: settings, header lines, idle curl handles. Made by the loop, never
// freed before it.
class Channel;
class PlainHttp;

// One request and what comes back. Owned by whoever starts it, until it is given to `done`.
struct Exchange {
  Channel* channel = nullptr;
  std::string url;
  bool get = false;  // else POST
  std::string content_type = "application/json";
  std::vector<std::shared_ptr<const std::string>> body;
  bool large = false;  // a whole file goes or comes: as long as bytes move
  bool once =
      false;  // over a connection of its own: on an idle one that was closed it would go out twice
  std::FILE* to = nullptr;  // takes the body of an answer with status 200, in place of `answer`
  HttpAnswer answer;
  double started = 0, ended = 0;  // steady_seconds()
  void* owner = nullptr;          // for `done`
  bool over = false;              // likewise

  // The loop's own.
  CURL* handle = nullptr;
  std::size_t piece = 0, offset = 0;
  std::size_t written = 0;  // bytes, to the file
  curl_slist* own_headers = nullptr;
  char problem[CURL_ERROR_SIZE] = {};
};

// Seconds of the steady clock.
double steady_seconds();

bool is_hopeless(CURLcode code);         // trying again is no use
std::string too_long(std::size_t most);  // what is wrong with an answer of more bytes

class HttpLoop {
 public:
  // Called in the loop's thread. `turn` runs whenever something may have changed: it may start exchanges,
  // and returns in how many seconds at the latest it wants to run again. `done` gets finished exchanges.
  using Turn = std::function<double(HttpLoop& loop, double now)>;
  using Done = std::function<void(std::vector<Exchange*>& finished)>;

  HttpLoop(Turn turn, Done done);
  ~HttpLoop();  // unfinished exchanges are dropped
  HttpLoop(const HttpLoop&) = delete;
  HttpLoop& operator=(const HttpLoop&) = delete;

  // The settings of an endpoint that concern the transport. Thread-safe.
  Channel* channel(const Endpoint& endpoint);
  // In the loop's thread only, from `turn`.
  void start(Exchange& exchange);
  // Makes `turn` run soon. Any thread.
  void wake();

 private:
  void run();
  void finish(CURL* handle, CURLcode code);
  static int on_socket(CURL*, curl_socket_t socket, int what, void* self, void* known);
  static int on_timer(CURLM*, long milliseconds, void* self);

  const Turn turn_;
  const Done done_;
  std::mutex channels_mutex_;
  std::unordered_map<std::string, std::unique_ptr<Channel>> channels_;
  CURLM* multi_ = nullptr;
  int epoll_ = -1, waker_ = -1;
  std::unique_ptr<PlainHttp> plain_;
  double curl_wants_at_ = -1;  // negative: not at all
  std::atomic<bool> asleep_{false}, over_{false};
  std::vector<Exchange*> finished_;
  std::unordered_map<CURL*, Exchange*> running_;
  std::thread thread_;
};

}  // namespace dt2it
