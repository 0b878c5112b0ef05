// SPDX-License-Identifier: Apache-2.0
#include "core/calls/http_loop.hpp"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "core/calls/plain_http.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace {

constexpr std::size_t kSmallBody = 60 << 10;  // goes out in one piece with the headers
constexpr double kLargeSeconds = 6 * 3600;    // of a file, at least

// curl_global_init must run once, before any handle is made.
void start_curl() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK)
    throw Error(std::string("libcurl does not start: ") + curl_easy_strerror(started));
}

std::size_t take_body(char* data, std::size_t size, std::size_t count, void* target) {
  auto& exchange = *static_cast<Exchange*>(target);
  HttpAnswer& answer = exchange.answer;
  const std::size_t bytes = size * count;
  const auto refuse = [&](std::string problem) {
    answer.problem = std::move(problem);
    answer.hopeless = exchange.to != nullptr;  // a file is the same the next time
    return static_cast<std::size_t>(CURL_WRITEFUNC_ERROR);
  };
  long status = 0;
  if (exchange.to) curl_easy_getinfo(exchange.handle, CURLINFO_RESPONSE_CODE, &status);
  if (status == 200) {
    exchange.written += bytes;
    if (exchange.written > kLongestFile) return refuse(too_long(kLongestFile));
    if (std::fwrite(data, 1, bytes, exchange.to) != bytes)
      return refuse(fmt::format("what came cannot be written: {}", std::strerror(errno)));
    return bytes;
  }
  if (answer.body.size() + bytes > kLongestAnswer) return refuse(too_long(kLongestAnswer));
  answer.body.append(data, bytes);
  return bytes;
}

std::size_t take_head(char* data, std::size_t size, std::size_t count, void* target) {
  std::string& head = static_cast<Exchange*>(target)->answer.head;
  const std::size_t bytes = size * count;
  if (bytes > 5 && std::memcmp(data, "HTTP/", 5) == 0) head.clear();  // after a 100 Continue
  if (head.size() + bytes <= kLongestHead) head.append(data, bytes);
  return bytes;
}

std::size_t give_body(char* to, std::size_t size, std::size_t count, void* source) {
  auto& exchange = *static_cast<Exchange*>(source);
  std::size_t room = size * count, given = 0;
  while (room > 0 && exchange.piece < exchange.body.size()) {
    const std::string& piece = *exchange.body[exchange.piece];
    const std::size_t part = std::min(room, piece.size() - exchange.offset);
    std::memcpy(to + given, piece.data() + exchange.offset, part);
    given += part;
    room -= part;
    exchange.offset += part;
    if (exchange.offset == piece.size()) {
      ++exchange.piece;
      exchange.offset = 0;
    }
  }
  return given;
}

// curl goes back to the start when an idle connection turns out to be closed.
int rewind_body(void* source, curl_off_t offset, int origin) {
  auto& exchange = *static_cast<Exchange*>(source);
  if (offset != 0 || origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
  exchange.piece = exchange.offset = 0;
  return CURL_SEEKFUNC_OK;
}

}  // namespace

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

std::string too_long(std::size_t most) {
  return fmt::format("the answer is longer than {} MiB", most >> 20);
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

HttpLoop::HttpLoop(Turn turn, Done done) : turn_(std::move(turn)), done_(std::move(done)) {
  start_curl();
  multi_ = curl_multi_init();
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  waker_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (!multi_ || epoll_ < 0 || waker_ < 0)
    throw Error("the HTTP loop cannot start: out of descriptors");
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, 4096L);  // idle ones that are kept
  curl_multi_setopt(multi_, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = waker_;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, waker_, &event);
  plain_ = std::make_unique<PlainHttp>(multi_, epoll_, [this](Exchange& exchange) {
    exchange.ended = steady_seconds();
    finished_.push_back(&exchange);
  });
  thread_ = std::thread([this] { run(); });
}

HttpLoop::~HttpLoop() {
  over_ = true;
  wake();
  thread_.join();
  for (const auto& [handle, exchange] : running_) {
    curl_multi_remove_handle(multi_, handle);
    curl_slist_free_all(exchange->own_headers);
    curl_easy_cleanup(handle);
  }
  plain_.reset();
  channels_.clear();
  curl_multi_cleanup(multi_);
  close(waker_);
  close(epoll_);
}

void HttpLoop::wake() {
  if (!asleep_.exchange(false)) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(waker_, &one, sizeof one);
}

Channel* HttpLoop::channel(const Endpoint& endpoint) {
  const std::string key = fmt::format("{}\n{}\n{}\n{}\n{}\n{}", fmt::join(endpoint.headers, "\n"),
                                      endpoint.timeout_seconds, endpoint.connect_timeout_seconds,
                                      endpoint.silence_seconds, endpoint.proxy, endpoint.ca_file);
  std::lock_guard lock(channels_mutex_);
  std::unique_ptr<Channel>& channel = channels_[key];
  if (!channel) channel = std::make_unique<Channel>(endpoint);
  return channel.get();
}

// What stays the same for all transfers of a channel is set once.
CURL* Channel::new_handle() const {
  CURL* handle = curl_easy_init();
  if (!handle) throw Error("libcurl gives no handle: out of memory");
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);  // a key must not travel to another host
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "dt2it");
  curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "gzip");
  curl_easy_setopt(handle, CURLOPT_PROXY,
                   endpoint.proxy.c_str());  // "" turns the environment's off too
  if (!endpoint.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, endpoint.ca_file.c_str());
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, std::lround(endpoint.timeout_seconds * 1000));
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                   std::lround(endpoint.connect_timeout_seconds * 1000));
  if (endpoint.silence_seconds > 0) {
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME,
                     std::max(1L, std::lround(endpoint.silence_seconds)));
  }
  curl_easy_setopt(handle, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_head);
  curl_easy_setopt(handle, CURLOPT_READFUNCTION, give_body);
  curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, rewind_body);
  return handle;
}

void HttpLoop::start(Exchange& exchange) {
  Channel& channel = *exchange.channel;
  exchange.answer = {};
  exchange.problem[0] = 0;
  exchange.started = steady_seconds();
  if (plain_->start(exchange)) return;
  CURL* handle = nullptr;
  if (!channel.idle.empty()) {
    handle = channel.idle.back();
    channel.idle.pop_back();
  } else {
    handle = channel.new_handle();
  }
  exchange.handle = handle;
  exchange.piece = exchange.offset = exchange.written = 0;
  curl_easy_setopt(handle, CURLOPT_URL, exchange.url.c_str());
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, exchange.problem);
  const double seconds = exchange.large ? std::max(channel.endpoint.timeout_seconds, kLargeSeconds)
                                        : channel.endpoint.timeout_seconds;
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, std::lround(seconds * 1000));
  curl_easy_setopt(handle, CURLOPT_FRESH_CONNECT, exchange.once ? 1L : 0L);
  curl_slist* headers = channel.headers;
  if (exchange.content_type != "application/json") {
    exchange.own_headers = curl_slist_append(nullptr, "Expect:");
    exchange.own_headers =
        curl_slist_append(exchange.own_headers, ("Content-Type: " + exchange.content_type).c_str());
    for (const std::string& line : channel.endpoint.headers)
      exchange.own_headers = curl_slist_append(exchange.own_headers, line.c_str());
    headers = exchange.own_headers;
  }
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
  std::size_t size = 0;
  for (const auto& piece : exchange.body) size += piece->size();
  if (exchange.get) {
    curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
  } else {
    curl_easy_setopt(handle, CURLOPT_POST, 1L);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(size));
    const bool whole = exchange.body.size() == 1 && size <= kSmallBody;
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, whole ? exchange.body.front()->data() : nullptr);
    curl_easy_setopt(handle, CURLOPT_READDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_SEEKDATA, &exchange);
  }
  running_.emplace(handle, &exchange);
  curl_multi_add_handle(multi_, handle);
}

void HttpLoop::finish(CURL* handle, CURLcode code) {
  const auto found = running_.find(handle);
  Exchange& exchange = *found->second;
  running_.erase(found);
  HttpAnswer& answer = exchange.answer;
  if (code == CURLE_OK) {
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &answer.status);
  } else {
    if (answer.problem.empty())  // else take_body has said it
      answer.problem = exchange.problem[0] ? exchange.problem : curl_easy_strerror(code);
    if (code == CURLE_OPERATION_TIMEDOUT) answer.problem = "time-out: " + answer.problem;
    answer.hopeless = answer.hopeless || is_hopeless(code);
  }
  exchange.ended = steady_seconds();
  curl_multi_remove_handle(multi_, handle);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, nullptr);  // must not point at what may be gone
  if (exchange.own_headers) {
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, nullptr);
    curl_slist_free_all(exchange.own_headers);
    exchange.own_headers = nullptr;
  }
  exchange.handle = nullptr;
  exchange.channel->idle.push_back(handle);
  finished_.push_back(&exchange);
}

int HttpLoop::on_socket(CURL*, curl_socket_t socket, int what, void* self, void* known) {
  auto& loop = *static_cast<HttpLoop*>(self);
  epoll_event event{};
  event.data.fd = socket;
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(loop.epoll_, EPOLL_CTL_DEL, socket, &event);
    return 0;
  }
  event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
  if (known) {
    epoll_ctl(loop.epoll_, EPOLL_CTL_MOD, socket, &event);
  } else {
    epoll_ctl(loop.epoll_, EPOLL_CTL_ADD, socket, &event);
    curl_multi_assign(loop.multi_, socket, self);
  }
  return 0;
}

int HttpLoop::on_timer(CURLM*, long milliseconds, void* self) {
  auto& loop = *static_cast<HttpLoop*>(self);
  loop.curl_wants_at_ =
      milliseconds < 0 ? -1 : steady_seconds() + static_cast<double>(milliseconds) / 1000;
  return 0;
}

void HttpLoop::run() {
  std::array<epoll_event, 256> events;
  int running = 0;
  while (!over_) {
    double now = steady_seconds();
    asleep_ = true;  // from here on a wake() is heard; what came before is seen by this turn
    double wait = turn_(*this, now);
    if (curl_wants_at_ >= 0) wait = std::min(wait, curl_wants_at_ - steady_seconds());
    wait = std::min(wait, plain_->watch(now));
    if (!finished_.empty()) wait = 0;  // some end as soon as they are started
    const int timeout = wait > 3600 ? -1 : wait <= 0 ? 0 : static_cast<int>(std::ceil(wait * 1000));
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout);
    asleep_ = false;
    for (int i = 0; i < count; ++i) {
      const int socket = events[static_cast<std::size_t>(i)].data.fd;
      const std::uint32_t what = events[static_cast<std::size_t>(i)].events;
      if (socket == waker_) {
        std::uint64_t ignored = 0;
        [[maybe_unused]] const auto got = read(waker_, &ignored, sizeof ignored);
        continue;
      }
      if (plain_->event(socket, what)) continue;
      const int mask = (what & EPOLLIN ? CURL_CSELECT_IN : 0) |
                       (what & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                       (what & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
      curl_multi_socket_action(multi_, socket, mask, &running);
    }
    if (curl_wants_at_ >= 0 && steady_seconds() >= curl_wants_at_) {
      curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
      // Its clock may say that it is not time yet, and it would not tell us again.
      long milliseconds = -1;
      curl_multi_timeout(multi_, &milliseconds);
      on_timer(multi_, milliseconds, this);
    }
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left))
      if (message->msg == CURLMSG_DONE &&
          !plain_->connected(message->easy_handle, message->data.result))
        finish(message->easy_handle, message->data.result);
    if (!finished_.empty()) {
      done_(finished_);
      finished_.clear();
    }
  }
}

}  // namespace dt2it
