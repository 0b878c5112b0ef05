// SPDX-License-Identifier: Apache-2.0
#include "core/calls/plain_http.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>

#include "core/calls/http_loop.hpp"

namespace dt2it {

namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr std::size_t kReadAtOnce = 64 << 10;
constexpr std::size_t kPiecesAtOnce = 64;  // of a body, in one send

// The framing of an answer; its text goes straight to where it is wanted.
class AnswerParser final : public http::basic_parser<false> {
 public:
  explicit AnswerParser(HttpAnswer& answer) : answer_(answer) {
    eager(true);
    header_limit(kLongestHead);
    body_limit(kLongestAnswer);
  }
  bool packed() const { return packed_; }
  int status() const { return status_; }

 private:
  using text = boost::beast::string_view;
  void on_request_impl(http::verb, text, text, int, error_code&) override {}
  void on_response_impl(int code, text reason, int, error_code&) override {
    status_ = code;
    answer_.head =
        fmt::format("HTTP/1.1 {} {}\r\n", code, std::string_view(reason.data(), reason.size()));
  }
  void on_field_impl(http::field name, text written, text value, error_code&) override {
    answer_.head.append(written.data(), written.size())
        .append(": ")
        .append(value.data(), value.size())
        .append("\r\n");
    if (name == http::field::content_encoding) packed_ = boost::beast::iequals(value, "gzip");
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>& size, error_code&) override {
    if (size) answer_.body.reserve(std::min<std::uint64_t>(*size, 1 << 20));
  }
  std::size_t on_body_impl(text body, error_code&) override {
    answer_.body.append(body.data(), body.size());
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, text, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, text body, error_code&) override {
    answer_.body.append(body.data(), body.size());
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  HttpAnswer& answer_;
  int status_ = 0;
  bool packed_ = false;
};

// False: damaged, or far too long.
bool unpack(std::string& body) {
  const std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_format_raw(reader.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(reader.get(), body.data(), body.size()) != ARCHIVE_OK ||
      archive_read_next_header(reader.get(), &entry) != ARCHIVE_OK)
    return false;
  std::string text;
  std::array<char, 16384> part;
  la_ssize_t size = 0;
  while ((size = archive_read_data(reader.get(), part.data(), part.size())) > 0) {
    text.append(part.data(), static_cast<std::size_t>(size));
    if (text.size() > kLongestAnswer) return false;
  }
  if (size < 0) return false;
  body = std::move(text);
  return true;
}

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
  std::optional<AnswerParser> parser;
  std::string rest;      // came, and cannot be read before more comes
  bool used = false;     // for an exchange before: the server may be about to close it
  bool heard = false;    // something of the answer came
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
  if (exchange.get || exchange.content_type != "application/json") return false;
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
  connection.parser.emplace(exchange.answer);
  connection.rest.clear();
  connection.heard = connection.cut = false;
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
  AnswerParser* parser = &*connection.parser;
  error_code error;
  if (came <= 0) {
    if (came == 0 && parser->got_some()) parser->put_eof(error);
    if (came == 0 && parser->is_done() && !error) return ended(connection);
    return broken(connection,
                  came < 0           ? std::string("the connection broke: ") + std::strerror(errno)
                  : connection.heard ? "the connection was closed within the answer"
                                     : "the connection was closed before an answer came");
  }
  connection.heard = true;
  connection.moved = steady_seconds();
  std::string_view data(buffer_.data(), static_cast<std::size_t>(came));
  if (!connection.rest.empty()) data = connection.rest.append(data);
  while (!data.empty() && !parser->is_done()) {
    const std::size_t used = parser->put(boost::asio::buffer(data.data(), data.size()), error);
    data.remove_prefix(used);
    if (error == http::error::need_more) break;
    if (error == http::error::body_limit) return broken(connection, too_long());
    if (error) return broken(connection, "the answer is no HTTP: " + error.message());
    if (parser->is_done() &&
        parser->status() < 200) {  // 100 Continue and the like: the answer comes behind it
      connection.exchange->answer = {};
      parser = &connection.parser.emplace(connection.exchange->answer);
    }
  }
  if (!parser->is_done()) {
    std::string rest(data);
    connection.rest = std::move(rest);
    return;
  }
  if (!data.empty())
    connection.cut = true;  // more than an answer: what comes next cannot be trusted
  ended(connection);
}

void PlainHttp::ended(Connection& connection) {
  Exchange& exchange = *std::exchange(connection.exchange, nullptr);
  const AnswerParser& parser = *connection.parser;
  HttpAnswer& answer = exchange.answer;
  answer.status = parser.status();
  if (parser.packed() && !answer.body.empty() && !unpack(answer.body)) {
    answer.status = 0;
    answer.problem = "the answer's compression is damaged";
  }
  if (parser.keep_alive() && !connection.cut && connection.sent == connection.size) {
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
          !connection.heard;  // an idle one that the server closed meanwhile
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
