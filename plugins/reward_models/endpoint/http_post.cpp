// SPDX-License-Identifier: Apache-2.0
#include "plugins/reward_models/endpoint/http_post.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "dt2it/error.hpp"

namespace dt2it::endpoint {
namespace {

constexpr std::size_t kLongestAnswer = 16 << 20;
constexpr auto kLookEvery = std::chrono::milliseconds(50);

std::size_t take(char* data, std::size_t size, std::size_t count, void* target) {
  auto& body = *static_cast<std::string*>(target);
  if (body.size() + size * count > kLongestAnswer) return CURL_WRITEFUNC_ERROR;
  body.append(data, size * count);
  return size * count;
}

int watch(void* stop, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return *static_cast<const std::atomic<bool>*>(stop) ? 1 : 0;
}

Posted::Fault fault_of(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT: return Posted::Fault::nobody;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_NOT_BUILT_IN:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM: return Posted::Fault::lasting;
    default: return Posted::Fault::passing;
  }
}

}  // namespace

struct HttpPost::Handle {
  CURL* curl = nullptr;
  curl_slist* headers = nullptr;
  char problem[CURL_ERROR_SIZE] = {};
  ~Handle() {
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
  }
};

HttpPost::HttpPost(const PostOptions& options)
    : options_(options), handle_(std::make_unique<Handle>()) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  handle_->curl = started == CURLE_OK ? curl_easy_init() : nullptr;
  if (!handle_->curl) throw ModelError("libcurl does not start");
  CURL* curl = handle_->curl;
  // Without the empty Expect curl would hold back a long body until the server says 100 Continue.
  for (const char* line : {"Expect:", "Content-Type: application/json"})
    handle_->headers = curl_slist_append(handle_->headers, line);
  for (const std::string& line : options.headers)
    handle_->headers = curl_slist_append(handle_->headers, line.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, handle_->headers);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);  // a key must not travel to another host
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  if (!options.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, options.ca_file.c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "dt2it");
  curl_easy_setopt(curl, CURLOPT_POST, 1L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, handle_->problem);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(options.timeout_seconds * 1000));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(options.connect_timeout_seconds * 1000));
}

HttpPost::~HttpPost() = default;

double HttpPost::attempt(const std::string& url, const std::string& body,
                         const std::atomic<bool>& stop, Posted& result) {
  result = {};
  CURL* curl = handle_->curl;
  handle_->problem[0] = 0;
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &result.body);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, const_cast<std::atomic<bool>*>(&stop));
  const CURLcode code = curl_easy_perform(curl);
  if (code != CURLE_OK) {
    result.problem = handle_->problem[0] ? handle_->problem : curl_easy_strerror(code);
    result.fault = fault_of(code);
    return 0;
  }
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &result.status);
  curl_off_t asked = 0;
  curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &asked);
  return static_cast<double>(asked);
}

Posted HttpPost::send(const std::string& url, const std::string& body,
                      const std::atomic<bool>& stop) {
  using Clock = std::chrono::steady_clock;
  Posted result;
  double delay = options_.retry_delay_seconds;
  for (int tried = 0, waited = 0;;) {
    const double asked = attempt(url, body, stop, result);
    const bool limit = result.status == 429 || result.status == 503;
    const bool passing = limit || (result.status == 0 && result.fault != Posted::Fault::lasting) ||
                         result.status == 408 || result.status >= 500;
    if (!passing || (limit ? ++waited > 5 * options_.retries : ++tried > options_.retries))
      return result;
    const double wait = std::min(asked > 0 ? asked : delay, options_.max_retry_delay_seconds);
    const auto until = Clock::now() + std::chrono::duration<double>(wait);
    while (!stop && Clock::now() < until)
      std::this_thread::sleep_for(
          std::min<std::chrono::duration<double>>(until - Clock::now(), kLookEvery));
    if (stop) return result;
    delay = std::min(2 * delay, options_.max_retry_delay_seconds);
  }
}

}  // namespace dt2it::endpoint
