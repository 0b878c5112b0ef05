// SPDX-License-Identifier: Apache-2.0
#pragma once

// The only place that knows libcurl: POST with time-outs over connections that are kept alive.

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dt2it::openai {

struct HttpOptions {
  double timeout_seconds = 600;  // whole exchange
  double connect_timeout_seconds = 5;
  std::string proxy;  // empty: none, whatever the environment says
};

struct HttpAnswer {
  enum class Outcome {
    answered,  // status, body and the headers below hold
    failed,    // passing trouble: refused, reset, time-out, cut short
    hopeless,  // will fail again: bad address, certificate not trusted
  };
  Outcome outcome = Outcome::failed;
  std::string problem;  // unless answered
  long status = 0;
  std::string body;
  std::string request_id, should_retry, retry_after, retry_after_ms;  // empty when not sent
};

// Thread-safe: each call takes an idle handle (with its open connection) or makes one. Certificates
// are verified, redirects are not followed (a key must not travel to another host).
class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // `headers` are whole lines without line ends.
  HttpAnswer post(const std::string& url, const std::vector<std::string>& headers,
                  std::string_view body);

 private:
  struct Handle;
  std::unique_ptr<Handle> take();
  void give_back(std::unique_ptr<Handle> handle);

  const HttpOptions options_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Handle>> idle_;
};

// Value of a Retry-After header: seconds (also fractions) or an HTTP date, counted from `now`;
// never negative, none when it is neither.
std::optional<double> retry_after_seconds(const std::string& value,
                                          std::chrono::system_clock::time_point now);

}  // namespace dt2it::openai
