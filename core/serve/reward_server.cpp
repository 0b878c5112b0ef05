// SPDX-License-Identifier: Apache-2.0
#include "core/serve/reward_server.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "core/serve/serve_metrics.hpp"
#include "core/util/json.hpp"
#include "core/util/program_version.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;

namespace {

// Of a request that is turned away or needs none: read on, and not kept, so that the connection
// stays.
constexpr std::uint64_t kSmallBody = 1 << 20;

Clock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

bool same_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

struct Answer {
  int status = 200;
  std::string body;
  const char* type = "application/json";
  int retry_after = 0;
};

Answer refusal(int status, std::string_view message, int retry_after = 0) {
  return {status, api_error(status, message), "application/json", retry_after};
}

// One job on its way: shared by the session, which may not wait for ever, and the batcher.
struct Ticket {
  Ticket(asio::io_context& io, Clock::time_point until) : timer(io, until) {}
  asio::steady_timer timer;
  std::optional<RewardOutcome> outcome;  // touched by the network's thread only
};

std::optional<RewardRoute> reward_route(std::string_view path) {
  if (path == "/v1/rewards") return RewardRoute::rewards;
  if (path == "/pooling" || path == "/v1/pooling") return RewardRoute::pooling;
  if (path == "/classify" || path == "/v1/classify") return RewardRoute::classify;
  return std::nullopt;
}

// As metrics name it: what strangers think up must not become series.
std::string route_label(std::string_view path) {
  const bool known =
      reward_route(path) || path == "/health" || path == "/metrics" || path == "/v1/models";
  return known ? std::string(path) : "other";
}

using RequestParser = http::request_parser<http::string_body>;

asio::awaitable<void> drop_body(beast::tcp_stream& stream, beast::flat_buffer& buffer,
                                RequestParser& parser, beast::error_code& error) {
  while (!parser.is_done() && !error) {
    co_await http::async_read_some(stream, buffer, parser,
                                   asio::redirect_error(asio::use_awaitable, error));
    parser.get().body().clear();
  }
}

}  // namespace

struct RewardServer::State {
  State(RewardModel& model, PassingMediaStore& media_store, ServeOptions given,
        std::function<void(LogLevel, std::string_view)> log_to)
      : options(std::move(given)),
        media(media_store),
        log(std::move(log_to)),
        acceptor(io),
        readers(static_cast<std::size_t>(std::max(1, options.threads))),
        batcher(model, options.tokens_per_group) {}

  asio::awaitable<void> accept_all();
  asio::awaitable<void> session(tcp::socket socket);
  asio::awaitable<bool> exchange(beast::tcp_stream& stream, beast::flat_buffer& buffer);
  asio::awaitable<Answer> rewards(RewardRoute route, std::string body);
  Answer plain_answer(std::string_view path, http::verb verb);
  asio::awaitable<bool> write(beast::tcp_stream& stream, Answer answer, http::verb verb,
                              unsigned version, bool keep);
  int retry_after() const {
    return std::clamp(static_cast<int>(std::ceil(batcher.backlog_seconds())), 1, 600);
  }

  const ServeOptions options;
  PassingMediaStore& media;
  const std::function<void(LogLevel, std::string_view)> log;
  asio::io_context io{1};
  tcp::acceptor acceptor;
  asio::thread_pool readers;
  ServeMetrics metrics;
  RewardBatcher batcher;
  std::uint64_t number = 0;
  std::set<beast::tcp_stream*> streams;  // open connections
  std::set<beast::tcp_stream*> idle;     // of these, between requests
  std::size_t in_house = 0;
  bool stopping = false;
  std::atomic<bool> stopped{false};
  std::uint16_t port = 0;
  std::thread thread;
};

asio::awaitable<void> RewardServer::State::accept_all() {
  for (;;) {
    beast::error_code error;
    tcp::socket socket =
        co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (stopping || error == asio::error::operation_aborted) co_return;
    if (error) {  // out of descriptors: they come back
      asio::steady_timer pause(io, std::chrono::milliseconds(50));
      beast::error_code ignored;
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      continue;
    }
    if (streams.size() >= options.connections) continue;
    socket.set_option(tcp::no_delay(true), error);
    asio::co_spawn(io, session(std::move(socket)), asio::detached);
  }
}

asio::awaitable<void> RewardServer::State::session(tcp::socket socket) {
  beast::tcp_stream stream(std::move(socket));
  streams.insert(&stream);
  beast::flat_buffer buffer;
  try {
    for (bool again = true; again;) again = co_await exchange(stream, buffer);
  } catch (const std::exception& error) {
    log(LogLevel::warning, fmt::format("a connection was closed: {}", error.what()));
  }
  idle.erase(&stream);
  // Closing with something unread would take the answer away from whoever still sends.
  beast::error_code error;
  stream.socket().shutdown(tcp::socket::shutdown_send, error);
  stream.expires_after(std::chrono::seconds(1));
  for (std::size_t dropped = 0; !error && dropped < options.body_bytes;) {
    buffer.clear();
    dropped += co_await stream.async_read_some(buffer.prepare(65536),
                                               asio::redirect_error(asio::use_awaitable, error));
  }
  streams.erase(&stream);
}

// One request and its answer; false: the connection ends.
asio::awaitable<bool> RewardServer::State::exchange(beast::tcp_stream& stream,
                                                    beast::flat_buffer& buffer) {
  beast::error_code error;
  if (buffer.size() == 0) {  // wait for its first byte
    if (stopping) co_return false;
    idle.insert(&stream);
    stream.expires_after(duration_of(options.idle_seconds));
    const std::size_t got = co_await stream.async_read_some(
        buffer.prepare(8192), asio::redirect_error(asio::use_awaitable, error));
    idle.erase(&stream);
    if (error || stopping) co_return false;
    buffer.commit(got);
  }
  const auto start = Clock::now();
  RequestParser parser;
  parser.header_limit(32 << 10);
  parser.body_limit(options.body_bytes);
  stream.expires_after(duration_of(options.read_seconds));
  co_await http::async_read_header(stream, buffer, parser,
                                   asio::redirect_error(asio::use_awaitable, error));
  const auto& head = parser.get();
  const std::string target(head.target());
  const std::string path = target.substr(0, target.find('?'));
  const auto verb = head.method();
  const auto too_long = [&] {
    return refusal(413, fmt::format("the body is longer than {} bytes", options.body_bytes));
  };
  if (error) {  // of the head there is what was read
    std::optional<Answer> answer;
    if (error == http::error::body_limit)
      answer = too_long();
    else if (error == http::error::header_limit)
      answer = refusal(431, "the header is too long");
    else if (error.category() == http::make_error_code(http::error::bad_method).category() &&
             error != http::error::end_of_stream && error != http::error::partial_message)
      answer = refusal(400, "this is no HTTP request");
    if (answer) {
      metrics.answered(route_label(path), answer->status, 0);
      co_await write(stream, std::move(*answer), verb, 11, false);
    }
    co_return false;
  }
  const unsigned version = head.version();
  const bool keep = head.keep_alive();
  const auto route = reward_route(path);
  const auto length = parser.content_length();
  const bool short_body = !parser.chunked() && (!length || *length <= kSmallBody);

  // Whoever is turned away is told before the body comes, unless it is short.
  std::optional<Answer> turned_away;
  std::string_view authorization(head[http::field::authorization].data(),
                                 head[http::field::authorization].size());
  if (!options.key.empty() && path != "/health" &&
      !(authorization.starts_with("Bearer ") && same_secret(authorization.substr(7), options.key)))
    turned_away = refusal(401, "the key is missing or wrong");
  else if (route && verb != http::verb::post)
    turned_away = refusal(405, "POST is expected");
  else if (route && in_house >= options.requests)
    turned_away = refusal(429, "too many requests are waiting", retry_after());
  else if (!route && !short_body)
    turned_away = refusal(413, "no body is expected here");
  if (turned_away) {
    const bool read_on = short_body && head[http::field::expect].empty();
    if (read_on) co_await drop_body(stream, buffer, parser, error);
    metrics.answered(route_label(path), turned_away->status, 0);
    co_return co_await write(stream, std::move(*turned_away), verb, version,
                             keep && read_on && !error);
  }

  struct Place {
    std::size_t& taken;
    bool held;
    ~Place() { taken -= held; }
  } place{in_house, route.has_value()};
  in_house += place.held;
  if (beast::iequals(head[http::field::expect], "100-continue")) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    co_await asio::async_write(stream, asio::buffer(kContinue),
                               asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return false;
  }
  stream.expires_after(duration_of(options.read_seconds));
  if (route)
    co_await http::async_read(stream, buffer, parser,
                              asio::redirect_error(asio::use_awaitable, error));
  else
    co_await drop_body(stream, buffer, parser, error);
  if (error) {
    if (error == http::error::body_limit) {
      metrics.answered(route_label(path), 413, 0);
      co_await write(stream, too_long(), verb, version, false);
    } else if (error == beast::error::timeout) {
      metrics.answered(route_label(path), 408, 0);
    }
    co_return false;
  }
  Answer answer;
  if (route) {
    stream.expires_never();
    answer = co_await rewards(*route, std::move(parser.get().body()));
  } else {
    answer = plain_answer(path, verb);
  }
  metrics.answered(route_label(path), answer.status,
                   std::chrono::duration<double>(Clock::now() - start).count());
  co_return co_await write(stream, std::move(answer), verb, version, keep);
}

asio::awaitable<Answer> RewardServer::State::rewards(RewardRoute route, std::string body) {
  const auto deadline = Clock::now() + duration_of(options.answer_seconds);
  auto job = std::make_unique<RewardJob>();
  job->prompt.id = fmt::format("request {}", ++number);
  job->deadline = deadline;
  const std::uint64_t id = number;
  std::vector<Media> stored;
  std::optional<Answer> refused;
  ApiRequest request;
  const auto read = [&]() -> asio::awaitable<void> {
    // All pictures of a request share one time, however many there are: a reader is not held longer.
    const auto until = std::min(Clock::now() + duration_of(options.read_seconds), deadline);
    const auto fetch = [&](const std::string& url) {
      if (stopped) throw ApiError(503, "the server stops");
      RemoteImageRules rules = options.remote;
      const double left = std::chrono::duration<double>(until - Clock::now()).count();
      if (left <= 0) throw DataError("the time for the pictures of a request is over");
      rules.seconds = std::min(rules.seconds, left);
      return fetch_remote_image(url, rules);
    };
    try {
      request = read_api_request(
          route, body, options.api,
          [&](std::span<const std::uint8_t> bytes) {
            stored.push_back(media.put(bytes, "request"));
            return stored.back();
          },
          fetch, *job);
    } catch (const ApiError& error) {
      refused = refusal(error.status, error.what());
    } catch (const std::exception& error) {
      refused = refusal(500, error.what());
      log(LogLevel::error, fmt::format("request {}: {}", id, error.what()));
    }
    body.clear();
    body.shrink_to_fit();
    co_return;
  };
  co_await asio::co_spawn(readers, read(), asio::use_awaitable);
  if (!refused && !request.model.empty() && request.model != options.model)
    refused = refusal(
        404, fmt::format("the model '{}' is not here ('{}' is)", request.model, options.model));
  RewardOutcome outcome;
  if (!refused) {
    const auto ticket = std::make_shared<Ticket>(io, Clock::time_point::max());
    job->done = [this, ticket](RewardOutcome result) {
      asio::post(io, [ticket, result = std::move(result)]() mutable {
        ticket->outcome = std::move(result);
        ticket->timer.cancel();
      });
    };
    batcher.add(std::move(job));
    while (!ticket->outcome) {
      beast::error_code ignored;
      co_await ticket->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    outcome = std::move(*ticket->outcome);
  }
  for (const Media& one : stored) media.release(one);
  if (refused) co_return std::move(*refused);
  if (outcome.kind == RewardOutcome::Kind::failed)
    log(LogLevel::error, fmt::format("request {}: {}", id, outcome.detail));
  Answer answer;
  try {
    answer.body = api_answer(request, outcome, options.model, id);
  } catch (const ApiError& error) {
    answer = refusal(error.status, error.what(),
                     error.status == 503 || error.status == 504 ? retry_after() : 0);
  }
  co_return answer;
}

Answer RewardServer::State::plain_answer(std::string_view path, http::verb verb) {
  const bool get = verb == http::verb::get || verb == http::verb::head;
  JsonWriter json;
  if (path == "/health" && get) {
    json.begin_object()
        .key("status")
        .value(stopping ? "stopping" : "ok")
        .key("model")
        .value(options.model);
    json.key("version")
        .value(program_version())
        .key("in_house")
        .value(in_house)
        .key("waiting")
        .value(batcher.totals().waiting);
    return {stopping ? 503 : 200, json.end_object().text()};
  }
  if (path == "/metrics" && get)
    return {200, metrics.text(batcher.totals(), in_house, streams.size()),
            "text/plain; version=0.0.4"};
  if (path == "/v1/models" && get) {
    json.begin_object().key("object").value("list").key("data").begin_array().begin_object();
    json.key("id").value(options.model).key("object").value("model").key("owned_by").value("dt2it");
    return {200, json.end_object().end_array().end_object().text()};
  }
  if (path == "/health" || path == "/metrics" || path == "/v1/models")
    return refusal(405, "GET is expected");
  return refusal(
      404, "there are: POST /v1/rewards, /pooling, /classify; GET /health, /metrics, /v1/models");
}

asio::awaitable<bool> RewardServer::State::write(beast::tcp_stream& stream, Answer answer,
                                                 http::verb verb, unsigned version, bool keep) {
  keep = keep && !stopping;
  http::response<http::string_body> response(static_cast<http::status>(answer.status), version);
  response.set(http::field::content_type, answer.type);
  if (answer.retry_after > 0)
    response.set(http::field::retry_after, std::to_string(answer.retry_after));
  if (answer.status == 401) response.set(http::field::www_authenticate, "Bearer");
  response.keep_alive(keep);
  response.body() = std::move(answer.body);
  response.prepare_payload();
  if (verb == http::verb::head) response.body().clear();  // its length is said, as for GET
  stream.expires_after(duration_of(options.read_seconds));
  beast::error_code error;
  co_await http::async_write(stream, response, asio::redirect_error(asio::use_awaitable, error));
  co_return keep && !error;
}

RewardServer::RewardServer(RewardModel& model, PassingMediaStore& media, ServeOptions options,
                           std::function<void(LogLevel, std::string_view)> log)
    : state_(std::make_unique<State>(model, media, std::move(options), std::move(log))) {
  State& state = *state_;
  try {
    tcp::resolver resolver(state.io);
    const tcp::endpoint address =
        *resolver
             .resolve(state.options.host, std::to_string(state.options.port),
                      tcp::resolver::passive)
             .begin();
    state.acceptor.open(address.protocol());
    state.acceptor.set_option(tcp::acceptor::reuse_address(true));
    state.acceptor.bind(address);
    state.acceptor.listen(1024);
    state.port = state.acceptor.local_endpoint().port();
  } catch (const boost::system::system_error& error) {
    throw ConfigError(fmt::format("cannot listen on {} port {}: {}", state.options.host,
                                  state.options.port, error.code().message()));
  }
  asio::co_spawn(state.io, state.accept_all(), asio::detached);
  state.thread = std::thread([&state] { state.io.run(); });
}

RewardServer::~RewardServer() { stop(); }

std::uint16_t RewardServer::port() const { return state_->port; }

void RewardServer::stop() {
  State& state = *state_;
  if (state.stopped.exchange(true)) return;
  asio::post(state.io, [&state] {
    state.stopping = true;
    beast::error_code ignored;
    state.acceptor.close(ignored);
    for (beast::tcp_stream* stream : state.idle) stream->cancel();
  });
  // The loop ends by itself: no one is accepted, and each connection closes behind its answer.
  state.thread.join();
  state.readers.join();
  state.batcher.finish();
}

}  // namespace dt2it
