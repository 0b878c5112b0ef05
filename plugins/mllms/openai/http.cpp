// SPDX-License-Identifier: Apache-2.0
#include "http.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "dt2it/error.hpp"

namespace dt2it::openai {
namespace {

constexpr std::size_t kLongestAnswer = 64 << 20;  // bytes; no model writes that much

// curl_global_init must run once, before any handle is made.
void start_curl() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK)
    throw ModelError(std::string("mllms/openai: libcurl does not start: ") +
                     curl_easy_strerror(started));
}

std::size_t receive(char* data, std::size_t size, std::size_t count, void* target) {
  auto& body = *static_cast<std::string*>(target);
  const std::size_t bytes = size * count;
  if (body.size() + bytes > kLongestAnswer) return CURL_WRITEFUNC_ERROR;
  body.append(data, bytes);
  return bytes;
}

std::string header(CURL* curl, const char* name) {
  curl_header* found = nullptr;
  if (curl_easy_header(curl, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK) return {};
  return found->value;
}

bool is_hopeless(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_NOT_BUILT_IN:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_OUT_OF_MEMORY: return true;
    default: return false;
  }
}

}  // namespace

struct HttpClient::Handle {
  Handle() : curl(curl_easy_init()) {
    if (!curl) throw ModelError("libcurl gives no handle");
  }
  ~Handle() { curl_easy_cleanup(curl); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  CURL* curl;
};

HttpClient::HttpClient(HttpOptions options) : options_(std::move(options)) { start_curl(); }
HttpClient::~HttpClient() = default;

std::unique_ptr<HttpClient::Handle> HttpClient::take() {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto handle =
          std::move(idle_.back());  // the last used: its connection is the least likely closed
      idle_.pop_back();
      return handle;
    }
  }
  return std::make_unique<Handle>();
}

void HttpClient::give_back(std::unique_ptr<Handle> handle) {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(handle));
}

HttpAnswer HttpClient::post(const std::string& url, const std::vector<std::string>& headers,
                            std::string_view body) {
  auto handle = take();
  CURL* curl = handle->curl;
  curl_easy_reset(curl);  // keeps the open connections

  curl_slist* list = nullptr;
  const auto free_list = std::unique_ptr<curl_slist*, void (*)(curl_slist**)>(
      &list, [](curl_slist** which) { curl_slist_free_all(*which); });
  // Without the empty Expect curl would hold back a long body until the server says 100 Continue.
  list = curl_slist_append(list, "Expect:");
  list = curl_slist_append(list, "Content-Type: application/json");
  for (const std::string& line : headers) list = curl_slist_append(list, line.c_str());

  HttpAnswer answer;
  std::array<char, CURL_ERROR_SIZE> problem{};
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "dt2it");
  curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "gzip");
  curl_easy_setopt(curl, CURLOPT_PROXY,
                   options_.proxy.c_str());      // "" also turns the environment's off
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);  // no SIGALRM in a threaded program
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, std::lround(options_.timeout_seconds * 1000));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   std::lround(options_.connect_timeout_seconds * 1000));
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer.body);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem.data());

  const CURLcode code = curl_easy_perform(curl);
  if (code == CURLE_OK) {
    answer.outcome = HttpAnswer::Outcome::answered;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    answer.request_id = header(curl, "x-request-id");
    answer.should_retry = header(curl, "x-should-retry");
    answer.retry_after = header(curl, "retry-after");
    answer.retry_after_ms = header(curl, "retry-after-ms");
  } else {
    answer.outcome =
        is_hopeless(code) ? HttpAnswer::Outcome::hopeless : HttpAnswer::Outcome::failed;
    answer.problem = problem[0] ? problem.data() : curl_easy_strerror(code);
    if (code == CURLE_WRITE_ERROR)
      answer.problem = fmt::format("the answer is longer than {} MiB", kLongestAnswer >> 20);
    if (code == CURLE_OPERATION_TIMEDOUT) answer.problem = "time-out: " + answer.problem;
  }
  // A handle must not point at what goes out of scope here.
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, nullptr);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, nullptr);
  give_back(std::move(handle));
  return answer;
}

std::optional<double> retry_after_seconds(const std::string& value,
                                          std::chrono::system_clock::time_point now) {
  if (value.empty()) return std::nullopt;
  double seconds = 0;
  const char* end = value.data() + value.size();
  if (const auto read = std::from_chars(value.data(), end, seconds);
      read.ec == std::errc{} && read.ptr == end)
    return std::isfinite(seconds) ? std::optional(std::max(0.0, seconds)) : std::nullopt;
  const std::time_t date = curl_getdate(value.c_str(), nullptr);
  if (date < 0) return std::nullopt;
  const auto wait = std::chrono::system_clock::from_time_t(date) - now;
  return std::max(0.0, std::chrono::duration<double>(wait).count());
}

}  // namespace dt2it::openai
