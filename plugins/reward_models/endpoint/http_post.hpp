// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace dt2it::endpoint {

struct PostOptions {
  std::vector<std::string> headers;  // whole lines
  std::string ca_file;
  double timeout_seconds = 300;
  double connect_timeout_seconds = 5;
  int retries = 6;
  double retry_delay_seconds = 0.5;
  double max_retry_delay_seconds = 30;
};

struct Posted {
  long status = 0;  // of the last attempt; 0: no answer came
  std::string body;
  std::string problem;  // why not
  enum class Fault : std::uint8_t {
    passing,  // or none
    nobody,   // no such host, or none that listens
    lasting,  // a certificate that is not trusted, an address that is none
  };
  Fault fault = Fault::passing;
};

// One connection, kept between requests. From one thread at a time.
class HttpPost {
 public:
  explicit HttpPost(const PostOptions& options);
  ~HttpPost();
  HttpPost(HttpPost&&) = delete;

  // Tries again after broken connections, time-outs, 408, 429 and 5xx, as long as the server asks
  // or twice as long each time; limits (429, 503) are waited for five times as often. Soon ends when
  // `stop` is set.
  Posted send(const std::string& url, const std::string& body, const std::atomic<bool>& stop);

 private:
  double attempt(const std::string& url, const std::string& body, const std::atomic<bool>& stop,
                 Posted& result);  // seconds that the server asks to wait

  const PostOptions& options_;
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

}  // namespace dt2it::endpoint
