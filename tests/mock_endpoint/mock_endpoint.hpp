// SPDX-License-Identifier: Apache-2.0
#pragma once

// A chat-completions endpoint on 127.0.0.1 that behaves as real ones do on bad days: Boost.Beast, one
// thread. Which case a request meets is told by its model, "mock" or "mock:CASE", or by `choose`.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace dt2it::mock {

struct Request {
  std::string method, target, authorization, head, body;
  std::uint64_t number = 0;  // of all requests, from 0
  int before = 0;            // how often this very body came before
};

struct Options {
  std::uint16_t port = 0;  // 0: any that is free
  double latency = 0;      // seconds a call is worked on
  int slots = 0;           // calls worked on at once, the others queue without a word; 0: all
  double rate = 0;         // calls a second; more get 429 with retry-after; 0: any
  int most_at_once = 0;    // calls at once; more get 429; 0: any
  std::string content = "The answer is 42.";          // of ok
  std::function<std::string(const Request&)> choose;  // name of the case; unset: by the model
  // The answer's text for "ok"; unset: `content`. Called in the server's thread.
  std::function<std::string(const Request&)> answer;
  std::string certificate, key;  // PEM files: TLS
  bool record = false;           // keep requests for requests()
  double batch_delay = 0;        // seconds until a batch that is asked for is made
  int batch_queue = -1;          // calls of batches at work at once, more fail; negative: any
};

// The names of all cases.
const std::vector<std::string>& cases();

class Endpoint {
 public:
  explicit Endpoint(Options options);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  std::uint16_t port() const { return port_; }
  std::string url() const;                              // http://127.0.0.1:PORT/v1
  std::uint64_t asked() const { return asked_; }        // chat requests read in whole
  std::uint64_t answered() const { return answered_; }  // with status 200, sent in whole
  std::uint64_t connections() const { return connections_; }
  int most_at_work() const { return most_at_work_; }
  std::vector<Request> requests() const;
  // By status line sent; 0: hung up.
  std::map<int, std::uint64_t> statuses() const;

  struct State;  // the server's own

 private:
  std::uint16_t port_ = 0;
  std::atomic<std::uint64_t> asked_{0}, answered_{0}, connections_{0};
  std::atomic<int> most_at_work_{0};
  bool tls_ = false;
  std::unique_ptr<State> state_;
  std::thread thread_;
};

}  // namespace dt2it::mock
