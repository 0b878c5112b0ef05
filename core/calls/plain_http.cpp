// SPDX-License-Identifier: Apache-2.0
#include "core/calls/plain_http.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>

#include "core/calls/answer_reader.hpp"
#include "core/calls/http_loop.hpp"

namespace dt2it {

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr std::size_t kReadAtOnce = 64 << 10;
constexpr std::size_t kPiecesAtOnce = 64;  // of a body, in one send

std::string part_of(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

}  // namespace

// One URL of a channel.
struct PlainTarget {
  std::string url;
  Channel* channel;
  std::string head;       // of each request, up to its length
  std::vector<int> idle;  // sockets, the last used at the end
};

struct PlainHttp::Connection {
  int socket = -1;
  PlainTarget* target = nullptr;
  Exchange* exchange = nullptr;    // null: idle
  std::string head;                // of the request
  std::size_t size = 0, sent = 0;  // bytes of the request, its head included
  std::optional<AnswerReader> reader;
  bool used = false;     // for an exchange before: the server may be about to close it
  bool to_send = false;  // waits until more can be sent
  bool cut = false;      // no more can be sent
  double moved = 0;      // when the last byte went or came
};

// ---------------------------------------------------------------- channels

Channel::Channel(const Endpoint& given) : endpoint(given) {
  // Without the empty Expect curl would hold back a long body until the server says 100 Continue.
  headers = curl_slist_append(headers, "Expect:");
  headers = curl_slist_append(headers, "Content-Type: application/json");
  for (const std::string& line : endpoint.headers)
    headers = curl_slist_append(headers, line.c_str());
}

Channel::~Channel() {
  for (CURL* handle : idle) curl_easy_cleanup(handle);
  curl_slist_free_all(headers);
}

namespace {

// Null where plain HTTP will not do.
std::unique_ptr<PlainTarget> plain_target(Channel& channel, const std::string& url) {
  if (!url.starts_with("http://") || !channel.endpoint.proxy.empty()) return nullptr;
  const std::unique_ptr<CURLU, void (*)(CURLU*)> parts(curl_url(), curl_url_cleanup);
  if (!parts || curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK)
    return nullptr;
  if (!part_of(parts.get(), CURLUPART_USER).empty()) return nullptr;
  std::string host = part_of(parts.get(), CURLUPART_HOST),
              path = part_of(parts.get(), CURLUPART_PATH);
  if (const std::string port = part_of(parts.get(), CURLUPART_PORT); !port.empty())
    host += ":" + port;
  if (const std::string query = part_of(parts.get(), CURLUPART_QUERY); !query.empty())
    path += "?" + query;
  auto target = std::make_unique<PlainTarget>(PlainTarget{url, &channel, {}, {}});
  target->head = fmt::format(
      "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: dt2it\r\nAccept: */*\r\n"
      "Accept-Encoding: gzip\r\nContent-Type: application/json\r\n",
      path, host);
  for (const std::string& line : channel.endpoint.headers) {
    if (line.find_first_of("\r\n") != std::string::npos) return nullptr;
    target->head += line + "\r\n";
  }
  target->head += "Content-Length: ";
  return target;
}

}  // namespace

// ---------------------------------------------------------------- connections

PlainHttp::PlainHttp(CURLM* multi, int epoll, Done done)
    : multi_(multi),
      epoll_(epoll),
      done_(std::move(done)),
      buffer_(kReadAtOnce, '\0'),
      watch_at_(kNever) {}

PlainHttp::~PlainHttp() {
  for (const auto& [handle, what] : connecting_) {
    curl_multi_remove_handle(multi_, handle);
    curl_easy_cleanup(handle);
  }
  for (const auto& connection : connections_)
    if (connection) ::close(connection->socket);
}

bool PlainHttp::start(Exchange& exchange) {
  if (exchange.get || exchange.once || exchange.content_type != "application/json") return false;
  Channel& channel = *exchange.channel;
  auto found = channel.plain.find(exchange.url);
  if (found == channel.plain.end())
    found = channel.plain.emplace(exchange.url, plain_target(channel, exchange.url)).first;
  PlainTarget* target = found->second.get();
  if (!target) return false;
  if (target->idle.empty()) {
    connect(*target, exchange);
  } else {
    const int socket = target->idle.back();
    target->idle.pop_back();
    begin(*connections_[static_cast<std::size_t>(socket)], exchange);
  }
  return true;
}

void PlainHttp::connect(PlainTarget& target, Exchange& exchange) {
  CURL* handle = target.channel->new_handle();
  curl_easy_setopt(handle, CURLOPT_URL, target.url.c_str());
  curl_easy_setopt(handle, CURLOPT_CONNECT_ONLY, 1L);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, exchange.problem);
  connecting_.emplace(handle, Connecting{&target, &exchange});
  curl_multi_add_handle(multi_, handle);
}

bool PlainHttp::connected(CURL* handle, CURLcode code) {
  const auto found = connecting_.find(handle);
  if (found == connecting_.end()) return false;
  const auto [target, exchange] = found->second;
  connecting_.erase(found);
  int socket = -1;
  if (code == CURLE_OK) {
    // curl closes its own with the handle; the connection lives on by ours.
    curl_socket_t made = CURL_SOCKET_BAD;
    curl_easy_getinfo(handle, CURLINFO_ACTIVESOCKET, &made);
    if (made != CURL_SOCKET_BAD) {
      epoll_event none{};
      epoll_ctl(epoll_, EPOLL_CTL_DEL, made, &none);
      socket = fcntl(made, F_DUPFD_CLOEXEC, 0);
    }
  }
  HttpAnswer& answer = exchange->answer;
  if (socket < 0) {
    answer.problem = exchange->problem[0] ? exchange->problem
                     : code == CURLE_OK   ? "no descriptors are left"
                                          : curl_easy_strerror(code);
    if (code == CURLE_OPERATION_TIMEDOUT) answer.problem = "time-out: " + answer.problem;
    answer.hopeless = is_hopeless(code);
  }
  curl_multi_remove_handle(multi_, handle);
  curl_easy_cleanup(handle);
  if (socket < 0) {
    done_(*exchange);
    return true;
  }
  const auto at = static_cast<std::size_t>(socket);
  if (connections_.size() <= at) connections_.resize(at + 1);
  connections_[at] = std::make_unique<Connection>();
  Connection& connection = *connections_[at];
  connection.socket = socket;
  connection.target = target;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = socket;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
  begin(connection, *exchange);
  return true;
}

void PlainHttp::close(Connection& connection) {
  std::vector<int>& idle = connection.target->idle;
  if (!connection.exchange) std::erase(idle, connection.socket);
  ::close(connection.socket);  // it leaves the epoll set by that
  connections_[static_cast<std::size_t>(connection.socket)].reset();
}

void PlainHttp::listen(Connection& connection, bool to_send) {
  if (connection.to_send == to_send) return;
  connection.to_send = to_send;
  epoll_event event{};
  event.events = to_send ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.fd = connection.socket;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.socket, &event);
}

// ---------------------------------------------------------------- one exchange

void PlainHttp::begin(Connection& connection, Exchange& exchange) {
  connection.exchange = &exchange;
  connection.reader.emplace(exchange.answer);
  connection.cut = false;
  std::size_t body = 0;
  for (const auto& piece : exchange.body) body += piece->size();
  connection.head = connection.target->head;
  fmt::format_to(std::back_inserter(connection.head), "{}\r\n\r\n", body);
  connection.size = connection.head.size() + body;
  connection.sent = 0;
  connection.moved = steady_seconds();
  const Endpoint& endpoint = connection.target->channel->endpoint;
  watch_at_ = std::min(
      {watch_at_, exchange.started + endpoint.timeout_seconds,
       endpoint.silence_seconds > 0 ? connection.moved + endpoint.silence_seconds : kNever});
  send(connection);
}

void PlainHttp::send(Connection& connection) {
  while (connection.sent < connection.size) {
    std::array<iovec, kPiecesAtOnce> parts;
    std::size_t count = 0, skip = connection.sent;
    const auto add = [&](const std::string& piece) {
      if (skip >= piece.size()) {
        skip -= piece.size();
        return;
      }
      parts[count++] = {const_cast<char*>(piece.data()) + skip, piece.size() - skip};
      skip = 0;
    };
    add(connection.head);
    for (const auto& piece : connection.exchange->body) {
      if (count == parts.size()) break;
      add(*piece);
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t went = sendmsg(connection.socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (went < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return listen(connection, true);
      connection.cut =
          true;  // the server may have said why before it hung up: what is there is read first
      break;
    }
    connection.sent += static_cast<std::size_t>(went);
    connection.moved = steady_seconds();
  }
  listen(connection, false);
}

bool PlainHttp::event(int socket, std::uint32_t what) {
  const auto at = static_cast<std::size_t>(socket);
  if (at >= connections_.size() || !connections_[at]) return false;
  Connection& connection = *connections_[at];
  if (!connection.exchange) {  // hung up, or talks without being asked
    close(connection);
    return true;
  }
  if ((what & EPOLLOUT) && connection.to_send) send(connection);
  if (what & ~static_cast<std::uint32_t>(EPOLLOUT)) receive(connection);
  return true;
}

void PlainHttp::receive(Connection& connection) {
  ssize_t came = 0;
  do {
    came = recv(connection.socket, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  } while (came < 0 && errno == EINTR);
  if (came < 0 && errno == EAGAIN) return;
  if (came < 0)
    return broken(connection, std::string("the connection broke: ") + std::strerror(errno));
  connection.moved = steady_seconds();
  AnswerReader& reader = *connection.reader;
  switch (came == 0 ? reader.end() : reader.put({buffer_.data(), static_cast<std::size_t>(came)})) {
    case AnswerReader::State::more: return;
    case AnswerReader::State::whole: return ended(connection);
    case AnswerReader::State::broken: return broken(connection, std::string(reader.problem()));
  }
}

void PlainHttp::ended(Connection& connection) {
  Exchange& exchange = *std::exchange(connection.exchange, nullptr);
  if (connection.reader->keep() && !connection.cut && connection.sent == connection.size) {
    connection.used = true;
    connection.target->idle.push_back(connection.socket);
  } else {
    close(connection);
  }
  done_(exchange);
}

void PlainHttp::broken(Connection& connection, const std::string& problem, bool again) {
  Exchange& exchange = *std::exchange(connection.exchange, nullptr);
  PlainTarget& target = *connection.target;
  again = again && connection.used &&
          !connection.reader->heard();  // an idle one that the server closed meanwhile
  close(connection);
  if (again) return connect(target, exchange);
  exchange.answer = {};
  exchange.answer.problem = problem;
  done_(exchange);
}

double PlainHttp::watch(double now) {
  if (now < watch_at_) return watch_at_ - now;
  watch_at_ = kNever;
  for (std::size_t at = 0; at < connections_.size(); ++at) {
    Connection* connection = connections_[at].get();
    if (!connection || !connection->exchange) continue;
    const Endpoint& endpoint = connection->target->channel->endpoint;
    const double ends = connection->exchange->started + endpoint.timeout_seconds;
    const double silent =
        endpoint.silence_seconds > 0 ? connection->moved + endpoint.silence_seconds : kNever;
    if (now >= ends)
      broken(*connection,
             fmt::format("time-out: no whole answer within {} s", endpoint.timeout_seconds), false);
    else if (now >= silent)
      broken(*connection, fmt::format("time-out: not a byte for {} s", endpoint.silence_seconds),
             false);
    else
      watch_at_ = std::min({watch_at_, ends, silent});
  }
  return watch_at_ - now;
}

}  // namespace dt2it
