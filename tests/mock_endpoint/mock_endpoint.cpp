// SPDX-License-Identifier: Apache-2.0
#include "tests/mock_endpoint/mock_endpoint.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <unordered_map>

#include "tests/mock_endpoint/batches.hpp"
#include "tests/mock_endpoint/cases.hpp"

namespace dt2it::mock {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kLongestBody = std::uint64_t{1} << 30;

struct Endpoint::State {
  explicit State(Options given)
      : options(std::move(given)), acceptor(io), tls(asio::ssl::context::tls_server) {}

  // One of the places at which calls are worked on; the next in line gets it when it is given back.
  asio::awaitable<void> take_slot() {
    if (options.slots == 0 || at_work < options.slots) {
      ++at_work;
      co_return;
    }
    asio::steady_timer turn(io, Clock::time_point::max());
    line.push_back(&turn);
    boost::system::error_code ignored;
    co_await turn.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  void give_slot_back() {
    if (line.empty()) {
      --at_work;
      return;
    }
    asio::steady_timer* next = line.front();
    line.pop_front();
    next->cancel();
  }

  // Tokens of the rate limit, at most a tenth of a second's worth. Negative: told off, wait so long.
  double take_rate() {
    const auto now = Clock::now();
    const double most = std::max(1.0, options.rate * 0.1);
    rate_tokens = std::min(
        most, rate_tokens + options.rate * std::chrono::duration<double>(now - rate_at).count());
    rate_at = now;
    if (rate_tokens < 1) return -(1 - rate_tokens) / options.rate;
    rate_tokens -= 1;
    return rate_tokens;
  }

  Options options;
  asio::io_context io{1};
  tcp::acceptor acceptor;
  asio::ssl::context tls;
  int at_work = 0, at_once = 0;
  std::deque<asio::steady_timer*> line;
  double rate_tokens = 1;
  Clock::time_point rate_at = Clock::now();
  Batches batches;
  std::uint64_t number = 0;
  std::unordered_map<std::uint64_t, int> seen;  // bodies by hash, where a case looks at them
  mutable std::mutex mutex;                     // guards what follows
  std::vector<Request> requests;
  std::map<int, std::uint64_t> statuses;
};

namespace {

std::string model_of(const std::string& body) {
  constexpr std::string_view kName = "\"model\":\"";
  const std::size_t at = body.find(kName);
  if (at == std::string::npos) return {};
  const std::size_t start = at + kName.size();
  return body.substr(start, body.find('"', start) - start);
}

std::uint64_t hash_of(std::string_view text) { return std::hash<std::string_view>{}(text); }

asio::awaitable<void> pause(asio::io_context& io, double seconds) {
  asio::steady_timer timer(
      io, std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
  boost::system::error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

struct Counters {
  std::atomic<std::uint64_t>& asked;
  std::atomic<std::uint64_t>& answered;
  std::atomic<int>& most_at_work;
};

asio::awaitable<Answer> decide(Endpoint::State& state, const Request& request, Counters& counters) {
  Answer answer;
  if (request.target.ends_with("/models"))
    co_return plain(200, R"({"object":"list","data":[{"id":"mock"}]})");
  if (state.options.batch_delay > 0 && request.method == "POST" &&
      request.target.find("/batches") != std::string::npos)
    co_await pause(state.io, state.options.batch_delay);
  if (state.batches.handle(request, state.options, answer)) co_return answer;
  ++counters.asked;
  if (state.options.rate > 0)
    if (const double left = state.take_rate(); left < 0)
      co_return plain(
          429,
          R"({"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}})",
          "retry-after: " + std::to_string(-left) + "\r\n");
  if (state.options.most_at_once > 0 && state.at_once >= state.options.most_at_once)
    co_return plain(
        429,
        R"({"error":{"message":"Too many at once","type":"requests","code":"rate_limit_exceeded"}})");
  ++state.at_once;
  if (state.options.latency > 0 || state.options.slots > 0) {
    co_await state.take_slot();
    counters.most_at_work = std::max(counters.most_at_work.load(), state.at_work);
    co_await pause(state.io, state.options.latency);
    state.give_slot_back();
  }
  --state.at_once;
  const std::string model = state.options.choose ? "" : model_of(request.body);
  const std::string name = state.options.choose         ? state.options.choose(request)
                           : model.starts_with("mock:") ? model.substr(5)
                                                        : "ok";
  co_return answer_of(name, request,
                      state.options.answer ? state.options.answer(request) : state.options.content);
}

template <class Stream>
asio::awaitable<void> serve(Stream stream, Endpoint::State& state, Counters counters) {
  boost::system::error_code error;
  if constexpr (!std::is_same_v<Stream, tcp::socket>) {
    co_await stream.async_handshake(asio::ssl::stream_base::server,
                                    asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
  }
  boost::beast::flat_buffer buffer;
  Request request;
  for (;;) {
    http::request_parser<http::empty_body> message;
    message.body_limit(kLongestBody);
    co_await http::async_read_header(stream, buffer, message,
                                     asio::redirect_error(asio::use_awaitable, error));
    if (error) break;
    request.method = std::string(message.get().method_string());
    request.target = std::string(message.get().target());
    request.authorization = std::string(message.get()[http::field::authorization]);
    request.head.clear();
    request.before = 0;
    if (state.options.record)
      for (const auto& field : message.get())
        request.head +=
            std::string(field.name_string()) + ": " + std::string(field.value()) + "\r\n";
    const std::uint64_t size = message.content_length() ? *message.content_length() : 0;
    if (size > kLongestBody) break;
    if (message.chunked()) {
      http::request_parser<http::string_body> whole(std::move(message));
      co_await http::async_read(stream, buffer, whole,
                                asio::redirect_error(asio::use_awaitable, error));
      request.body = std::move(whole.get().body());
    } else {  // straight to where the body before was
      request.body.resize(size);
      const std::size_t there = asio::buffer_copy(asio::buffer(request.body), buffer.data());
      buffer.consume(there);
      if (there < size)
        co_await asio::async_read(
            stream, asio::buffer(&request.body[there], size - there),
            [left = size - there](const boost::system::error_code& stop, std::size_t got) {
              return stop ? std::size_t{0} : left - got;
            },
            asio::redirect_error(asio::use_awaitable, error));
    }
    if (error) break;
    request.number = state.number++;
    const bool careful = state.options.record || state.options.choose ||
                         request.body.find("\"model\":\"mock:") != std::string::npos;
    if (careful) request.before = state.seen[hash_of(request.body)]++;
    if (state.options.record) {
      std::lock_guard lock(state.mutex);
      state.requests.push_back(request);
    }
    const Answer answer = co_await decide(state, request, counters);
    if (careful) {
      std::lock_guard lock(state.mutex);
      ++state.statuses[answer.status];
    }
    if (answer.delay > 0) co_await pause(state.io, answer.delay);
    if (answer.never) {
      co_await pause(state.io, 3600);
      break;
    }
    std::size_t sent = answer.bytes.size();
    if (answer.drip > 0) sent = answer.bytes.find("\r\n\r\n") + 4;
    co_await asio::async_write(stream, asio::buffer(answer.bytes.data(), sent),
                               asio::redirect_error(asio::use_awaitable, error));
    for (; sent < answer.bytes.size() && !error; ++sent) {
      co_await pause(state.io, answer.drip);
      co_await asio::async_write(stream, asio::buffer(&answer.bytes[sent], 1),
                                 asio::redirect_error(asio::use_awaitable, error));
    }
    if (error) break;
    if (answer.status == 200) ++counters.answered;
    if (answer.close) break;
  }
  boost::beast::get_lowest_layer(stream).close(error);
}

asio::awaitable<void> accept_all(Endpoint::State& state, Counters counters,
                                 std::atomic<std::uint64_t>& connections, bool tls) {
  for (;;) {
    boost::system::error_code error;
    tcp::socket socket =
        co_await state.acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    ++connections;
    socket.set_option(tcp::no_delay(true), error);
    if (tls)
      asio::co_spawn(
          state.io,
          serve(asio::ssl::stream<tcp::socket>(std::move(socket), state.tls), state, counters),
          asio::detached);
    else
      asio::co_spawn(state.io, serve(std::move(socket), state, counters), asio::detached);
  }
}

}  // namespace

Endpoint::Endpoint(Options options) : state_(std::make_unique<State>(std::move(options))) {
  const tcp::endpoint address(asio::ip::address_v4::loopback(), state_->options.port);
  state_->acceptor.open(address.protocol());
  state_->acceptor.set_option(tcp::acceptor::reuse_address(true));
  state_->acceptor.bind(address);
  state_->acceptor.listen(4096);
  port_ = state_->acceptor.local_endpoint().port();
  tls_ = !state_->options.certificate.empty();
  if (tls_) {
    state_->tls.use_certificate_chain_file(state_->options.certificate);
    state_->tls.use_private_key_file(state_->options.key, asio::ssl::context::pem);
  }
  asio::co_spawn(
      state_->io,
      accept_all(*state_, Counters{asked_, answered_, most_at_work_}, connections_, tls_),
      asio::detached);
  thread_ = std::thread([this] { state_->io.run(); });
}

Endpoint::~Endpoint() {
  state_->io.stop();
  thread_.join();
  state_->line.clear();
}

std::string Endpoint::url() const {
  return (tls_ ? "https://127.0.0.1:" : "http://127.0.0.1:") + std::to_string(port_) + "/v1";
}

std::vector<Request> Endpoint::requests() const {
  std::lock_guard lock(state_->mutex);
  return state_->requests;
}

std::map<int, std::uint64_t> Endpoint::statuses() const {
  std::lock_guard lock(state_->mutex);
  return state_->statuses;
}

}  // namespace dt2it::mock
